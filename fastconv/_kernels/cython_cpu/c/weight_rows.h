/* Weights that are not packed, as a vector's lanes read them: each lane has a row, and squares of rows are transposed
 * in registers. */
#include "transpose.h"
#include "vector.h"

#ifndef FASTCONV_WEIGHT_ROWS_H
#define FASTCONV_WEIGHT_ROWS_H
/* Terms of a row that are copied at once; copies lie a vector further apart, to share no sets of the first cache. */
enum { FC_ROW_TERMS = 160 };
#endif

/* Where the lanes' rows begin, and their terms that are read now; `next` is what follows the rows, and `ahead` as far
 * behind it as these terms, of all lanes together, are behind the first. */
typedef struct {
    const real *starts[FC_LANES], *terms[FC_LANES], *next, *ahead;
    real copies[FC_LANES * (FC_ROW_TERMS + FC_LANES)] __attribute__((aligned(FC_VECTOR_BYTES)));
} FC_FN(fc_weight_rows);

/* The last output channel stands in for those that are not there. */
FC_INLINE void FC_FN(list_rows)(FC_FN(fc_weight_rows) *rows, const real *w, ptrdiff_t shift, ptrdiff_t channels) {
    for (ptrdiff_t lane = 0; lane < FC_LANES; lane++)
        rows->starts[lane] = w + (lane < channels ? lane : channels - 1) * shift;
    rows->next = w + FC_LANES * shift;
}

/* Some terms of all lanes, in whole vectors: as they are where no vector crosses a cache line, else copied, since a
 * line would be gone from the first cache before the next vector reads the rest of it. */
static inline void FC_FN(take_terms)(FC_FN(fc_weight_rows) *rows, ptrdiff_t t, ptrdiff_t count) {
    int aligned = count % FC_LANES == 0;
    rows->ahead = rows->next + t * FC_LANES;
    for (int lane = 0; lane < FC_LANES; lane++) {
        rows->terms[lane] = rows->starts[lane] + t;
        aligned = aligned && (uintptr_t)rows->terms[lane] % FC_VECTOR_BYTES == 0;
    }
    for (int lane = 0; lane < FC_LANES && !aligned; lane++) {
        real *copy = rows->copies + lane * (FC_ROW_TERMS + FC_LANES);
        const ptrdiff_t whole = count / FC_LANES * FC_LANES;
        for (ptrdiff_t i = 0; i < whole; i += FC_LANES) *(vec *)(copy + i) = *(const vec *)(rows->terms[lane] + i);
        memset(copy + whole, 0, FC_VECTOR_BYTES);
        memcpy(copy + whole, rows->terms[lane] + whole, (size_t)(count - whole) * sizeof(real));
        rows->terms[lane] = copy;
    }
}

/* A square of weights, transposed. As much is asked for of what follows the rows, one line after the other: no
 * processor foresees so many rows at once. */
FC_INLINE void FC_FN(take_square)(const FC_FN(fc_weight_rows) *rows, ptrdiff_t i, vec *square) {
#pragma GCC unroll 16
    for (int lane = 0; lane < FC_LANES; lane++) square[lane] = *(const vec *)(rows->terms[lane] + i);
#pragma GCC unroll 16
    for (ptrdiff_t j = 0; j < FC_LANES * FC_LANES; j += FC_LINE)
        __builtin_prefetch(rows->ahead + i * FC_LANES + j, 0, 2);
    FC_FN(transpose_square)(square);
}
