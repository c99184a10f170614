#define _GNU_SOURCE
#include "blocks.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#if defined(_WIN32)
#include <malloc.h>
#elif defined(__linux__)
#include <sys/mman.h>
#endif

enum { LINE = 64, STEPS = 8, CLASSES = 64 * STEPS };
static const size_t HUGE_PAGE = (size_t)1 << 21;

/* A kept block holds its list in itself. */
typedef struct kept {
    struct kept *next;
} kept;

static kept *lists[CLASSES];
static size_t kept_bytes, limit_bytes;
static atomic_flag busy = ATOMIC_FLAG_INIT;

/* A sanitizer should see every block, as large as it was asked for. */
#if defined(__SANITIZE_ADDRESS__)
enum { KEEPS = 0 };
#else
enum { KEEPS = 1 };
#endif

/* Whoever meets another thread in here does without: nobody ever waits, not even after a fork in mid-air. */
static int enter(void) { return KEEPS && !atomic_flag_test_and_set_explicit(&busy, memory_order_acquire); }
static void leave(void) { atomic_flag_clear_explicit(&busy, memory_order_release); }

/* The highest bit of size that is set. */
static int octave(size_t size) {
    int bit = 0;
    while (size >>= 1) bit++;
    return bit;
}

size_t fc_block_size(size_t bytes) {
    const size_t least = KEEPS ? STEPS * LINE : 1;
    if (bytes <= least)
        return least;
    if (!KEEPS)
        return bytes;
    if (bytes > SIZE_MAX / 2)
        return 0;
    const size_t step = ((size_t)1 << octave(bytes)) / STEPS;
    return (bytes + step - 1) / step * step;
}

static kept **list_of(size_t size) {
    const int bit = octave(size);
    return &lists[bit * STEPS + (size >> (bit - 3)) % STEPS];
}

static void *allocate(size_t size) {
    const size_t alignment = size >= HUGE_PAGE ? HUGE_PAGE : LINE;
#if defined(_WIN32)
    return _aligned_malloc(size, alignment);
#else
    void *block;
    if (posix_memalign(&block, alignment, size) != 0)
        return NULL;
#if defined(__linux__)
    if (size >= HUGE_PAGE)
        madvise(block, size, MADV_HUGEPAGE);
#endif
    return block;
#endif
}

static void release(void *block) {
#if defined(_WIN32)
    _aligned_free(block);
#else
    free(block);
#endif
}

void *fc_block_take(size_t size) {
    kept *block = NULL;
    if (enter()) {
        kept **list = list_of(size);
        block = *list;
        if (block != NULL) {
            *list = block->next;
            kept_bytes -= size;
        }
        leave();
    }
    if (block == NULL)
        block = allocate(size);
    if (block == NULL) {
        fc_blocks_shrink(0);
        block = allocate(size);
    }
    return block;
}

void fc_block_give(void *block, size_t size) {
    int keeps = 0;
    if (enter()) {
        keeps = size <= limit_bytes && kept_bytes <= limit_bytes - size;
        if (keeps) {
            kept **list = list_of(size);
            ((kept *)block)->next = *list;
            *list = block;
            kept_bytes += size;
        }
        leave();
    }
    if (!keeps)
        release(block);
}

size_t fc_blocks_kept(void) { return kept_bytes; }

size_t fc_blocks_limit(void) { return limit_bytes; }

void fc_blocks_set_limit(size_t limit) {
    limit_bytes = limit;
    fc_blocks_shrink(limit);
}

/* The largest block that is kept, taken out. */
static kept *take_largest(size_t most) {
    for (int i = CLASSES - 1; kept_bytes > most && i >= 0; i--)
        if (lists[i] != NULL) {
            kept *block = lists[i];
            lists[i] = block->next;
            kept_bytes -= ((size_t)1 << (i / STEPS)) / STEPS * (STEPS + i % STEPS);
            return block;
        }
    return NULL;
}

void fc_blocks_shrink(size_t most) {
    kept *block;
    do {
        if (!enter())
            return;
        block = take_largest(most);
        leave();
        if (block != NULL)
            release(block);
    } while (block != NULL);
}
