/* Planes through a buffer of some rows with their padding: lanes are columns. */

/* The source rows of a block; what lies around them is padding since the buffer was made. */
static void FC_FN(pool_fill)(const fc_pool_args *a, const real *source, const char *winners, const int64_t *block,
                             real *buffer, char *won) {
    const fc_pool_lines *l = &a->lines;
    const ptrdiff_t h = a->source_strides.h, rows = block[3] - block[2], size = (ptrdiff_t)sizeof(real);
    const ptrdiff_t begin = block[2] * h + l->first;
    if (a->spreads) {
        const real *row_counts = a->row_counts, *col_counts = (const real *)a->col_counts + l->first;
        for (ptrdiff_t row = 0; row < rows; row++) {
            const real *from = source + begin + row * h, count = row_counts[block[2] + row];
            real *to = buffer + row * l->pitch + l->even_at;
            for (ptrdiff_t i = 0; i < l->count; i++) to[i] = from[i] / (count * col_counts[i]);
        }
    } else if (l->step == 1) {
        fc_copy_rows(buffer + l->even_at, l->pitch * size, source + begin, h * size, l->count * size, rows);
    } else {
        FC_FN(split_rows)(source + begin, h, l->count, buffer + l->even_at, buffer + l->odd_at, l->pitch, rows);
    }
    for (ptrdiff_t row = 0; winners != NULL && row < rows; row++)
        memcpy(won + (row * l->pitch + l->even_at) * a->offset_bytes, winners + (begin + row * h) * a->offset_bytes,
               (size_t)(l->count * a->offset_bytes));
}

/* Where nothing is larger than minus infinity, the first tap that is no padding has won. */
static void FC_FN(pool_mend)(const fc_pool_lines *l, const FC_FN(pool_job) *job) {
    for (ptrdiff_t i = 0; i < l->winner_count; i++) {
        const ptrdiff_t col = l->winners[2 * i], tap = l->winners[2 * i + 1];
        const ptrdiff_t offset = tap < 0 ? 0 : job->row_taps[job->rows[0]] * job->tap_cols + tap;
        if (job->target[col] != FC_MINUS_INFINITY) continue;
        if (job->offset_bytes == 1) ((uint8_t *)job->offsets)[col] = (uint8_t)offset;
        else if (job->offset_bytes == 2) ((uint16_t *)job->offsets)[col] = (uint16_t)offset;
        else ((uint32_t *)job->offsets)[col] = (uint32_t)offset;
    }
}

/* A row of targets; of paired ones the last may be alone. */
static void FC_FN(pool_line)(const fc_pool_args *a, FC_FN(pool_job) *job) {
    const ptrdiff_t targets = a->cols.targets;
    job->paired = a->lines.phases == 2;
    job->count = job->paired ? targets / 2 : targets;
    if (job->count > 0) FC_FN(pool_function)(a->kind, job->count)(job);
    if (job->paired && targets % 2) {
        FC_FN(pool_job) last = *job;
        last.paired = 0;
        last.count = 1;
        last.source += targets / 2;
        if (last.winners != NULL) last.winners += targets / 2 * a->offset_bytes;
        last.target += targets - 1;
        FC_FN(pool_function)(a->kind, 1)(&last);
    }
    if (job->offsets != NULL && job->rows[0] < job->rows[1]) FC_FN(pool_mend)(&a->lines, job);
}

static void FC_FN(pool_block)(const fc_pool_args *a, FC_FN(pool_job) *job, ptrdiff_t plane, const int64_t *block,
                              real *buffer, char *won) {
    const ptrdiff_t source = plane * a->source_strides.c, target = plane * a->target_strides.c;
    FC_FN(pool_open)(a, job, source, target + block[0] * a->target_strides.h);
    FC_FN(pool_fill)(a, job->source, job->winners, block, buffer, won);
    job->source = buffer;
    if (job->winners != NULL) job->winners = won;
    job->row_base = block[2];
    for (ptrdiff_t row = block[0]; row < block[1]; row++) {
        job->rows = a->rows.first + row;
        job->first_winner = FC_FN(pool_first_winner)(job);
        if (a->row_counts != NULL && !a->spreads) {
            job->divisor = ((const real *)a->row_counts)[row];
            job->divisors = a->col_counts;
        }
        FC_FN(pool_line)(a, job);
        job->target += a->target_strides.h;
        if (job->offsets != NULL) job->offsets += a->target_strides.h * a->offset_bytes;
    }
}

/* One item per (plane, block of target rows). */
static void FC_FN(pool_planes)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    fc_pool_args *a = ctx;
    const fc_pool_lines *l = &a->lines;
    const ptrdiff_t size = l->height * l->pitch, offsets = a->winners != NULL ? size * a->offset_bytes : 0;
    const real padding = a->kind == FC_POOL_MAX ? FC_MINUS_INFINITY : 0;
    FC_FN(pool_job) job = FC_FN(pool_begin)(a);
    void *memory;
    real *buffer = fc_aligned(size * (ptrdiff_t)sizeof(real) + offsets, &memory);
    (void)slot;
    if (buffer == NULL) {
        a->status = 1;
        return;
    }
    for (ptrdiff_t i = 0; i < size; i++) buffer[i] = padding;
    memset(buffer + size, 0, (size_t)offsets);
    job.row_counts = NULL; /* shares are made once, on the way into the buffer */
    job.cols = l->first_tap;
    job.col_sources = l->places;
    job.col_taps = l->taps;
    job.row_step = l->pitch;
    job.col_step = 1;
    for (ptrdiff_t item = lo; item < hi; item++)
        FC_FN(pool_block)(a, &job, item / l->block_count, l->row_blocks + 4 * (item % l->block_count), buffer,
                          (char *)(buffer + size));
    free(memory);
    if (a->streams) FC_STREAM_FENCE();
}
