/* Planes of which FC_LANES are brought together: lanes are channels, and windows may be unlike. */

/* to[j * to_step + i] = from[i * from_step + j] of offsets, for i < rows, j < columns. */
static void FC_FN(pool_turn)(const char *from, ptrdiff_t from_step, char *to, ptrdiff_t to_step, ptrdiff_t rows,
                             ptrdiff_t columns, ptrdiff_t bytes) {
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < columns; j++) {
            const ptrdiff_t source = i * from_step + j, target = j * to_step + i;
            if (bytes == 1) to[target] = from[source];
            else if (bytes == 2) ((uint16_t *)to)[target] = ((const uint16_t *)from)[source];
            else ((uint32_t *)to)[target] = ((const uint32_t *)from)[source];
        }
}

/* All targets of a strip, whose sources and targets are brought together at job->source and job->target. */
static void FC_FN(pool_strip)(const fc_pool_args *a, FC_FN(pool_job) *job) {
    void (*const run)(const FC_FN(pool_job) *) = FC_FN(pool_function)(a->kind, FC_LANES);
    for (ptrdiff_t row = 0; row < a->rows.targets; row++) {
        job->rows = a->rows.first + row;
        for (ptrdiff_t col = 0; col < a->cols.targets; col++, job->target += FC_LANES) {
            job->cols = a->cols.first + col;
            if (a->row_counts != NULL && !a->spreads)
                job->divisor = ((const real *)a->row_counts)[row] * ((const real *)a->col_counts)[col];
            if (a->kind == FC_POOL_MAX) job->first_winner = FC_FN(pool_first_winner)(job);
            run(job);
            if (job->offsets != NULL) job->offsets += FC_LANES * a->offset_bytes;
        }
    }
}

/* One item per (image, strip of channels). */
static void FC_FN(pool_strips)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    fc_pool_args *a = ctx;
    const ptrdiff_t sources = a->source_strides.c, targets = a->target_strides.c, bytes = a->offset_bytes;
    const ptrdiff_t strips = (a->C + FC_LANES - 1) / FC_LANES, places = a->winners != NULL ? sources : targets;
    FC_FN(pool_job) job = FC_FN(pool_begin)(a);
    void *memory;
    real *pixels = fc_zeros((sources + targets) * FC_VECTOR_BYTES + places * FC_LANES * bytes, &memory);
    (void)slot;
    if (pixels == NULL) {
        a->status = 1;
        return;
    }
    real *to = pixels + sources * FC_LANES;
    char *offsets = (char *)(to + targets * FC_LANES);
    job.row_step *= FC_LANES;
    job.col_step = job.count = FC_LANES;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t plane = item / strips * a->C + item % strips * FC_LANES, left = a->C - item % strips * FC_LANES;
        const ptrdiff_t channels = left < FC_LANES ? left : FC_LANES;
        FC_FN(transpose)((const real *)a->source + plane * sources, sources, pixels, FC_LANES, channels, sources);
        if (a->winners != NULL)
            FC_FN(pool_turn)((const char *)a->winners + plane * sources * bytes, sources, offsets, FC_LANES, channels,
                             sources, bytes);
        job.source = pixels;
        job.target = to;
        job.winners = a->winners != NULL ? offsets : NULL;
        job.offsets = a->offsets != NULL ? offsets : NULL;
        FC_FN(pool_strip)(a, &job);
        FC_FN(transpose)(to, FC_LANES, (real *)a->target + plane * targets, targets, targets, channels);
        if (a->offsets != NULL)
            FC_FN(pool_turn)(offsets, FC_LANES, (char *)a->offsets + plane * targets * bytes, targets, targets, channels,
                             bytes);
    }
    free(memory);
}
