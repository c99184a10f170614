/* grad_weight of planes whose rows do not fill a vector: some rows of a vector of channels, a strip, are transposed to
 * scratch memory, where the kernels of channels_last find them. */

#ifndef FASTCONV_DEPTHWISE_STRIPS_H
#define FASTCONV_DEPTHWISE_STRIPS_H
/* Pixels of one vector of channels. */
static inline fc_strides fc_strip_strides(const fc_strides *planes, ptrdiff_t lanes) {
    return (fc_strides){.c = 1, .h = planes->h * lanes, .w = lanes};
}
#endif

/* Rows begin .. end - 1 of the planes of a vector of channels from c on, pixel after pixel. */
static void FC_FN(take_strip)(const real *planes, const fc_strides *strides, ptrdiff_t n, ptrdiff_t c, ptrdiff_t begin,
                              ptrdiff_t end, real *strip) {
    FC_FN(transpose_any)
    (planes + n * strides->n + c * strides->c + begin * strides->h, NULL, strides->c, strip, NULL, FC_LANES, FC_LANES,
     (end - begin) * strides->h, strides->c - begin * strides->h);
}

/* One item per (chunk of all images' blocks of output rows, vector of channels). */
static void FC_FN(strip_grad)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    fc_strip_grad_args *a = ctx;
    const fc_pixel_grad_args *planes = &a->planes;
    const ptrdiff_t vectors = (planes->C + FC_LANES - 1) / FC_LANES, blocks = planes->N * a->block_count;
    void *block;
    real *x = fc_aligned((a->x_pixels + a->grad_out_pixels + planes->taps) * FC_VECTOR_BYTES, &block);
    (void)slot;
    if (x == NULL) {
        a->status = 1;
        return;
    }
    real *grad_out = x + a->x_pixels * FC_LANES;
    fc_pixel_grad_args strip = *planes;
    FC_FN(grad_item) item = {.first = 0, .last = 1, .sums = (vec *)grad_out + a->grad_out_pixels};
    memset(item.sums, 0, (size_t)planes->taps * sizeof(vec));
    strip.x = x, strip.grad_out = grad_out, strip.C = FC_LANES;
    strip.x_strides = fc_strip_strides(&planes->x_strides, FC_LANES);
    strip.grad_out_strides = fc_strip_strides(&planes->grad_out_strides, FC_LANES);
    for (ptrdiff_t i = lo; i < hi; i++) {
        const ptrdiff_t chunk = i / vectors, c = FC_FIRST_CHANNEL(i % vectors * FC_LANES, planes->C);
        item.total = (vec *)planes->partial + i * planes->taps;
        memset(item.total, 0, (size_t)planes->taps * sizeof(vec));
        for (ptrdiff_t b = chunk * blocks / planes->chunks; b < (chunk + 1) * blocks / planes->chunks; b++) {
            const int64_t *rows = a->row_blocks + 4 * (b % a->block_count);
            const ptrdiff_t n = b / a->block_count;
            FC_FN(take_strip)(planes->x, &planes->x_strides, n, c, rows[2], rows[3], x);
            FC_FN(take_strip)(planes->grad_out, &planes->grad_out_strides, n, c, rows[0], rows[1], grad_out);
            for (ptrdiff_t row = rows[0]; row < rows[1]; row++)
                FC_FN(grad_row)(&strip, -rows[2] * strip.x_strides.h, -rows[0] * strip.grad_out_strides.h, row, &item);
        }
        FC_FN(grad_flush)(&strip, &item);
    }
    free(block);
}
