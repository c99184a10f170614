/* grad_bias: sums over images and pixels, in double: memory is slower than the conversion. */
#include "grad_bias_args.h"

#ifndef FASTCONV_CONV2D_GRAD_BIAS_H
#define FASTCONV_CONV2D_GRAD_BIAS_H
/* Channels of one item where channels are together; independent sums of one channel where pixels are. */
enum { FC_BIAS_CHANNELS = 32, FC_BIAS_SUMS = 16 };
#endif

/* Channels k0 .. of pixels that lie `step` apart. */
static void FC_FN(sum_channels)(const real *pixel, ptrdiff_t pixels, ptrdiff_t step, ptrdiff_t channels, double *sums) {
    if (channels == FC_BIAS_CHANNELS) {
        for (ptrdiff_t i = 0; i < pixels; i++, pixel += step)
            for (ptrdiff_t k = 0; k < FC_BIAS_CHANNELS; k++) sums[k] += pixel[k];
    } else {
        for (ptrdiff_t i = 0; i < pixels; i++, pixel += step)
            for (ptrdiff_t k = 0; k < channels; k++) sums[k] += pixel[k];
    }
}

static double FC_FN(sum_plane)(const real *plane, ptrdiff_t pixels) {
    double sums[FC_BIAS_SUMS] = {0}, total = 0;
    ptrdiff_t i = 0;
    for (; i + FC_BIAS_SUMS <= pixels; i += FC_BIAS_SUMS)
        for (int s = 0; s < FC_BIAS_SUMS; s++) sums[s] += plane[i + s];
    for (; i < pixels; i++) sums[i % FC_BIAS_SUMS] += plane[i];
    for (int s = 0; s < FC_BIAS_SUMS; s++) total += sums[s];
    return total;
}

/* One item per FC_BIAS_CHANNELS channels. */
static void FC_FN(grad_bias)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_grad_bias_args *a = ctx;
    (void)slot;
    for (ptrdiff_t k0 = lo * FC_BIAS_CHANNELS; k0 < hi * FC_BIAS_CHANNELS && k0 < a->K; k0 += FC_BIAS_CHANNELS) {
        const ptrdiff_t channels = a->K - k0 < FC_BIAS_CHANNELS ? a->K - k0 : FC_BIAS_CHANNELS;
        double sums[FC_BIAS_CHANNELS] = {0};
        for (ptrdiff_t n = 0; n < a->N; n++) {
            const real *image = (const real *)a->grad_out + n * a->K * a->pixels;
            if (a->planar)
                for (ptrdiff_t k = 0; k < channels; k++)
                    sums[k] += FC_FN(sum_plane)(image + (k0 + k) * a->pixels, a->pixels);
            else
                FC_FN(sum_channels)(image + k0, a->pixels, a->K, channels, sums);
        }
        for (ptrdiff_t k = 0; k < channels; k++) ((real *)a->grad_bias)[k0 + k] = (real)sums[k];
    }
}

const fc_grad_bias_kernels FC_FN(fc_grad_bias) = {.channels = FC_BIAS_CHANNELS, .grad_bias = FC_FN(grad_bias)};
