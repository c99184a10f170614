/* Targets one after the other, straight from memory, in any format: lanes are the channels of channels_last, or one. */

/* What all targets share. */
static inline FC_FN(pool_job) FC_FN(pool_begin)(const fc_pool_args *a) {
    FC_FN(pool_job) job = {
        .row_sources = a->rows.sources,
        .row_taps = a->rows.taps,
        .col_sources = a->cols.sources,
        .col_taps = a->cols.taps,
        .row_step = a->source_strides.h,
        .col_step = a->source_strides.w,
        .tap_cols = a->tap_cols,
        .offset_bytes = a->offset_bytes,
        .count = a->lanes,
        .streams = (int)a->streams,
    };
    if (a->spreads) {
        job.row_counts = a->row_counts;
        job.col_counts = a->col_counts;
    }
    return job;
}

/* The place of an image's channel in source and target. */
static inline void FC_FN(pool_open)(const fc_pool_args *a, FC_FN(pool_job) *job, ptrdiff_t source, ptrdiff_t target) {
    job->source = (const real *)a->source + source;
    job->target = (real *)a->target + target;
    if (a->winners != NULL) job->winners = (const char *)a->winners + source * a->offset_bytes;
    if (a->offsets != NULL) job->offsets = (char *)a->offsets + target * a->offset_bytes;
}

/* The tap that stays where nothing is larger than minus infinity: the first one, or 0 of a window without input. */
static inline ptrdiff_t FC_FN(pool_first_winner)(const FC_FN(pool_job) *job) {
    if (job->rows[0] == job->rows[1] || job->cols[0] == job->cols[1]) return 0;
    return job->row_taps[job->rows[0]] * job->tap_cols + job->col_taps[job->cols[0]];
}

/* A row of targets with all their channels, run by run. */
static void FC_FN(pool_row_of_runs)(const fc_pool_args *a, FC_FN(pool_job) *job, ptrdiff_t row) {
    const int kind = a->kind == FC_POOL_SUM ? 2 : job->offsets != NULL, width = FC_FN(pool_width)(a->lanes);
    /* Vectors that have more lanes than there are channels are filled with those of the next target. */
    const int wide = a->lanes < FC_LANES && a->lanes != 1 << width ? width + 1 : width;
    real *const target = job->target;
    char *const offsets = job->offsets;
    fc_pool_run run;
    job->run = &run;
    for (const int64_t *plan = a->cols.runs; plan < a->cols.runs + 4 * a->cols.run_count; plan += 4) {
        const real *source = job->source;
        ptrdiff_t done = 0, count = 0;
        job->cols = a->cols.first + plan[0];
        job->first_winner = FC_FN(pool_first_winner)(job);
        run.rows = job->rows[1] - job->rows[0];
        run.cols = job->cols[1] - job->cols[0];
        run.source_step = plan[3] * job->col_step;
        for (ptrdiff_t r = job->rows[0]; r < job->rows[1]; r++)
            for (ptrdiff_t e = job->cols[0]; e < job->cols[1]; e++, count++) {
                run.places[count] = FC_FN(pool_source)(job, r, e);
                run.taps[count] = FC_FN(pool_tap)(job, r, e);
            }
        for (int part = 0; part < 2; part++, done += job->targets) {
            const ptrdiff_t at = (plan[0] + done) * a->lanes;
            job->targets = part == 0 ? (wide > width ? plan[1] - 1 : plan[1]) : plan[1] - done;
            job->target = target + at;
            if (kind == 1) job->offsets = offsets + at * a->offset_bytes;
            if (kind == 2) {
                job->divisor = ((const real *)a->row_counts)[row];
                job->divisors = (const real *)a->col_counts + plan[0] + done;
            }
            FC_FN(pool_run_functions)[part == 0 ? wide : width][kind](job);
            job->source += job->targets * run.source_step;
        }
        job->source = source;
    }
}

static void FC_FN(pool_row)(const fc_pool_args *a, FC_FN(pool_job) *job, ptrdiff_t n, ptrdiff_t row) {
    void (*const run)(const FC_FN(pool_job) *) = FC_FN(pool_function)(a->kind, a->lanes);
    const int averages = a->row_counts != NULL && !a->spreads;
    const ptrdiff_t step = a->target_strides.w;
    job->rows = a->rows.first + row;
    for (ptrdiff_t c = 0; c < a->C; c += a->lanes) {
        const ptrdiff_t source = n * a->source_strides.n + c * a->source_strides.c;
        const ptrdiff_t target = n * a->target_strides.n + c * a->target_strides.c + row * a->target_strides.h;
        FC_FN(pool_open)(a, job, source, target);
        job->cols = a->cols.first;
        if (a->runs) {
            FC_FN(pool_row_of_runs)(a, job, row);
            continue;
        }
        if (a->apart) {
            job->targets = a->cols.targets;
            FC_FN(pool_apart_functions)[FC_FN(pool_width)(a->lanes)][a->kind == FC_POOL_SUM](job);
            continue;
        }
        for (ptrdiff_t col = 0; col < a->cols.targets; col++, job->cols++, job->target += step) {
            if (averages) job->divisor = ((const real *)a->row_counts)[row] * ((const real *)a->col_counts)[col];
            if (a->kind == FC_POOL_MAX) job->first_winner = FC_FN(pool_first_winner)(job);
            run(job);
            if (job->offsets != NULL) job->offsets += step * a->offset_bytes;
        }
    }
}

/* One item per (image, target row). */
static void FC_FN(pool_targets)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_pool_args *a = ctx;
    FC_FN(pool_job) job = FC_FN(pool_begin)(a);
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++)
        FC_FN(pool_row)(a, &job, item / a->rows.targets, item % a->rows.targets);
    if (a->streams) FC_STREAM_FENCE();
}
