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
