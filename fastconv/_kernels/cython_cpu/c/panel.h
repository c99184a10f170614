/* The microkernel: V vectors x P columns of sums in named registers (an indexed array of them would spill).
 *
 *   acc[o][p] += w[e + t * w_step + o] * broadcast(x[e + t * x_step + p * x_shift])
 *
 * over all entries e of a table of offsets and t = 0 .. count - 1. Forward and grad_input read packed weights as w and
 * pixels as x; grad_weight reads pixels of grad_out as w; pointwise convolution of planes reads pixels as w.
 *
 * Where a vector has the channels of several groups, x is a vector, too, whose lanes go where their groups are:
 *
 *   FC_ORDERED_TERMS:    acc[p] += w[e + t * w_step] * x[e + p * x_shift][orders[t]]
 *   FC_ORDERED_COLUMNS:  acc[p] += w[e + t * w_step] * x[e + t * x_step][orders[p]]
 *
 * Where weights are not packed, a vector's lanes lie apart, and its terms together:
 *
 *   FC_WEIGHT_ROWS:      acc[p][lane] += w[e + t + lane * w_shift] * x[e + t + p * x_shift] */
#include "activation.h"
#include "larger.h"
#include "stream.h"
#include "vector.h"
#include "weight_rows.h"

#ifndef FASTCONV_PANEL_H
#define FASTCONV_PANEL_H

/* Lanes that one tile owns at most. */
#define FC_BLOCK (FC_MAX_VECTORS * FC_LANES)
/* Columns of the widest tile. With 32 registers 2 x 12 spills; with 16, 2 x 7. */
#define FC_MOST_COLUMNS 12

/* FC_TILE or FC_TILE_NAME of every tile. */
#define FC_4(M, V) M(V, 1) M(V, 2) M(V, 3) M(V, 4)
#define FC_6(M, V) FC_4(M, V) M(V, 5) M(V, 6)
#define FC_8(M, V) FC_6(M, V) M(V, 7) M(V, 8)
#define FC_10(M, V) FC_8(M, V) M(V, 9) M(V, 10)
#define FC_12(M, V) FC_10(M, V) M(V, 11) M(V, 12)
#define FC_LISTED(V, P) FC_TILE_NAME(V, P),
#if FC_MAX_VECTORS == 4
#define FC_TILES FC_12(FC_TILE, 1) FC_10(FC_TILE, 2) FC_8(FC_TILE, 3) FC_6(FC_TILE, 4)
#define FC_TILE_NAMES {FC_12(FC_LISTED, 1)}, {FC_10(FC_LISTED, 2)}, {FC_8(FC_LISTED, 3)}, {FC_6(FC_LISTED, 4)}
#define FC_TILE_COLUMNS {12, 10, 8, 6}
#else
#define FC_TILES FC_12(FC_TILE, 1) FC_6(FC_TILE, 2)
#define FC_TILE_NAMES {FC_12(FC_LISTED, 1)}, {FC_6(FC_LISTED, 2)}
#define FC_TILE_COLUMNS {12, 6}
#endif

/* What is multiplied with a vector of w. */
enum { FC_BROADCAST_VALUES, FC_ORDERED_TERMS, FC_ORDERED_COLUMNS, FC_WEIGHT_ROWS };

/* How a panel ends, with the flags of activation.h. */
enum {
    FC_BIAS_LANES = 1,   /* bias[lane] */
    FC_BIAS_COLUMNS = 2, /* bias[p] */
    FC_STREAMS = 8,      /* past the caches: all lanes are valid, all places aligned to vectors */
    FC_FORESEES = 64,    /* what is ahead is asked for */
};

/* All that the tiles of one region share. Steps and shifts are in elements. */
typedef struct {
    const int64_t *entries; /* pairs: offset in x, offset in w */
    const void *bias, *orders;
    ptrdiff_t entry_count, count, x_step, x_shift, w_step, w_shift;
    const void *ahead;     /* what is read after this: lines of ahead_step bytes with each term, two at most */
    ptrdiff_t ahead_step;
    ptrdiff_t per_chunk;   /* entries that are summed before their sum is added to the others': rounding stays small */
    ptrdiff_t target_step, target_shift; /* from one column to the next; from one lane to the next, for dots */
    ptrdiff_t channels;    /* valid lanes */
    int first, last;       /* whether sums hold nothing yet; whether the result goes to the target */
    int ending;
} fc_panel;

#define FC_ROW_6(M, o) M(o, 0) M(o, 1) M(o, 2) M(o, 3) M(o, 4) M(o, 5)
#define FC_ROW_8(M, o) FC_ROW_6(M, o) M(o, 6) M(o, 7)
#define FC_ROW_10(M, o) FC_ROW_8(M, o) M(o, 8) M(o, 9)
#define FC_ROW_12(M, o) FC_ROW_10(M, o) M(o, 10) M(o, 11)
#define FC_EACH(M) FC_ROW_12(M, 0) FC_ROW_10(M, 1) FC_ROW_8(M, 2) FC_ROW_6(M, 3)
#define FC_EACH_VECTOR(M) M(0) M(1) M(2) M(3)

#define FC_DECLARE(o, p) vec acc_##o##_##p;
#define FC_CLEAR(o, p) acc_##o##_##p = (vec){0};
#define FC_LOAD(o) const vec w_##o = o < V ? *(const vec *)(w_ + o * FC_LANES) : (vec){0};
/* Three columns share an address: base, base + shift and base + 2 * shift are addressing modes. */
#define FC_MULTIPLY_ADD(o, p) \
    if (o < V && p < P) acc_##o##_##p += w_##o * x_##p;
#define FC_BROADCAST(p, base, times) const real x_##p = p < P ? base[times * shift] : 0;
/* Column by column: to take all of them first would need as many registers. */
#define FC_COLUMN_1(TAKE, p, base, times) TAKE(p, base, times) FC_MULTIPLY_ADD(0, p)
#define FC_COLUMN_2(TAKE, p, base, times) FC_COLUMN_1(TAKE, p, base, times) FC_MULTIPLY_ADD(1, p)
#define FC_COLUMN_3(TAKE, p, base, times) FC_COLUMN_2(TAKE, p, base, times) FC_MULTIPLY_ADD(2, p)
#define FC_COLUMN_4(TAKE, p, base, times) FC_COLUMN_3(TAKE, p, base, times) FC_MULTIPLY_ADD(3, p)
#define FC_COLUMNS(TAKE)                                                              \
    FC_COLUMN_4(TAKE, 0, a_, 0) FC_COLUMN_4(TAKE, 1, a_, 1) FC_COLUMN_4(TAKE, 2, a_, 2) \
    FC_COLUMN_4(TAKE, 3, b_, 0) FC_COLUMN_4(TAKE, 4, b_, 1) FC_COLUMN_4(TAKE, 5, b_, 2) \
    FC_COLUMN_3(TAKE, 6, c_, 0) FC_COLUMN_3(TAKE, 7, c_, 1) FC_COLUMN_2(TAKE, 8, c_, 2) \
    FC_COLUMN_2(TAKE, 9, d_, 0) FC_COLUMN_1(TAKE, 10, d_, 1) FC_COLUMN_1(TAKE, 11, d_, 2)
#if defined(__clang__)
#define FC_PERMUTED(x, order) FC_FN(permuted)(x, order)
#else
#define FC_PERMUTED(x, order) __builtin_shuffle(x, order)
#endif
#define FC_TAKE_VECTOR(p, base, times) const vec x_##p = p < P ? *(const vec *)(base + times * shift) : (vec){0};
#define FC_VECTORS                                                                                          \
    FC_TAKE_VECTOR(0, a_, 0) FC_TAKE_VECTOR(1, a_, 1) FC_TAKE_VECTOR(2, a_, 2) FC_TAKE_VECTOR(3, b_, 0)     \
    FC_TAKE_VECTOR(4, b_, 1) FC_TAKE_VECTOR(5, b_, 2) FC_TAKE_VECTOR(6, c_, 0) FC_TAKE_VECTOR(7, c_, 1)     \
    FC_TAKE_VECTOR(8, c_, 2) FC_TAKE_VECTOR(9, d_, 0) FC_TAKE_VECTOR(10, d_, 1) FC_TAKE_VECTOR(11, d_, 2)
#define FC_ADD_TERM(o, p) \
    if (p < P) acc_##o##_##p += w_0 * FC_PERMUTED(x_##p, order);
#define FC_ADD_COLUMN(o, p) \
    if (p < P) acc_##o##_##p += w_0 * FC_PERMUTED(x_0, orders[p]);
/* One term of all sums of a vector. */
#define FC_ADD_WEIGHTS(vector)                                     \
    {                                                              \
        const vec w_0 = vector, w_1 = w_0, w_2 = w_0, w_3 = w_0;   \
        FC_COLUMNS(FC_BROADCAST)                                   \
        a_++, b_++, c_++, d_++;                                    \
    }
#define FC_SUM_PLACE(o, p) (*(vec *)(sums + (p * V + o) * FC_LANES))
#define FC_KEEP(o, p) \
    if (o < V && p < P) FC_SUM_PLACE(o, p) = acc_##o##_##p;
#define FC_ADD(o, p) \
    if (o < V && p < P) FC_SUM_PLACE(o, p) += acc_##o##_##p;
#define FC_GATHER(o, p) \
    if (o < V && p < P) acc_##o##_##p += FC_SUM_PLACE(o, p);
#define FC_ADD_LANES(o, p) \
    if (o < V && p < P) acc_##o##_##p += *(const vec *)(bias + o * FC_LANES);
#define FC_ADD_COLUMNS(o, p) \
    if (o < V && p < P) acc_##o##_##p += bias[p];
/* NaN stays NaN and -0 stays -0: only what is below zero is cleared. */
#define FC_RECTIFY(o, p) \
    if (o < V && p < P) acc_##o##_##p = FC_LARGER((vec){0}, acc_##o##_##p);
#define FC_CAP(o, p) \
    if (o < V && p < P) acc_##o##_##p = FC_SMALLER((real)6 - (vec){0}, acc_##o##_##p);
/* A tail is copied from elsewhere: a sum whose address is taken would be kept in memory in every case. */
#define FC_STORE(o, p)                                                                     \
    if (o < V && p < P) {                                                                  \
        real *place_ = target + p * target_step + o * FC_LANES;                            \
        if (o + 1 < V || whole) {                                                          \
            *(vec *)place_ = acc_##o##_##p;                                                \
        } else {                                                                           \
            const vec tail_ = acc_##o##_##p;                                               \
            memcpy(place_, &tail_, (size_t)(channels - o * FC_LANES) * sizeof(real));      \
        }                                                                                  \
    }
#define FC_STREAM_LANES(o, p) \
    if (o < V && p < P) FC_STREAM_STORE((vec *)(target + p * target_step + o * FC_LANES), acc_##o##_##p);
#endif

#if defined(__clang__)
FC_INLINE vec FC_FN(permuted)(vec x, FC_FN(fc_mask) order) {
    vec result;
    for (ptrdiff_t i = 0; i < FC_LANES; i++) result[i] = x[order[i]];
    return result;
}
#endif

FC_INLINE void FC_FN(panel)(const int V, const int P, const int kind, const fc_panel *a, const real *x, const real *w,
                            real *sums, real *target) {
    const FC_FN(fc_mask) *orders = a->orders;
    const ptrdiff_t shift = a->x_shift, step = a->x_step, w_step = a->w_step;
    const real *bias = a->bias;
    /* A burst of prefetches would be waited for; between products of several vectors there is time for two. */
    const int foresees = a->ending & FC_FORESEES;
    const char *ahead = foresees ? a->ahead : (const void *)w;
    const ptrdiff_t ahead_step = foresees ? a->ahead_step : 0, second = ahead_step > FC_LINE_BYTES ? FC_LINE_BYTES : 0;
    FC_FN(fc_weight_rows) rows;
    int first = a->first;
    FC_EACH(FC_DECLARE)
    if (kind == FC_WEIGHT_ROWS)
        FC_FN(list_rows)(&rows, w, a->w_shift, a->channels);
    for (ptrdiff_t begin = 0;; begin += a->per_chunk) {
        const ptrdiff_t left = a->entry_count - begin, entries = left < a->per_chunk ? left : a->per_chunk;
        const int64_t *entry = a->entries + 2 * begin;
        FC_EACH(FC_CLEAR)
        for (ptrdiff_t e = 0; e < entries; e++, entry += 2) {
            const real *a_ = x + entry[0], *b_ = a_ + 3 * shift, *c_ = b_ + 3 * shift;
            const real *d_ = c_ + 3 * shift, *w_ = w + entry[1];
            if (kind == FC_ORDERED_TERMS) {
                FC_VECTORS
                for (ptrdiff_t t = 0; t < a->count; t++, w_ += w_step) {
                    const vec w_0 = *(const vec *)w_;
                    const FC_FN(fc_mask) order = orders[t];
                    FC_ROW_12(FC_ADD_TERM, 0)
                }
                continue;
            }
            if (kind == FC_WEIGHT_ROWS) {
                for (ptrdiff_t t = 0, count; t < a->count; t += count) {
                    count = a->count - t < FC_ROW_TERMS ? a->count - t : FC_ROW_TERMS;
                    FC_FN(take_terms)(&rows, entry[1] + t, count);
                    ptrdiff_t i = 0;
                    for (; i + FC_LANES <= count; i += FC_LANES) {
                        vec square[FC_LANES];
                        FC_FN(take_square)(&rows, i, square);
#pragma GCC unroll 16
                        for (int lane = 0; lane < FC_LANES; lane++) FC_ADD_WEIGHTS(square[lane])
                    }
                    if (i < count) {
                        vec square[FC_LANES];
                        FC_FN(take_square)(&rows, i, square);
                        for (int lane = 0; lane < count - i; lane++) FC_ADD_WEIGHTS(square[lane])
                    }
                }
                continue;
            }
            for (ptrdiff_t t = a->count; t > 0; t--) {
                FC_EACH_VECTOR(FC_LOAD)
                if (kind == FC_ORDERED_COLUMNS) {
                    const vec x_0 = *(const vec *)a_;
                    FC_ROW_12(FC_ADD_COLUMN, 0)
                } else {
                    if (V > 1) {
                        __builtin_prefetch(ahead, 0, 2);
                        __builtin_prefetch(ahead + second, 0, 2);
                    }
                    FC_COLUMNS(FC_BROADCAST)
                    ahead += ahead_step;
                }
                a_ += step, b_ += step, c_ += step, d_ += step, w_ += w_step;
            }
        }
        if (left <= a->per_chunk)
            break;
        if (first) {
            FC_EACH(FC_KEEP)
        } else {
            FC_EACH(FC_ADD)
        }
        first = 0;
    }
    if (!a->last) {
        if (first) {
            FC_EACH(FC_KEEP)
        } else {
            FC_EACH(FC_ADD)
        }
        return;
    }
    if (!first) {
        FC_EACH(FC_GATHER)
    }
    if (a->ending & FC_BIAS_LANES) {
        FC_EACH(FC_ADD_LANES)
    }
    if (a->ending & FC_BIAS_COLUMNS) {
        FC_EACH(FC_ADD_COLUMNS)
    }
    if (a->ending & FC_RELU) {
        FC_EACH(FC_RECTIFY)
    }
    if (a->ending & FC_RELU6) {
        FC_EACH(FC_CAP)
    }
    /* Read before anything is written that might be them. */
    const ptrdiff_t target_step = a->target_step, channels = a->channels;
    if (a->ending & FC_STREAMS) {
        FC_EACH(FC_STREAM_LANES)
        return;
    }
    const int whole = channels == V * FC_LANES;
    FC_EACH(FC_STORE)
}

typedef void (*FC_FN(panel_fn))(const fc_panel *, const real *x, const real *w, real *sums, real *target);

#undef FC_TILE
#undef FC_TILE_NAME
#define FC_TILE(V, P)                                                                                             \
    static __attribute__((noinline)) void FC_FN(panel_##V##x##P)(const fc_panel *a, const real *x, const real *w, \
                                                                 real *sums, real *target) {                      \
        FC_FN(panel)(V, P, FC_BROADCAST_VALUES, a, x, w, sums, target);                                           \
    }
#define FC_TILE_NAME(V, P) FC_FN(panel_##V##x##P)
FC_TILES
static const FC_FN(panel_fn) FC_FN(panels)[FC_MAX_VECTORS][FC_MOST_COLUMNS] = {FC_TILE_NAMES};
static const ptrdiff_t FC_FN(columns)[FC_MAX_VECTORS] = FC_TILE_COLUMNS;
