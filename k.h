#include "transpose.h"
/* buffered */
static void FC_FN(buffered)(const real *from, ptrdiff_t from_step, real *to, ptrdiff_t to_step, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t run) {
    vec buffer[FC_LANES][32];
    for (ptrdiff_t j = 0; j < columns; j += FC_LANES)
        for (ptrdiff_t i0 = 0; i0 < rows; i0 += run * FC_LANES) {
            const ptrdiff_t n = rows - i0 < run * FC_LANES ? (rows - i0) / FC_LANES : run;
            for (ptrdiff_t i = 0; i < n; i++) {
                vec square[FC_LANES];
#pragma GCC unroll 16
                for (int r = 0; r < FC_LANES; r++) square[r] = *(const vec *)(from + (i0 + i * FC_LANES + r) * from_step + j);
                FC_FN(transpose_square)(square);
#pragma GCC unroll 16
                for (int r = 0; r < FC_LANES; r++) buffer[r][i] = square[r];
            }
            for (int r = 0; r < FC_LANES; r++)
                for (ptrdiff_t i = 0; i < n; i++) FC_STREAM_STORE((vec *)(to + (j + r) * to_step + i0 + i * FC_LANES), buffer[r][i]);
        }
}
void FC_FN(run)(int kind, const real *from, real *to, ptrdiff_t pixels, ptrdiff_t plane, ptrdiff_t K, ptrdiff_t images) {
    for (ptrdiff_t n = 0; n < images; n++)
        for (ptrdiff_t p = 0; p < plane; p += pixels)
            for (ptrdiff_t k = 0; k < K; k += 64) {
                real *t = to + n * K * plane + k * plane + p;
                if (kind == 0) FC_FN(transpose)(from, 64, t, plane, pixels, 64);
                else if (kind == 1) FC_FN(transpose_streaming)(from, 64, t, plane, pixels, 64);
                else FC_FN(buffered)(from, 64, t, plane, pixels, 64, kind);
            }
    FC_STREAM_FENCE();
}
