/* What lies under the windows of an output row: strips of input rows, from which windows are copied one by one. */

#ifndef FASTCONV_LOCAL_WINDOWS_H
#define FASTCONV_LOCAL_WINDOWS_H
/* Neighbouring places of one row of the output, some output channels, the input columns under the places, the first of
 * which may be padding, and some images. */
typedef struct {
    ptrdiff_t row, begin, end, k_begin, k_end, first, count, n, images;
} fc_local_run;

/* Where part `part` of `parts` even parts of a count begins. */
FC_INLINE ptrdiff_t fc_part(ptrdiff_t part, ptrdiff_t parts, ptrdiff_t count) { return part * count / parts; }

FC_INLINE fc_local_run fc_local_run_at(const fc_local_args *a, ptrdiff_t item) {
    const ptrdiff_t k = item % a->k_blocks, tile = item / a->k_blocks % a->col_tiles;
    fc_local_run run = {.row = item / a->k_blocks / a->col_tiles};
    run.begin = fc_part(tile, a->col_tiles, a->cols.out), run.end = fc_part(tile + 1, a->col_tiles, a->cols.out);
    run.k_begin = fc_part(k, a->k_blocks, a->K), run.k_end = fc_part(k + 1, a->k_blocks, a->K);
    run.first = run.begin * a->cols.stride - a->cols.low;
    run.count = (run.end - run.begin - 1) * a->cols.stride + a->cols.dilation * (a->cols.kernel - 1) + 1;
    return run;
}

/* The next images of a run, the first ones at first; whether there are any. */
FC_INLINE int fc_next_images(const fc_local_args *a, fc_local_run *run) {
    const ptrdiff_t left = a->N - (run->n += run->images);
    run->images = left < a->images ? left : a->images;
    return left > 0;
}

/* Whether a window leaves the input. */
FC_INLINE int fc_leaves(const fc_local_axis *axis, ptrdiff_t place) {
    const ptrdiff_t first = place * axis->stride - axis->low;
    return first < 0 || first + axis->dilation * (axis->kernel - 1) >= axis->size;
}

/* The columns lo .. hi - 1 of a run are no padding. */
FC_INLINE void fc_inside(const fc_local_args *a, const fc_local_run *run, ptrdiff_t *lo, ptrdiff_t *hi) {
    const ptrdiff_t end = a->cols.size - run->first;
    *lo = run->first < 0 ? (-run->first < run->count ? -run->first : run->count) : 0;
    *hi = end < run->count ? end : run->count;
    if (*hi < *lo)
        *hi = *lo;
}
#endif

/* The scratch of one thread. */
typedef struct {
    real *strips, *mask_strip, *windows, *mask, *rows, *sums, *grads;
} FC_FN(local_desk);

FC_INLINE FC_FN(local_desk) FC_FN(desk_of)(const fc_local_args *a, ptrdiff_t slot) {
    real *scratch = (real *)(a->scratch + slot * a->scratch_bytes);
    return (FC_FN(local_desk)){scratch + a->strips_at, scratch + a->mask_strip_at, scratch + a->windows_at,
                               scratch + a->mask_at,   scratch + a->rows_at,       scratch + a->sums_at,
                               scratch + a->grads_at};
}

/* The input rows under a run, of every channel and row of taps; padding is zero. */
static void FC_FN(take_strip)(const fc_local_args *a, const fc_local_run *run, const real *x, real *strip) {
    const ptrdiff_t kernel = a->rows.kernel, step = kernel * a->width;
    ptrdiff_t lo, hi;
    fc_inside(a, run, &lo, &hi);
    for (ptrdiff_t kh = 0; kh < kernel; kh++, strip += a->width) {
        const ptrdiff_t h = run->row * a->rows.stride - a->rows.low + kh * a->rows.dilation;
        const int is_inside = h >= 0 && h < a->rows.size && lo < hi;
        if (!is_inside) {
            for (ptrdiff_t c = 0; c < a->C; c++) memset(strip + c * step, 0, (size_t)run->count * sizeof(real));
            continue;
        }
        const real *row = x + h * a->x_strides.h + (run->first + lo) * a->x_strides.w;
        for (ptrdiff_t c = 0; c < a->C; c++) {
            memset(strip + c * step, 0, (size_t)lo * sizeof(real));
            memset(strip + c * step + hi, 0, (size_t)(run->count - hi) * sizeof(real));
            if (a->x_strides.w == 1)
                memcpy(strip + c * step + lo, row + c * a->x_strides.c, (size_t)(hi - lo) * sizeof(real));
        }
        if (a->x_strides.w != 1)
            FC_FN(transpose)(row, a->x_strides.w, strip + lo, step, hi - lo, a->C);
    }
}

/* All bits set where a tap is no padding. */
static void FC_FN(take_mask_strip)(const fc_local_args *a, const fc_local_run *run, real *strip) {
    ptrdiff_t lo, hi;
    fc_inside(a, run, &lo, &hi);
    for (ptrdiff_t kh = 0; kh < a->rows.kernel; kh++, strip += a->width) {
        const ptrdiff_t h = run->row * a->rows.stride - a->rows.low + kh * a->rows.dilation;
        memset(strip, 0, (size_t)run->count * sizeof(real));
        if (h >= 0 && h < a->rows.size)
            memset(strip + lo, 0xFF, (size_t)(hi - lo) * sizeof(real));
    }
}

/* What taps of a row are moved in where there are few. */
typedef real FC_FN(short_vec) __attribute__((vector_size(16), aligned(sizeof(real)), may_alias));

/* The taps of rows that are `step` elements apart in a strip: row after row, whole vectors, of which the next row
 * replaces what is too much. */
FC_INLINE void FC_FN(take_taps)(const fc_local_axis *cols, const real *strip, ptrdiff_t step, ptrdiff_t rows,
                                real *window) {
    const ptrdiff_t kernel = cols->kernel;
    if (cols->dilation > 1)
        for (ptrdiff_t r = 0; r < rows; r++, strip += step)
            for (ptrdiff_t kw = 0; kw < kernel; kw++) *window++ = strip[kw * cols->dilation];
    else if (kernel * (ptrdiff_t)sizeof(real) <= (ptrdiff_t)sizeof(FC_FN(short_vec)))
        for (ptrdiff_t r = 0; r < rows; r++, strip += step, window += kernel)
            *(FC_FN(short_vec) *)window = *(const FC_FN(short_vec) *)strip;
    else
        for (ptrdiff_t r = 0; r < rows; r++, strip += step, window += kernel)
            for (ptrdiff_t i = 0; i < kernel; i += FC_LANES) *(vec *)(window + i) = *(const vec *)(strip + i);
}

/* Strips of the images of a run, and that of the mask. */
static void FC_FN(take_strips)(const fc_local_args *a, const fc_local_run *run, const FC_FN(local_desk) *desk) {
    const ptrdiff_t strip = a->C * a->rows.kernel * a->width;
    for (ptrdiff_t i = 0; i < run->images; i++)
        FC_FN(take_strip)(a, run, (const real *)a->x + (run->n + i) * a->x_strides.n, desk->strips + i * strip);
    FC_FN(take_mask_strip)(a, run, desk->mask_strip);
}

/* The windows of the images at a place; where they leave the input, its mask for the channels of a group, too. */
static int FC_FN(take_windows)(const fc_local_args *a, const fc_local_run *run, ptrdiff_t place,
                               const FC_FN(local_desk) *desk) {
    const ptrdiff_t rows = a->C * a->rows.kernel, at = (place - run->begin) * a->cols.stride;
    for (ptrdiff_t i = 0; i < run->images; i++)
        FC_FN(take_taps)
        (&a->cols, desk->strips + i * rows * a->width + at, a->width, rows, desk->windows + i * a->window);
    if (!fc_leaves(&a->rows, run->row) && !fc_leaves(&a->cols, place))
        return 0;
    const ptrdiff_t taps = a->rows.kernel * a->cols.kernel;
    for (ptrdiff_t t = 0; t < a->terms; t += taps)
        FC_FN(take_taps)(&a->cols, desk->mask_strip + at, a->width, a->rows.kernel, desk->mask + t);
    return 1;
}

/* The output channels from k on of one group. */
FC_INLINE ptrdiff_t FC_FN(rows_at)(const fc_local_args *a, const fc_local_run *run, ptrdiff_t k) {
    const ptrdiff_t group = a->K / a->groups, end = (k / group + 1) * group;
    const ptrdiff_t left = (end < run->k_end ? end : run->k_end) - k;
    return left < FC_LANES ? left : FC_LANES;
}

/* The gradients of some images at a place: output channel after output channel. */
static void FC_FN(take_grads)(const fc_local_args *a, ptrdiff_t n, ptrdiff_t images, ptrdiff_t row, ptrdiff_t place,
                              real *grads) {
    const real *out = (const real *)a->out + n * a->out_strides.n + row * a->out_strides.h + place * a->out_strides.w;
    for (ptrdiff_t i = 0; i < images; i++, out += a->out_strides.n, grads += a->grads)
        for (ptrdiff_t k = 0; k < a->K; k++) grads[k] = out[k * a->out_strides.c];
}
