/* Blocks of memory that are kept when they are given back, so that the next output need not fault in fresh pages.
 *
 * Sizes are rounded up to eight classes per power of two. Blocks begin at cache lines, large ones at huge pages. */
#ifndef FASTCONV_BLOCKS_H
#define FASTCONV_BLOCKS_H

#include <stddef.h>

/* The size of the block that holds so many bytes; 0 where there is none. */
size_t fc_block_size(size_t bytes);

/* A block of a size that fc_block_size gave; NULL without memory. */
void *fc_block_take(size_t size);

/* Keeps the block where the limit allows it. */
void fc_block_give(void *block, size_t size);

/* The bytes that are kept; how many may be. */
size_t fc_blocks_kept(void);
size_t fc_blocks_limit(void);
void fc_blocks_set_limit(size_t limit);

/* Frees blocks until at most so many bytes are kept. */
void fc_blocks_shrink(size_t most);

#endif
