/* A block of rows of a plane, copied into a padded buffer so that every tap of every column is one distance away. */

#include "copy_rows.h"
#include "depthwise_pairs.h"

/* Every phase of a row goes to its part of the buffer. */
static void FC_FN(split_row)(const fc_padded *padded, const real *from, ptrdiff_t stride, real *to) {
    ptrdiff_t phase = padded->bulk_phase, index = padded->bulk_index;
    for (ptrdiff_t i = 0; i < padded->bulk_count; i++) {
        to[phase * padded->width + index] = from[i * stride];
        if (++phase == padded->cols.step) {
            phase = 0;
            index++;
        }
    }
}

/* Neighbouring rows of a plane to neighbouring rows of the buffer, whose zeros are there since it was made. */
static void FC_FN(copy_rows)(const fc_padded *padded, const real *plane, const fc_strides *strides, ptrdiff_t row,
                             ptrdiff_t count, real *to) {
    const ptrdiff_t step = padded->cols.step, bulk = padded->bulk_count, pitch = padded->pitch;
    const ptrdiff_t size = (ptrdiff_t)sizeof(real);
    const real *from = plane + row * strides->h + padded->bulk_source * strides->w;
    if (strides->w == 1 && step == 1 && bulk > 0) {
        fc_copy_rows(to + padded->bulk_index, pitch * size, from, strides->h * size, bulk * size, count);
    } else if (strides->w == 1 && step == 2) {
        real *even = to + padded->bulk_phase * padded->width + padded->bulk_index;
        real *odd = to + (padded->bulk_phase == 0 ? padded->width + padded->bulk_index : padded->bulk_index + 1);
        FC_FN(split_rows)(from, strides->h, bulk, even, odd, pitch, count);
    } else {
        for (ptrdiff_t i = 0; i < count; i++)
            FC_FN(split_row)(padded, from + i * strides->h, strides->w, to + i * pitch);
    }
    for (ptrdiff_t i = 0; i < count * padded->extra_count; i++) {
        const int64_t *extra = padded->extras + 2 * (i % padded->extra_count);
        const ptrdiff_t line = i / padded->extra_count;
        to[line * pitch + extra[0]] = plane[(row + line) * strides->h + extra[1] * strides->w];
    }
}

/* The rows of the buffer for steps first .. first + count - 1 of the target rows. */
static void FC_FN(pad_rows)(const fc_padded *padded, const real *plane, const fc_strides *strides, ptrdiff_t first,
                            ptrdiff_t count, real *buffer) {
    const ptrdiff_t top = first * padded->rows.step, pitch = padded->pitch;
    const ptrdiff_t wanted = top + (count - padded->block) * padded->rows.step + padded->height;
    const ptrdiff_t bottom = wanted < padded->rows.size ? wanted : padded->rows.size;
    const ptrdiff_t begin = top > padded->bulk_top ? top : padded->bulk_top;
    const ptrdiff_t end = bottom < padded->bulk_bottom ? bottom : padded->bulk_bottom;
    for (ptrdiff_t place = top; place < bottom; place++) {
        const ptrdiff_t row = padded->rows.sources[place];
        real *to = buffer + (place - top) * pitch;
        if (place == begin && begin < end) {
            FC_FN(copy_rows)(padded, plane, strides, row, end - begin, to);
            place = end - 1;
        } else if (row >= 0) {
            FC_FN(copy_rows)(padded, plane, strides, row, 1, to);
        } else if (padded->blocks > 1) { /* otherwise this row has never been anything else */
            memset(to, 0, (size_t)pitch * sizeof(real));
        }
    }
}

/* The steps of one block. */
static inline ptrdiff_t FC_FN(block_steps)(const fc_padded *padded, ptrdiff_t first) {
    const ptrdiff_t left = padded->rows.counts[0] - first;
    return left < padded->block ? left : padded->block;
}

/* What the next block reads and writes: row i of these two arrays begins after i sizes. Nothing where sizes are 0. */
typedef struct {
    const real *first[2];
    ptrdiff_t sizes[2];
} FC_FN(ahead);

/* Asks for the places of some rows, while the same rows of this block are summed. */
static inline void FC_FN(prefetch_ahead)(const FC_FN(ahead) *ahead, ptrdiff_t row, ptrdiff_t rows) {
    for (int array = 0; array < 2; array++)
        for (ptrdiff_t i = row * ahead->sizes[array]; i < (row + rows) * ahead->sizes[array]; i += FC_LINE)
            __builtin_prefetch(ahead->first[array] + i, 0, 2);
}
