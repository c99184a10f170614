/* Transposition by squares of FC_LANES x FC_LANES in registers. */
#include "stream.h"
#include "vector.h"

#ifndef FASTCONV_TRANSPOSE_H
#define FASTCONV_TRANSPOSE_H
/* Elements from what is read or written to what is asked for: no processor foresees so many rows at once. */
#define FC_AHEAD (4 * FC_LINE)
/* Fewer rows than these are moved element by element in less time than a square takes. */
enum { FC_FEW_ROWS = 4 };
#endif

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

/* Pieces of 16 bytes, inside which processors shuffle without being told the order by a register: their elements
 * interleaved, the lower and the upper ones; the even and the odd pieces. */
#define FC_PIECE ((int)(16 / sizeof(real)))
#define FC_PIECE_COUNT ((int)(FC_LANES / FC_PIECE))
#undef FC_INNER_LOW
#undef FC_INNER_HIGH
#undef FC_EVEN_PIECES
#undef FC_ODD_PIECES
#if FC_REAL_BYTES == 4 && FC_VECTOR_BYTES == 64
#define FC_INNER_LOW(a, b) FC_SHUFFLE(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define FC_INNER_HIGH(a, b) FC_SHUFFLE(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define FC_EVEN_PIECES(a, b) FC_SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define FC_ODD_PIECES(a, b) FC_SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
#elif FC_REAL_BYTES == 4 && FC_VECTOR_BYTES == 32
#define FC_INNER_LOW(a, b) FC_SHUFFLE(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define FC_INNER_HIGH(a, b) FC_SHUFFLE(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define FC_EVEN_PIECES(a, b) FC_SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define FC_ODD_PIECES(a, b) FC_SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#elif FC_VECTOR_BYTES == 64
#define FC_INNER_LOW(a, b) FC_SHUFFLE(a, b, 0, 8, 2, 10, 4, 12, 6, 14)
#define FC_INNER_HIGH(a, b) FC_SHUFFLE(a, b, 1, 9, 3, 11, 5, 13, 7, 15)
#define FC_EVEN_PIECES(a, b) FC_SHUFFLE(a, b, 0, 1, 4, 5, 8, 9, 12, 13)
#define FC_ODD_PIECES(a, b) FC_SHUFFLE(a, b, 2, 3, 6, 7, 10, 11, 14, 15)
#elif FC_VECTOR_BYTES == 32
#define FC_INNER_LOW(a, b) FC_SHUFFLE(a, b, 0, 4, 2, 6)
#define FC_INNER_HIGH(a, b) FC_SHUFFLE(a, b, 1, 5, 3, 7)
#define FC_EVEN_PIECES(a, b) FC_SHUFFLE(a, b, 0, 1, 4, 5)
#define FC_ODD_PIECES(a, b) FC_SHUFFLE(a, b, 2, 3, 6, 7)
#else
#define FC_INNER_LOW(a, b) FC_LOW(a, b)
#define FC_INNER_HIGH(a, b) FC_HIGH(a, b)
#define FC_EVEN_PIECES(a, b) (a)
#define FC_ODD_PIECES(a, b) (b)
#endif

/* Squares of a piece by interleaving the halves of their rows until element (i, j) is at (j, i); then the square of
 * pieces, by parting the even from the odd ones as many times. */
FC_INLINE void FC_FN(transpose_square)(vec *rows) {
    vec other[FC_LANES];
#pragma GCC unroll 4
    for (int stage = 1; stage < FC_PIECE; stage *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < FC_LANES / 2; i++) {
            const int first = i / (FC_PIECE / 2) * FC_PIECE, row = i % (FC_PIECE / 2);
            const vec upper = rows[first + row], lower = rows[first + row + FC_PIECE / 2];
            other[first + 2 * row] = FC_INNER_LOW(upper, lower);
            other[first + 2 * row + 1] = FC_INNER_HIGH(upper, lower);
        }
#pragma GCC unroll 16
        for (int i = 0; i < FC_LANES; i++) rows[i] = other[i];
    }
#pragma GCC unroll 4
    for (int stage = 1; stage < FC_PIECE_COUNT; stage *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < FC_LANES / 2; i++) {
            const int first = i / FC_PIECE * 2 * FC_PIECE + i % FC_PIECE;
            other[i] = FC_EVEN_PIECES(rows[first], rows[first + FC_PIECE]);
            other[i + FC_LANES / 2] = FC_ODD_PIECES(rows[first], rows[first + FC_PIECE]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < FC_LANES; i++) rows[i] = other[i];
    }
}

/* Where row i of a matrix begins: at rows[i], or, without a table, at i * step. */
FC_INLINE ptrdiff_t FC_FN(row)(const int64_t *rows, ptrdiff_t step, ptrdiff_t i) {
    return rows != NULL ? rows[i] : i * step;
}

/* A square of which the first `columns` columns are wanted; `foresees`: it is one of many along its rows. */
FC_INLINE void FC_FN(transpose_part)(const real *from, const int64_t *from_rows, ptrdiff_t from_step, real *to,
                                     const int64_t *to_rows, ptrdiff_t to_step, ptrdiff_t i, ptrdiff_t j,
                                     ptrdiff_t columns, int foresees) {
    vec square[FC_LANES];
#pragma GCC unroll 16
    for (int r = 0; r < FC_LANES; r++) {
        const real *row = from + FC_FN(row)(from_rows, from_step, i + r) + j;
        square[r] = *(const vec *)row;
        if (foresees)
            __builtin_prefetch(row + FC_AHEAD, 0, 2);
    }
    FC_FN(transpose_square)(square);
#pragma GCC unroll 16
    for (int r = 0; r < FC_LANES; r++)
        if (r < columns) {
            real *row = to + FC_FN(row)(to_rows, to_step, j + r) + i;
            *(vec *)row = square[r];
            if (foresees)
                __builtin_prefetch(row + FC_AHEAD, 1, 2);
        }
}

/* Three rows whose elements come together, as those of images do: written by fours, of which the next ones replace the
 * last element; so the last pixel of all is none of a vector. */
static inline void FC_FN(transpose_three)(const real *from, ptrdiff_t step, real *to, ptrdiff_t columns) {
    ptrdiff_t j = 0;
    for (; j + FC_LANES < columns; j += FC_LANES) {
        const real *at = from + j;
        const vec a = *(const vec *)at, b = *(const vec *)(at + step), c = *(const vec *)(at + 2 * step);
        const vec outer[2] = {FC_LOW(a, c), FC_HIGH(a, c)}, inner[2] = {FC_LOW(b, b), FC_HIGH(b, b)};
        vec fours[4];
        for (int half = 0; half < 2; half++) {
            fours[2 * half] = FC_LOW(outer[half], inner[half]);
            fours[2 * half + 1] = FC_HIGH(outer[half], inner[half]);
        }
        for (int pixel = 0; pixel < FC_LANES; pixel++)
            memcpy(to + 3 * (j + pixel), (const real *)fours + 4 * pixel, 4 * sizeof(real));
    }
    for (; j < columns; j++)
        for (int row = 0; row < 3; row++) to[3 * j + row] = from[row * step + j];
}

/* Row j of `to` [i] = row i of `from` [j] for i < rows, j < columns; elements j < readable of every row of `from` may be
 * read, so that a square that juts out need not be taken apart. */
FC_INLINE void FC_FN(transpose_any)(const real *from, const int64_t *from_rows, ptrdiff_t from_step, real *to,
                                    const int64_t *to_rows, ptrdiff_t to_step, ptrdiff_t rows, ptrdiff_t columns,
                                    ptrdiff_t readable) {
    if (rows == 3 && to_step == 3 && from_rows == NULL && to_rows == NULL) {
        FC_FN(transpose_three)(from, from_step, to, columns);
        return;
    }
    for (ptrdiff_t begin = 0; begin < columns; begin += FC_LANES) {
        /* What is left is done with its neighbours, of columns and of rows. */
        const ptrdiff_t j0 = begin + FC_LANES > readable && columns >= FC_LANES ? columns - FC_LANES : begin;
        const ptrdiff_t left = columns - j0, last = left < FC_LANES ? columns : j0 + FC_LANES;
        ptrdiff_t i = 0;
        const ptrdiff_t least = FC_LANES < FC_FEW_ROWS ? FC_LANES : FC_FEW_ROWS;
        for (; rows >= FC_LANES && rows - i >= least && j0 + FC_LANES <= readable; i += FC_LANES) {
            const ptrdiff_t at = i + FC_LANES <= rows ? i : rows - FC_LANES;
            if (left < FC_LANES)
                FC_FN(transpose_part)(from, from_rows, from_step, to, to_rows, to_step, at, j0, left, 0);
            else
                FC_FN(transpose_part)(from, from_rows, from_step, to, to_rows, to_step, at, j0, FC_LANES, 1);
        }
        for (ptrdiff_t j = j0; j < last; j++)
            for (ptrdiff_t part = i; part < rows; part++)
                to[FC_FN(row)(to_rows, to_step, j) + part] = from[FC_FN(row)(from_rows, from_step, part) + j];
    }
}

/* to[j * to_step + i] = from[i * from_step + j] for i < rows, j < columns. */
static inline void FC_FN(transpose)(const real *from, ptrdiff_t from_step, real *to, ptrdiff_t to_step, ptrdiff_t rows,
                             ptrdiff_t columns) {
    FC_FN(transpose_any)(from, NULL, from_step, to, NULL, to_step, rows, columns, columns);
}

/* The same past the caches, in whole squares of aligned places: one channel's pixels after the other. */
static inline void FC_FN(transpose_streaming)(const real *from, ptrdiff_t from_step, real *to, ptrdiff_t to_step,
                                       ptrdiff_t rows, ptrdiff_t columns) {
    for (ptrdiff_t j = 0; j < columns; j += FC_LANES)
        for (ptrdiff_t i = 0; i < rows; i += FC_LANES) {
            vec square[FC_LANES];
#pragma GCC unroll 16
            for (int r = 0; r < FC_LANES; r++) square[r] = *(const vec *)(from + (i + r) * from_step + j);
            FC_FN(transpose_square)(square);
#pragma GCC unroll 16
            for (int r = 0; r < FC_LANES; r++) FC_STREAM_STORE((vec *)(to + (j + r) * to_step + i), square[r]);
        }
}
