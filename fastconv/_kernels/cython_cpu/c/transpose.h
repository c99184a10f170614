/* Transposition by squares of FC_LANES x FC_LANES in registers. */
#include "vector.h"

#ifndef FASTCONV_TRANSPOSE_H
#define FASTCONV_TRANSPOSE_H
/* How many times two halves are interleaved until a square is transposed: log2 of its lanes. */
#define FC_STAGES (FC_LANES == 16 ? 4 : FC_LANES == 8 ? 3 : FC_LANES == 4 ? 2 : 1)
#if defined(__clang__)
#define FC_SHUFFLE __builtin_shufflevector
#else
#define FC_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (FC_FN(fc_mask)){__VA_ARGS__})
#endif
#endif

typedef FC_INTEGER FC_FN(fc_mask) __attribute__((vector_size(FC_VECTOR_BYTES)));

#undef FC_LOW
#undef FC_HIGH
#if FC_VECTOR_BYTES / FC_REAL_BYTES == 16
#define FC_LOW(a, b) FC_SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define FC_HIGH(a, b) FC_SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif FC_VECTOR_BYTES / FC_REAL_BYTES == 8
#define FC_LOW(a, b) FC_SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define FC_HIGH(a, b) FC_SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif FC_VECTOR_BYTES / FC_REAL_BYTES == 4
#define FC_LOW(a, b) FC_SHUFFLE(a, b, 0, 4, 1, 5)
#define FC_HIGH(a, b) FC_SHUFFLE(a, b, 2, 6, 3, 7)
#else
#define FC_LOW(a, b) FC_SHUFFLE(a, b, 0, 2)
#define FC_HIGH(a, b) FC_SHUFFLE(a, b, 1, 3)
#endif

/* Interleaving the halves of the rows log2(lanes) times moves element (i, j) to (j, i). */
FC_INLINE void FC_FN(transpose_square)(vec *rows) {
    vec other[FC_LANES];
#pragma GCC unroll 4
    for (int stage = 0; stage < FC_STAGES; stage++) {
#pragma GCC unroll 8
        for (int i = 0; i < FC_LANES / 2; i++) {
            other[2 * i] = FC_LOW(rows[i], rows[i + FC_LANES / 2]);
            other[2 * i + 1] = FC_HIGH(rows[i], rows[i + FC_LANES / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < FC_LANES; i++) rows[i] = other[i];
    }
}

/* A square that is not full, or whose rows lie apart: only valid elements are read and written. */
static void FC_FN(transpose_part)(const real *from, ptrdiff_t from_step, real *to, ptrdiff_t to_step, ptrdiff_t rows,
                                  ptrdiff_t columns) {
    for (ptrdiff_t j = 0; j < columns; j++)
        for (ptrdiff_t i = 0; i < rows; i++) to[j * to_step + i] = from[i * from_step + j];
}

/* to[j * to_step + i] = from[i * from_step + j] for i < rows, j < columns. */
static void FC_FN(transpose)(const real *from, ptrdiff_t from_step, real *to, ptrdiff_t to_step, ptrdiff_t rows,
                             ptrdiff_t columns) {
    const ptrdiff_t whole_columns = columns - columns % FC_LANES, whole_rows = rows - rows % FC_LANES;
    for (ptrdiff_t j = 0; j < whole_columns; j += FC_LANES)
        for (ptrdiff_t i = 0; i < whole_rows; i += FC_LANES) {
            vec square[FC_LANES];
#pragma GCC unroll 16
            for (int r = 0; r < FC_LANES; r++) square[r] = *(const vec *)(from + (i + r) * from_step + j);
            FC_FN(transpose_square)(square);
#pragma GCC unroll 16
            for (int r = 0; r < FC_LANES; r++) *(vec *)(to + (j + r) * to_step + i) = square[r];
        }
    if (whole_columns < columns)
        FC_FN(transpose_part)
        (from + whole_columns, from_step, to + whole_columns * to_step, to_step, rows, columns - whole_columns);
    if (whole_rows < rows)
        FC_FN(transpose_part)
        (from + whole_rows * from_step, from_step, to + whole_rows, to_step, rows - whole_rows, whole_columns);
}
