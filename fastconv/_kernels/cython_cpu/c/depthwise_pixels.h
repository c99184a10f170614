/* Depthwise sums in channels_last: lanes are channels, a tile is up to 8 neighbouring columns of one row. */

#include "larger.h"

#ifndef FASTCONV_DEPTHWISE_PIXELS_H
#define FASTCONV_DEPTHWISE_PIXELS_H
enum { FC_PIXELS = 8 };

/* One tile: entries of its row, where its first source and target lie, how far the next pixels are. */
typedef struct {
    ptrdiff_t row_first, row_last, col_first, col_last;
    ptrdiff_t source, source_step, target, target_step;
    int skip_first, skip_last;
    /* Rows that the next target row reads and this one does not: the first of them at this tile's columns, and how
     * many; they are asked for while this row is summed. */
    ptrdiff_t next_source, next_rows;
} fc_pixel_tile;

#define FC_EACH_PIXEL(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)

/* Source q of a sweep, counted from tap 0 of the first pixel, goes to those pixels p and taps k with q = p * S + k. */
#define FC_SWEEP_1(Q, M)                                                                                       \
    Q(0, M(0, 0)) Q(1, M(1, 0) M(0, 1)) Q(2, M(2, 0) M(1, 1) M(0, 2)) Q(3, M(3, 0) M(2, 1) M(1, 2))            \
    Q(4, M(4, 0) M(3, 1) M(2, 2)) Q(5, M(5, 0) M(4, 1) M(3, 2)) Q(6, M(6, 0) M(5, 1) M(4, 2))                  \
    Q(7, M(7, 0) M(6, 1) M(5, 2)) Q(8, M(7, 1) M(6, 2)) Q(9, M(7, 2))
#define FC_SWEEP_2(Q, M)                                                                                       \
    Q(0, M(0, 0)) Q(1, M(0, 1)) Q(2, M(1, 0) M(0, 2)) Q(3, M(1, 1)) Q(4, M(2, 0) M(1, 2)) Q(5, M(2, 1))        \
    Q(6, M(3, 0) M(2, 2)) Q(7, M(3, 1)) Q(8, M(4, 0) M(3, 2)) Q(9, M(4, 1)) Q(10, M(5, 0) M(4, 2))             \
    Q(11, M(5, 1)) Q(12, M(6, 0) M(5, 2)) Q(13, M(6, 1)) Q(14, M(7, 0) M(6, 2)) Q(15, M(7, 1)) Q(16, M(7, 2))
/* The sweep of two phases, which has half a source for each pixel (S is 0): pixels 2 * q - 1 + k are those of source q. */
#define FC_SWEEP_HALF(Q, M)                                                                                \
    Q(0, M(0, 1) M(1, 2)) Q(1, M(1, 0) M(2, 1) M(3, 2)) Q(2, M(3, 0) M(4, 1) M(5, 2)) Q(3, M(5, 0) M(6, 1) M(7, 2)) \
    Q(4, M(7, 0))
#define FC_SWEEP(Q, M)      \
    if (S == 1) {           \
        FC_SWEEP_1(Q, M)    \
    } else if (S == 2) {    \
        FC_SWEEP_2(Q, M)    \
    } else {                \
        FC_SWEEP_HALF(Q, M) \
    }

/* A source of the sweep: those at its ends may be padding. */
#define FC_LAST_SOURCE (S == 0 ? P / 2 : (P - 1) * S + 2)
#define FC_SWEEP_SOURCE(q, uses)                                                              \
    if (q <= FC_LAST_SOURCE && !(q == 0 && skip_first) && !(q == FC_LAST_SOURCE && skip_last)) { \
        vec x_ = *(const vec *)(x + (q)*step);                                                \
        FC_LOAD_ONCE(x_);                                                                     \
        uses                                                                                  \
    }

/* Calls function(P, ...) with a constant. */
#define FC_WITH_PIXELS(function, P, ...)                  \
    switch (P) {                                          \
        case 1: function(1, __VA_ARGS__); break;          \
        case 2: function(2, __VA_ARGS__); break;          \
        case 3: function(3, __VA_ARGS__); break;          \
        case 4: function(4, __VA_ARGS__); break;          \
        case 5: function(5, __VA_ARGS__); break;          \
        case 6: function(6, __VA_ARGS__); break;          \
        case 7: function(7, __VA_ARGS__); break;          \
        default: function(8, __VA_ARGS__); break;         \
    }

/* The first channel of a vector: the last vector overlaps the one before it where C is no multiple of the lanes. */
#define FC_FIRST_CHANNEL(c, C) ((c) + FC_LANES <= (C) ? (c) : (C) - FC_LANES)

/* Pixels of each tile, so that count pixels make tiles of equal width. */
static inline ptrdiff_t fc_tile_width(ptrdiff_t count) {
    const ptrdiff_t tiles = (count + FC_PIXELS - 1) / FC_PIXELS;
    return (count + tiles - 1) / tiles;
}

/* The same of a sweep, whose phases are not parted. */
static inline ptrdiff_t fc_sweep_width(const fc_sweep *sweep) {
    return (fc_tile_width(sweep->count) + sweep->phases - 1) / sweep->phases * sweep->phases;
}

/* How much further the source rows begin that the next target row reads and this one does not. */
static inline ptrdiff_t fc_next_source(const fc_pixel_tile *tile, const fc_axis *rows, ptrdiff_t step) {
    return tile->next_rows > 0 ? (rows->sources[tile->row_last - 1] + 1) * step : 0;
}
#endif

#define FC_PIXEL_ZERO(p) vec acc_##p = {0};
#define FC_PIXEL_OFFSET(p) \
    if (p < P) acc_##p += offset;
#define FC_PIXEL_RECTIFY(p) \
    if (p < P) acc_##p = FC_LARGER((vec){0}, acc_##p);
#define FC_PIXEL_CAP(p) \
    if (p < P) acc_##p = FC_SMALLER((real)6 - (vec){0}, acc_##p);
#define FC_PIXEL_STORE(p) \
    if (p < P) *(vec *)(target + p * tile->target_step) = acc_##p;
/* Bias and activation, then the store. */
#define FC_PIXELS_END                     \
    FC_EACH_PIXEL(FC_PIXEL_OFFSET)        \
    if (a->activation & FC_RELU) {        \
        FC_EACH_PIXEL(FC_PIXEL_RECTIFY)   \
    }                                     \
    if (a->activation & FC_RELU6) {       \
        FC_EACH_PIXEL(FC_PIXEL_CAP)       \
    }                                     \
    FC_EACH_PIXEL(FC_PIXEL_STORE)
#define FC_PIXEL_USE(p, k) \
    if (p < P) acc_##p += w_##k * x_;

/* One vector of channels of a tile of the sweep. */
FC_INLINE void FC_FN(sweep_vector)(const int P, const int S, const fc_pixel_args *a, const fc_pixel_tile *tile,
                                   ptrdiff_t c) {
    const ptrdiff_t step = a->source_strides.w, tap_step = a->sweep.direction * a->C;
    const real *weight = (const real *)a->weight + a->sweep.first * a->C + c;
    const real *source = (const real *)a->source + tile->source + c;
    real *target = (real *)a->target + tile->target + c;
    const vec offset = a->bias != NULL ? *(const vec *)((const real *)a->bias + c) : (vec){0};
    const int skip_first = tile->skip_first, skip_last = tile->skip_last;
    FC_EACH_PIXEL(FC_PIXEL_ZERO)
    for (ptrdiff_t r = tile->row_first; r < tile->row_last; r++) {
        const real *w = weight + a->rows.taps[r] * a->tap_cols * a->C;
        const real *x = source + a->rows.sources[r] * a->source_strides.h;
        const vec w_0 = *(const vec *)w, w_1 = *(const vec *)(w + tap_step), w_2 = *(const vec *)(w + 2 * tap_step);
        FC_SWEEP(FC_SWEEP_SOURCE, FC_PIXEL_USE)
    }
    FC_PIXELS_END
}

#define FC_PIXEL_TAP(p) \
    if (p < P) acc_##p += w * *(const vec *)(x + p * tile->source_step);

/* One vector of channels of a tile whose pixels all have the same entries. */
FC_INLINE void FC_FN(entries_vector)(const int P, const fc_pixel_args *a, const fc_pixel_tile *tile, ptrdiff_t c) {
    const real *source = (const real *)a->source + tile->source + c;
    real *target = (real *)a->target + tile->target + c;
    const vec offset = a->bias != NULL ? *(const vec *)((const real *)a->bias + c) : (vec){0};
    FC_EACH_PIXEL(FC_PIXEL_ZERO)
    for (ptrdiff_t r = tile->row_first; r < tile->row_last; r++)
        for (ptrdiff_t e = tile->col_first; e < tile->col_last; e++) {
            const ptrdiff_t tap = a->rows.taps[r] * a->tap_cols + a->cols.taps[e];
            const vec w = *(const vec *)((const real *)a->weight + tap * a->C + c);
            const real *x = source + a->rows.sources[r] * a->source_strides.h + a->cols.sources[e] * a->source_strides.w;
            FC_EACH_PIXEL(FC_PIXEL_TAP)
        }
    FC_PIXELS_END
}

/* Asks for one line of neighbouring pixels of some rows. */
FC_INLINE void FC_FN(prefetch_rows)(const real *first, const fc_strides *strides, ptrdiff_t rows, const int pixels) {
    for (ptrdiff_t r = 0; r < rows; r++, first += strides->h)
        for (int q = 0; q < pixels; q++) __builtin_prefetch(first + q * strides->w, 0, 2);
}

FC_INLINE void FC_FN(sweep_tile)(const int P, const int S, const fc_pixel_args *a, const fc_pixel_tile *tile) {
    for (ptrdiff_t c = 0; c < a->C; c += FC_LANES) {
        FC_FN(prefetch_rows)
        ((const real *)a->source + tile->next_source + c, &a->source_strides, tile->next_rows, S == 0 ? P / 2 : P * S);
        if (tile->next_rows > 0)
            for (int p = 0; p < P; p++)
                __builtin_prefetch((const real *)a->target + tile->target + (P + p) * a->target_strides.w + c, 1, 2);
        FC_FN(sweep_vector)(P, S, a, tile, FC_FIRST_CHANNEL(c, a->C));
    }
}

FC_INLINE void FC_FN(entries_tile)(const int P, const fc_pixel_args *a, const fc_pixel_tile *tile) {
    for (ptrdiff_t c = 0; c < a->C; c += FC_LANES) FC_FN(entries_vector)(P, a, tile, FC_FIRST_CHANNEL(c, a->C));
}

/* The columns of the sweep in one row. */
static void FC_FN(sweep_row)(const fc_pixel_args *a, fc_pixel_tile tile, ptrdiff_t source, ptrdiff_t target) {
    const fc_sweep *sweep = &a->sweep;
    const ptrdiff_t width = fc_sweep_width(sweep);
    const ptrdiff_t next = fc_next_source(&tile, &a->rows, a->source_strides.h);
    tile.target_step = a->target_strides.w;
    for (ptrdiff_t j = 0; j < sweep->count; j += width) {
        const ptrdiff_t pixels = sweep->count - j < width ? sweep->count - j : width;
        tile.source = source + (sweep->source + j * sweep->step / sweep->phases) * a->source_strides.w;
        tile.target = target + (sweep->start + j) * a->target_strides.w;
        tile.next_source = tile.source + next;
        tile.skip_first = sweep->head && j == 0;
        tile.skip_last = sweep->tail && j + pixels == sweep->count;
        if (sweep->phases == 2) {
            FC_WITH_PIXELS(FC_FN(sweep_tile), pixels, 0, a, &tile)
        } else if (sweep->step == 1) {
            FC_WITH_PIXELS(FC_FN(sweep_tile), pixels, 1, a, &tile)
        } else {
            FC_WITH_PIXELS(FC_FN(sweep_tile), pixels, 2, a, &tile)
        }
    }
}

/* The columns of one run in one row. */
static void FC_FN(entries_row)(const fc_pixel_args *a, fc_pixel_tile tile, const int64_t *run, ptrdiff_t source,
                               ptrdiff_t target) {
    const ptrdiff_t width = fc_tile_width(run[1]);
    tile.col_first = a->cols.first[run[0]];
    tile.col_last = a->cols.first[run[0] + 1];
    tile.target_step = run[2] * a->target_strides.w;
    tile.source_step = run[3] * a->source_strides.w;
    for (ptrdiff_t j = 0; j < run[1]; j += width) {
        const ptrdiff_t pixels = run[1] - j < width ? run[1] - j : width;
        tile.source = source + j * tile.source_step;
        tile.target = target + run[0] * a->target_strides.w + j * tile.target_step;
        FC_WITH_PIXELS(FC_FN(entries_tile), pixels, a, &tile)
    }
}

/* One target row of an image that begins at these elements. */
static void FC_FN(pixel_row)(const fc_pixel_args *a, ptrdiff_t source, ptrdiff_t target, ptrdiff_t row) {
    fc_pixel_tile tile = {.row_first = a->rows.first[row], .row_last = a->rows.first[row + 1]};
    tile.next_rows = a->far && tile.row_last > tile.row_first ? a->row_step : 0;
    target += row * a->target_strides.h;
    if (a->sweep.count > 0) FC_FN(sweep_row)(a, tile, source, target);
    for (ptrdiff_t r = 0; r < a->cols.run_count; r++) {
        const int64_t *run = a->cols.runs + 4 * r;
        if (run[0] < a->sweep.start || run[0] >= a->sweep.start + a->sweep.count)
            FC_FN(entries_row)(a, tile, run, source, target);
    }
}

/* One item per (image, target row). */
static void FC_FN(pixel_sum)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_pixel_args *a = ctx;
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t n = item / a->rows.targets;
        FC_FN(pixel_row)(a, n * a->source_strides.n, n * a->target_strides.n, item % a->rows.targets);
    }
}
