/* Gradients of planes straight to memory: lanes are neighbouring columns, windows of two or three rows slide down. What
 * a row of windows gives to the rows under it stays in registers until the last window that has them was there. */

/* A vector of columns, of stride two a pair of vectors of which lane i has columns 2 * i and 2 * i + 1: the windows that
 * have it at each tap of a row, and the targets. */
typedef struct {
    FC_S(pool_part) parts[3], targets[2];
} FC_S(pool_under);

FC_INLINE FC_S(pool_places) FC_S(pool_load_places)(const char *row, const FC_S(pool_part) *part) {
#ifdef FC_POOL_LOAD_PLACES
    return FC_POOL_LOAD_PLACES(row + part->at, part->lanes);
#else
    FC_S(fc_slid_mask) value = (FC_S(fc_slid_mask)){0} - 1;
    for (ptrdiff_t lane = part->first; lane < part->last; lane++) value[lane] = ((const uint8_t *)row)[part->at + lane];
    return value;
#endif
}

/* The lanes of a part that are inside, or, of `whole` ones, all: what follows in the plane is written later. */
FC_INLINE void FC_S(pool_put_part)(real *row, const FC_S(pool_part) *part, slid value, int whole, ptrdiff_t streams) {
    real *target = row + part->at;
    if (whole || part->last == FC_SLID) {
        FC_S(pool_put_all)(target, value, streams);
        return;
    }
#ifdef FC_POOL_STORE
    FC_POOL_STORE(target, part->lanes, value);
#else
    for (ptrdiff_t lane = 0; lane < part->last; lane++) target[lane] = value[lane];
#endif
}

/* odd: the padding to the left is odd, and of stride two the middle tap has the even columns. */
FC_INLINE void FC_S(pool_put_row)(const FC_S(pool_slide) *s, const FC_S(pool_under) *view, ptrdiff_t row,
                                   const slid *sums, const int stride, const int odd) {
    real *target = s->target + row * s->width;
    const int whole = row < s->whole_rows;
    if (row < 0 || row >= s->H) return;
    if (stride == 1) {
        FC_S(pool_put_part)(target, &view->targets[0], sums[0], whole, s->a->streams);
    } else {
        const slid even = sums[odd], other = sums[!odd];
        FC_S(pool_put_part)(target, &view->targets[0], FC_SHUFFLE(even, other, FC_POOL_ORDER(LOWER, FC_SLID)),
                             whole, s->a->streams);
        if (view->targets[1].last > 0)
            FC_S(pool_put_part)(target, &view->targets[1], FC_SHUFFLE(even, other, FC_POOL_ORDER(UPPER, FC_SLID)),
                                 whole, s->a->streams);
    }
}

/* One vector of columns under some rows of windows; under the last ones, to the end of the plane. */
FC_INLINE void FC_S(pool_under_rows)(const FC_S(pool_slide) *s, const FC_S(pool_under) *columns, ptrdiff_t first,
                                      ptrdiff_t last, const int kernel, const int stride, const int odd,
                                      const int sums) {
    const FC_S(pool_under) view = *columns;
    const fc_pool_args *a = s->a;
    const ptrdiff_t W = s->W, begin = first - (kernel - 1) / stride;
    /* Of a row under windows, those of even taps and those of odd ones, which lie in turn. */
    slid under[3][2], counts[3], value[3];
    FC_S(pool_places) places[3];
#pragma GCC unroll 4
    for (int i = 0; i < kernel; i++) {
        under[i][0] = under[i][1] = (slid){0};
        if (sums) counts[i] = FC_S(pool_load)(a->col_counts, &view.parts[i], 1);
    }
    for (ptrdiff_t row = begin > 0 ? begin : 0; row < last; row++) {
        const real count = sums ? ((const real *)a->row_counts)[row] : 1;
#pragma GCC unroll 4
        for (int tap = 0; tap < kernel; tap++) {
            value[tap] = FC_S(pool_load)(s->source + row * W, &view.parts[tap], 0);
            if (sums) value[tap] /= count * counts[tap];
            else places[tap] = FC_S(pool_load_places)(s->offsets + row * W, &view.parts[tap]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < kernel; i++)
#pragma GCC unroll 4
            for (int tap = kernel - 1; tap >= 0; tap--) {
                slid *sum = &under[i][stride == 1 ? 0 : tap % 2];
                if (sums) *sum += value[tap];
                else *sum = FC_POOL_ADD_IF(*sum, value[tap], places[tap], i * kernel + tap);
            }
#pragma GCC unroll 4
        for (int i = 0; i < stride; i++)
            if (row >= first) FC_S(pool_put_row)(s, &view, row * stride - s->row_low + i, under[i], stride, odd);
#pragma GCC unroll 4
        for (int i = 0; i < kernel; i++)
#pragma GCC unroll 4
            for (int phase = 0; phase < 2; phase++)
                under[i][phase] = i + stride < kernel ? under[i + stride][phase] : (slid){0};
    }
    if (last < s->rows) return;
#pragma GCC unroll 4
    for (int i = 0; i < kernel; i++)
        FC_S(pool_put_row)(s, &view, last * stride - s->row_low + i, under[i], stride, odd);
    for (ptrdiff_t row = last * stride - s->row_low + kernel; row < s->H; row++)
        FC_S(pool_put_row)(s, &view, row, under[kernel - 1], stride, odd);
}

/* Functions of their own, so that each has all registers. See pool_sliding.h. */
#ifndef FC_DEFINE_UNDER
#define FC_DEFINE_UNDER(kernel, stride, odd, name, sums)                                                                 \
    static __attribute__((noinline)) void FC_S(under_##kernel##stride##odd##name)(const FC_S(pool_slide) *s,           \
                                                                                    const FC_S(pool_under) *views,      \
                                                                                    ptrdiff_t first, ptrdiff_t last) {   \
        const ptrdiff_t step = stride < kernel || s->count == 1 ? last - first : FC_POOL_ROWS;                           \
        for (ptrdiff_t row = first; row < last; row += step) {                                                           \
            const ptrdiff_t end = last - row < step ? last : row + step;                                                 \
            for (ptrdiff_t v = 0; v < s->count; v++)                                                                     \
                FC_S(pool_under_rows)(s, views + v, row, end, kernel, stride, odd, sums);                                \
        }                                                                                                                \
    }
#define FC_DEFINE_UNDER_ALL(kernel, stride)                                                   \
    FC_DEFINE_UNDER(kernel, stride, 0, won, 0) FC_DEFINE_UNDER(kernel, stride, 0, sum, 1)     \
    FC_DEFINE_UNDER(kernel, stride, 1, won, 0) FC_DEFINE_UNDER(kernel, stride, 1, sum, 1)
#define FC_UNDER_ALL(kernel, stride)                                                              \
    {{FC_S(under_##kernel##stride##0##won), FC_S(under_##kernel##stride##0##sum)},              \
     {FC_S(under_##kernel##stride##1##won), FC_S(under_##kernel##stride##1##sum)}}
#endif
FC_DEFINE_UNDER_ALL(2, 1)
FC_DEFINE_UNDER_ALL(2, 2)
FC_DEFINE_UNDER_ALL(3, 1)
FC_DEFINE_UNDER_ALL(3, 2)

/* By 2 * kernel + stride - 5, by whether the padding to the left is odd, by whether all are summed. */
static void (*const FC_S(under_functions)[][2][2])(const FC_S(pool_slide) *, const FC_S(pool_under) *, ptrdiff_t,
                                                    ptrdiff_t) = {
    FC_UNDER_ALL(2, 1), FC_UNDER_ALL(2, 2), FC_UNDER_ALL(3, 1), FC_UNDER_ALL(3, 2)};

/* The vectors of columns, or pairs of them; the last one overlaps the one before it where it can. */
static FC_S(pool_under) *FC_S(pool_unders)(const fc_pool_args *a, ptrdiff_t count, void **memory) {
    const ptrdiff_t width = a->cols.targets, stride = a->sliding.stride, low = a->sliding.col_low;
    FC_S(pool_under) *views = fc_aligned(count * (ptrdiff_t)sizeof(*views), memory);
    for (ptrdiff_t v = 0; views != NULL && v < count; v++) {
        const ptrdiff_t places = (width + stride - 1) / stride, begin = v * FC_SLID;
        const ptrdiff_t place = v > 0 && begin + FC_SLID > places ? places - FC_SLID : begin;
        for (ptrdiff_t tap = 0; tap < a->tap_cols; tap++) {
            const ptrdiff_t phase = stride == 1 ? 0 : (tap + low) % 2;
            views[v].parts[tap] = FC_S(pool_part_of)(place + (phase + low - tap) / stride, a->source_strides.h);
        }
        for (int i = 0; i < 2; i++)
            views[v].targets[i] = FC_S(pool_part_of)(place * stride + i * FC_SLID, width);
    }
    return views;
}

/* One item per (plane, block of rows of windows). */
static void FC_S(pool_sliding_grad)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    fc_pool_args *a = ctx;
    const fc_pool_sliding *w = &a->sliding;
    const ptrdiff_t places = (a->cols.targets + w->stride - 1) / w->stride, count = (places + FC_SLID - 1) / FC_SLID;
    void *memory;
    const FC_S(pool_under) *views = FC_S(pool_unders)(a, count, &memory);
    FC_S(pool_slide) s = {
        .a = a, .count = count, .H = a->rows.targets, .W = a->source_strides.h, .width = a->target_strides.h,
        .row_low = w->row_low, .rows = w->H,
    };
    (void)slot;
    if (views == NULL) {
        a->status = 1;
        return;
    }
    if (count == 1 && w->blocks == 1) {
        const ptrdiff_t last = views->targets[1].last > 0 ? (w->stride - 1) * FC_SLID : 0;
        const ptrdiff_t room = s.H * s.width - last - FC_SLID;
        s.whole_rows = room < 0 ? 0 : room / s.width + 1;
    }
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t plane = item / w->blocks, first = item % w->blocks * w->block, left = w->H - first;
        s.source = (const real *)a->source + plane * a->source_strides.c;
        s.target = (real *)a->target + plane * a->target_strides.c;
        if (a->winners != NULL) s.offsets = (char *)a->winners + plane * a->source_strides.c;
        FC_S(under_functions)[2 * a->tap_cols + w->stride - 5][w->col_low % 2][a->kind == FC_POOL_SUM](
            &s, views, first, first + (left < w->block ? left : w->block));
    }
    free(memory);
    if (a->streams) FC_STREAM_FENCE();
}
