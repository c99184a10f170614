/* First layers on planes: vectors of a row's targets x target channels, summed over the taps and the few channels of a
 * padded copy of some rows.
 *
 * target[n, k, row, col] = ending(sum over taps and c of weight[k, c, tap] * copy[c][place(row, col, tap)]), where in
 * grad_input the weight's rows are the source's channels c */

/* All output channels of some vectors of a row. */
static void FC_FN(sum_row_block)(const fc_first_layer_args *a, fc_panel *panel, ptrdiff_t vectors, const real *pixels,
                                 real *sums, real *target) {
    const ptrdiff_t most = FC_FN(columns)[vectors - 1], tiles = (a->K + most - 1) / most;
    for (ptrdiff_t t = 0; t < tiles; t++) {
        const ptrdiff_t k = t * a->K / tiles, width = (t + 1) * a->K / tiles - k;
        panel->bias = a->bias != NULL ? (const real *)a->bias + k : NULL;
        if (!(panel->ending & FC_STREAMS))
            FC_FN(prefetch_planes)
            (target + (k + most) * panel->target_step, panel->target_step, vectors * FC_LANES, 0, width);
        FC_FN(panels)[vectors - 1][width - 1]
        (panel, (const real *)a->weight + k * panel->x_shift, pixels, sums, target + k * panel->target_step);
    }
}

/* One item per (image, block of output rows). */
static void FC_FN(first_layer)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_first_layer_args *a = ctx;
    const fc_padded *padded = &a->padded;
    real *sums = (real *)(a->scratch + slot * a->scratch_bytes), *copy = sums + FC_MOST_COLUMNS * FC_BLOCK;
    fc_panel panel = {.entries = a->entries, .entry_count = a->taps, .count = a->C, .per_chunk = a->per_chunk};
    panel.x_step = a->weight_c, panel.x_shift = a->weight_k;
    panel.w_step = a->plane;
    panel.target_step = a->out_rows * a->out_cols;
    panel.ending = (a->bias != NULL ? FC_BIAS_COLUMNS : 0) | a->activation;
    /* The plan says that lines are written whole if the first one is. */
    if (a->streams && (uintptr_t)a->target % (FC_LINE * sizeof(real)) == 0)
        panel.ending |= FC_STREAMS;
    panel.first = panel.last = 1;
    memset(copy, 0, (size_t)a->buffer * sizeof(real));
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t n = item / padded->blocks, first = item % padded->blocks * padded->block;
        const ptrdiff_t count = FC_FN(block_steps)(padded, first);
        const real *source = (const real *)a->source + n * a->source_strides.n;
        real *target = (real *)a->target + n * a->K * panel.target_step + first * a->out_cols;
        for (ptrdiff_t c = 0; c < a->C; c++)
            FC_FN(pad_rows)
            (padded, source + c * a->source_strides.c, &a->source_strides, first, count, copy + c * a->plane);
        for (ptrdiff_t row = 0; row < count; row++)
            for (ptrdiff_t b = 0; b < a->block_count; b++) {
                const ptrdiff_t col = a->blocks[2 * b] * FC_LANES, vectors = a->blocks[2 * b + 1], left = a->out_cols - col;
                panel.channels = left < vectors * FC_LANES ? left : vectors * FC_LANES;
                FC_FN(sum_row_block)
                (a, &panel, vectors, copy + row * padded->rows.step * padded->pitch + col, sums,
                 target + row * a->out_cols + col);
            }
    }
    if (panel.ending & FC_STREAMS)
        FC_STREAM_FENCE();
}
