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

/* A sanitizer should see every block, as large as it was asked for. */
#if defined(__SANITIZE_ADDRESS__)
enum { KEEPS = 0 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { KEEPS = 0 };
#else
enum { KEEPS = 1 };
#endif
#else
enum { KEEPS = 1 };
#endif

enum { LINE = 64, STEPS = 8, CLASSES = 64 * STEPS, TRIES = 1 << 20 };
static const size_t HUGE_PAGE = (size_t)1 << 21;

/* A kept block holds its list in itself. */
typedef struct kept {
    struct kept *next;
    size_t size;
} kept;

static kept *lists[CLASSES];
static _Atomic size_t kept_bytes, limit_bytes;
static atomic_flag busy = ATOMIC_FLAG_INIT;

/* Takers and givers who meet another thread in here do without: they never wait, not even after a fork in mid-air. */
static int enter(void) { return KEEPS && !atomic_flag_test_and_set_explicit(&busy, memory_order_acquire); }
static void leave(void) { atomic_flag_clear_explicit(&busy, memory_order_release); }

/* Who wants less to be kept waits for the few instructions that others are in here, though not for ever. */
static int enter_soon(void) {
    for (int i = 0; i < TRIES; i++)
        if (enter())
            return 1;
    return 0;
}

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

static void release_all(kept *block) {
    while (block != NULL) {
        kept *next = block->next;
        release(block);
        block = next;
    }
}

/* Takes out the largest blocks until at most so many bytes are kept: returns them as a list. */
static kept *take_out(size_t most) {
    kept *out = NULL;
    for (int i = CLASSES - 1; kept_bytes > most && i >= 0; i--)
        while (kept_bytes > most && lists[i] != NULL) {
            kept *block = lists[i];
            lists[i] = block->next;
            kept_bytes -= block->size;
            block->next = out;
            out = block;
        }
    return out;
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
    kept *out = NULL;
    int keeps = 0;
    if (enter()) {
        keeps = size <= limit_bytes;
        if (keeps) {
            /* The newest sizes are the likeliest to be wanted again. */
            out = take_out(limit_bytes - size);
            kept **list = list_of(size);
            *(kept *)block = (kept){*list, size};
            *list = block;
            kept_bytes += size;
        }
        leave();
    }
    if (!keeps)
        release(block);
    release_all(out);
}

size_t fc_blocks_kept(void) { return kept_bytes; }

size_t fc_blocks_limit(void) { return limit_bytes; }

void fc_blocks_set_limit(size_t limit) {
    limit_bytes = limit;
    fc_blocks_shrink(limit);
}

void fc_blocks_shrink(size_t most) {
    if (!enter_soon())
        return;
    kept *out = take_out(most);
    leave();
    release_all(out);
}
