/* The thread pool of the process: a work range [0, n) shared out among the calling thread and sleeping workers. */
#ifndef FASTCONV_PARALLEL_H
#define FASTCONV_PARALLEL_H

#include <stddef.h>

/* No region ever runs on more threads than this, so no slot is ever as large. */
#define FC_MAX_THREADS 256

/* Does the items lo <= i < hi. Slots of calls that run at the same time in one region differ. */
typedef void (*fc_range_fn)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot);

/* Call once before anything else (again does no harm): makes a forked child start with fresh workers. */
void fc_pool_init(void);

/* Call once for each CPU that the process may run on, before the first region. */
void fc_pool_allow_cpu(int cpu);

/* Calls fn over every item of [0, n) exactly once, on at most nthreads threads, and returns when all is done.
 *
 * - Chunks begin at multiples of grain and hold at least grain items (the last may hold fewer); a grain below 1
 *   counts as 1.
 * - 0 <= slot < max(1, nthreads); the calling thread always has slot 0.
 * - One region at a time has the workers: a nested call, or a call while another thread is inside, runs serially
 *   in its own thread as fn(ctx, 0, n, 0), as does n <= grain or nthreads <= 1.
 * - fn must not unwind out of the call (no longjmp, no C++ exception, no pthread_exit).
 * - A child that fn forks must leave by exec or _exit. */
void fc_parallel_for(fc_range_fn fn, void *ctx, ptrdiff_t n, ptrdiff_t grain, ptrdiff_t nthreads);

#endif
