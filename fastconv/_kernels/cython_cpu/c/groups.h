/* Groups of few channels: a vector has the channels of several. */

#ifndef FASTCONV_GROUPS_H
#define FASTCONV_GROUPS_H
/* Sums and pixels of a tile are registers, both. */
#if FC_MAX_VECTORS == 4
#define FC_GROUP_TILES FC_12(FC_TILE, 1)
#define FC_GROUP_TILE_NAMES FC_12(FC_LISTED, 1)
#define FC_GROUP_COLUMNS 12
#define FC_GROUP_WEIGHT_TILES FC_8(FC_TILE, 1)
#define FC_GROUP_WEIGHT_TILE_NAMES FC_8(FC_LISTED, 1)
#else
#define FC_GROUP_TILES FC_6(FC_TILE, 1)
#define FC_GROUP_TILE_NAMES FC_6(FC_LISTED, 1)
#define FC_GROUP_COLUMNS 6
#define FC_GROUP_WEIGHT_TILES FC_4(FC_TILE, 1)
#define FC_GROUP_WEIGHT_TILE_NAMES FC_4(FC_LISTED, 1)
#endif
#define FC_GROUP_WEIGHT_COLUMNS (FC_MAX_VECTORS == 4 ? 8 : 4)
#endif

#undef FC_TILE
#undef FC_TILE_NAME
#define FC_TILE(V, P)                                                                                              \
    static __attribute__((noinline)) void FC_FN(groups_##V##x##P)(const fc_panel *a, const real *x, const real *w, \
                                                                  real *sums, real *target) {                      \
        FC_FN(panel)(V, P, FC_ORDERED_TERMS, a, x, w, sums, target);                                               \
    }
#define FC_TILE_NAME(V, P) FC_FN(groups_##V##x##P)
FC_GROUP_TILES
static const FC_FN(panel_fn) FC_FN(group_tiles)[1][FC_MOST_COLUMNS] = {{FC_GROUP_TILE_NAMES}};
static const ptrdiff_t FC_FN(group_columns)[1] = {FC_GROUP_COLUMNS};

/* The same for grad_weight: a column of a tile is an input channel of every group, of which there are at most half as
 * many as lanes. */
#undef FC_TILE
#undef FC_TILE_NAME
#define FC_TILE(V, P)                                                                                             \
    static __attribute__((noinline)) void FC_FN(group_weights_##V##x##P)(const fc_panel *a, const real *x,        \
                                                                         const real *w, real *sums, real *target) { \
        FC_FN(panel)(V, P, FC_ORDERED_COLUMNS, a, x, w, sums, target);                                            \
    }
#define FC_TILE_NAME(V, P) FC_FN(group_weights_##V##x##P)
FC_GROUP_WEIGHT_TILES
static const FC_FN(panel_fn) FC_FN(group_weight_tiles)[1][FC_MOST_COLUMNS] = {{FC_GROUP_WEIGHT_TILE_NAMES}};
static const ptrdiff_t FC_FN(group_weight_columns)[1] = {FC_GROUP_WEIGHT_COLUMNS};

/* orders[c][lane] = the lane of a source vector that has channel c of the target lane's group; `before` lanes of it
 * belong to channels before these groups'. */
static void FC_FN(list_orders)(FC_FN(fc_mask) *orders, ptrdiff_t channels, ptrdiff_t targets, ptrdiff_t before) {
    for (ptrdiff_t c = 0; c < channels; c++)
        for (ptrdiff_t lane = 0; lane < FC_LANES; lane++) {
            const ptrdiff_t from = before + lane / targets * channels + c;
            orders[c][lane] = (FC_INTEGER)(from < FC_LANES ? from : 0);
        }
}

/* Groups of channels that begin at `first`: a vector that begins there might end behind the last pixel's channels. */
FC_INLINE ptrdiff_t FC_FN(vector_start)(ptrdiff_t first, ptrdiff_t all) {
    return first + FC_LANES <= all ? first : all - FC_LANES;
}
