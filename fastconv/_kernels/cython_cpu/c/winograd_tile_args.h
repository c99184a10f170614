/* What the kernels of Winograd's minimal filtering are told of images that are cut into tiles. */
#ifndef FASTCONV_WINOGRAD_TILE_ARGS_H
#define FASTCONV_WINOGRAD_TILE_ARGS_H

#include "axis.h"

typedef struct {
    fc_strides strides;
    ptrdiff_t rows, cols, pad_rows, pad_cols; /* pixels of an image, and of the padding before it */
    ptrdiff_t tile_rows, tile_cols, size;     /* tiles of an image; pixels from each to the next one */
} fc_tiled;

#endif
