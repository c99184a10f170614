/* Tiles that hold what is not finite: transforms spread that over all of a tile, so each target is summed by itself. */

/* What one slot works with. */
typedef struct {
    real *sources; /* transformed[point][tile][c] */
    real *products; /* [point][tile][k] of a block of channels */
    real *sums, *zeros;
    real *strip; /* [row][col][channel] of the pixels of a run of tiles, where channels do not lie together */
    real *points; /* [point][c][k] of a part of a weight that is transformed on the way; where taps are, which come later */
    real *taps; /* of a block of output channels, once a tile of it has asked for them */
    int has_taps;
    int64_t *entries;
    real bias[FC_BLOCK];
} FC_FN(fc_winograd_work);

/* The weight of a block of output channels as the microkernel reads it: taps[c][tap][k]. */
static void FC_FN(lay_out_taps)(const fc_winograd_args *a, ptrdiff_t g, ptrdiff_t k0, ptrdiff_t vectors, real *taps) {
    const ptrdiff_t width = vectors * FC_LANES, runs = a->c_stride == 9 ? 1 : a->C, count = 9 * a->C / runs;
    memset(taps, 0, (size_t)(9 * a->C * width) * sizeof(real));
    for (ptrdiff_t o = 0; o < vectors; o++) {
        const ptrdiff_t k = k0 + o * FC_LANES, lanes = a->K - k < FC_LANES ? a->K - k : FC_LANES;
        for (ptrdiff_t run = 0; run < runs; run++) {
            const ptrdiff_t from = g * a->group_stride + k * a->k_stride + run * a->c_stride;
            FC_FN(transpose_any)
            ((const real *)a->weight + from, NULL, a->k_stride, taps + 9 * run * width + o * FC_LANES, NULL, width, lanes,
             count, a->groups * a->group_stride - from - (lanes - 1) * a->k_stride);
        }
    }
}

/* The entries of a panel, one for each run of channels under each tap that is none of the padding: how many. */
static ptrdiff_t FC_FN(list_taps)(const fc_winograd_args *a, ptrdiff_t row, ptrdiff_t col, ptrdiff_t width,
                                  int64_t *entries) {
    const fc_strides s = a->sources.strides;
    ptrdiff_t count = 0;
    for (ptrdiff_t tap = 0; tap < 9; tap++) {
        const ptrdiff_t i = row + tap / 3, j = col + tap % 3, taken = a->flipped ? 8 - tap : tap;
        if (i < 0 || i >= a->sources.rows || j < 0 || j >= a->sources.cols)
            continue;
        for (ptrdiff_t c = 0; c < a->C; c += a->part, count++) {
            entries[2 * count] = i * s.h + j * s.w + c * s.c;
            entries[2 * count + 1] = (9 * c + taken) * width;
        }
    }
    return count;
}

/* A tile of a block of output channels, whose weight is laid out for the first tile that asks for it. */
static void FC_FN(sum_directly)(const fc_winograd_args *a, FC_FN(fc_winograd_work) *w, ptrdiff_t g, fc_place tile,
                            ptrdiff_t k0, ptrdiff_t vectors, FC_FN(fc_winograd_pixels) to, real *target) {
    const ptrdiff_t width = vectors * FC_LANES;
    if (!w->has_taps)
        FC_FN(lay_out_taps)(a, g, k0, vectors, w->taps);
    w->has_taps = 1;
    const real *image = (const real *)a->source + tile.n * a->sources.strides.n + g * a->C * a->sources.strides.c;
    fc_panel panel = {
        .entries = w->entries,
        .count = a->part,
        .x_step = a->sources.strides.c,
        .w_step = 9 * width,
        .per_chunk = 1,
        .channels = a->K - k0 < width ? a->K - k0 : width,
        .bias = w->bias,
        .ending = FC_BIAS_LANES | a->activation,
        .first = 1,
        .last = 1,
    };
    for (ptrdiff_t i = 0; i < a->sources.size && tile.row + i < a->target_rows; i++)
        for (ptrdiff_t j = 0; j < a->sources.size && tile.col + j < a->target_cols; j++) {
            const ptrdiff_t row = tile.row + i - a->sources.pad_rows, col = tile.col + j - a->sources.pad_cols;
            panel.entry_count = FC_FN(list_taps)(a, row, col, width, w->entries);
            FC_FN(panels)[vectors - 1][0](&panel, image, w->taps, w->sums, target + i * to.h + j * to.w);
        }
}
