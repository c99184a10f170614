/* Where the pixels of a run of tiles are: in the images, or side by side in a strip. */
#include "winograd_tile_args.h"

#ifndef FASTCONV_WINOGRAD_PIXELS_H
#define FASTCONV_WINOGRAD_PIXELS_H
/* Where a tile lies: its image, its first pixel. */
typedef struct {
    ptrdiff_t n, row, col;
} fc_place;

static inline fc_place fc_tile_place(const fc_tiled *a, ptrdiff_t tile) {
    const ptrdiff_t image = a->tile_rows * a->tile_cols, in_image = tile % image;
    return (fc_place){tile / image, in_image / a->tile_cols * a->size, in_image % a->tile_cols * a->size};
}

/* What of `count` positions from `first` on lies in an axis. */
typedef struct {
    ptrdiff_t first, count;
} fc_span;

static inline fc_span fc_clipped(ptrdiff_t first, ptrdiff_t count, ptrdiff_t size) {
    const ptrdiff_t begin = first > 0 ? first : 0, end = first + count < size ? first + count : size;
    return (fc_span){begin, end > begin ? end - begin : 0};
}

/* How many of some tiles are handled in one go: where planes become a strip of pixels, those of one row. */
static inline ptrdiff_t fc_run(const fc_tiled *a, fc_strides s, ptrdiff_t tile, ptrdiff_t tiles) {
    const ptrdiff_t in_row = a->tile_cols - tile % a->tile_cols;
    return s.c == 1 || tiles < in_row ? tiles : in_row;
}
#endif

/* Pixels whose channels lie together: pixel (i, j) of image n begins at origin + n * n_step + i * h + j * w. */
typedef struct {
    real *origin;
    ptrdiff_t n_step, h, w;
} FC_FN(fc_winograd_pixels);

/* A run of tiles whose pixels, those from row and col on, are in the strip. */
static FC_FN(fc_winograd_pixels) FC_FN(strip_pixels)(real *strip, fc_span rows, fc_span cols, ptrdiff_t channels) {
    const ptrdiff_t h = cols.count * channels;
    return (FC_FN(fc_winograd_pixels)){strip - rows.first * h - cols.first * channels, 0, h, channels};
}

