/* The microkernel for few pixels of a pointwise forward pass: weights are read where they are, squares of a vector of
 * output channels x as many input channels, and transposed in registers. Each is used so few times that packing it
 * would cost more than that. The terms are added in the order of a panel, so that a result has the same bits however
 * many pixels there are. */

#ifndef FASTCONV_ROWS_H
#define FASTCONV_ROWS_H
#if FC_MAX_VECTORS == 4
#define FC_ROW_TILES FC_12(FC_TILE, 1)
#define FC_ROW_TILE_NAMES FC_12(FC_LISTED, 1)
#define FC_ROW_COLUMNS 12
#else
#define FC_ROW_TILES FC_6(FC_TILE, 1)
#define FC_ROW_TILE_NAMES FC_6(FC_LISTED, 1)
#define FC_ROW_COLUMNS 6
#endif
#endif

#undef FC_TILE
#undef FC_TILE_NAME
#define FC_TILE(V, P)                                                                                            \
    static __attribute__((noinline)) void FC_FN(rows_##V##x##P)(const fc_panel *a, const real *x, const real *w, \
                                                                real *sums, real *target) {                      \
        FC_FN(panel)(V, P, FC_WEIGHT_ROWS, a, x, w, sums, target);                                               \
    }
#define FC_TILE_NAME(V, P) FC_FN(rows_##V##x##P)
FC_ROW_TILES
static const FC_FN(panel_fn) FC_FN(row_tiles)[1][FC_MOST_COLUMNS] = {{FC_ROW_TILE_NAMES}};
static const ptrdiff_t FC_FN(row_columns)[1] = {FC_ROW_COLUMNS};
