#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getcpu, pthread_setaffinity_np */
#endif
#include "parallel.h"

#ifdef _WIN32

void fc_pool_init(void) {}
void fc_pool_allow_cpu(int cpu) { (void)cpu; }

void fc_parallel_for(fc_range_fn fn, void *ctx, ptrdiff_t n, ptrdiff_t grain, ptrdiff_t nthreads)
{
    (void)grain, (void)nthreads;
    if (n > 0)
        fn(ctx, 0, n, 0);
}

#else

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#define CACHE_LINE 64
#define SPIN_NS 50000
#define STACK_BYTES ((size_t)4 << 20)  /* the default is 512 KiB on macOS and 128 KiB with musl */
#define CHUNKS_PER_THREAD 128          /* a tail below 1 % of the work, a counter that is not the bottleneck */

/* The gate says in one word who may come in: the tickets left in the upper half, the workers inside in the lower.
 * Taking a ticket and being counted is one step, so a closed gate with nobody inside stays so. */
#define TICKET 0x10000u
#define INSIDE 0x0ffffu

struct region {
    fc_range_fn fn;
    void *ctx;
    ptrdiff_t n, chunk, chunks, shares;
    unsigned fp_mode;
};

/* The number of a share's next chunk. */
struct share {
    _Alignas(CACHE_LINE) _Atomic(ptrdiff_t) next;
};

static _Alignas(CACHE_LINE) atomic_uint gate;
static struct share shares[FC_MAX_THREADS];
static _Alignas(CACHE_LINE) struct region region;  /* written by the owner of `busy` while nobody is inside */
static _Alignas(CACHE_LINE) atomic_int busy;
static atomic_int sleepers;
static pthread_mutex_t wake_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_t worker_ids[FC_MAX_THREADS];  /* this and the next: only the owner of `busy` */
static ptrdiff_t workers;

/* Workers round and treat subnormals as the caller does: else a result would depend on who computed it. */
#if defined(__x86_64__)
static unsigned fp_mode(void) { return __builtin_ia32_stmxcsr() & ~0x3fu; } /* less the sticky exception flags */
static void set_fp_mode(unsigned mode) { __builtin_ia32_ldmxcsr(mode); }
static void pause_cpu(void) { __builtin_ia32_pause(); }
#elif defined(__aarch64__)
static unsigned fp_mode(void)
{
    unsigned long mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return (unsigned)mode;
}
static void set_fp_mode(unsigned mode) { __asm__ volatile("msr fpcr, %0" : : "r"((unsigned long)mode)); }
static void pause_cpu(void) { __asm__ volatile("isb"); }
#else
static unsigned fp_mode(void) { return 0; }
static void set_fp_mode(unsigned mode) { (void)mode; }
static void pause_cpu(void) {}
#endif

static ptrdiff_t first_chunk(const struct region *r, ptrdiff_t share) { return share * r->chunks / r->shares; }

/* Where all threads take part, each begins with the same share in every region, because its core has in its caches what
 * the last one read and wrote there; then it takes from the others what they have not begun. */
static void take_chunks(const struct region *r, ptrdiff_t slot, ptrdiff_t own)
{
    for (ptrdiff_t i = 0; i < r->shares; i++) {
        ptrdiff_t share = (own + i) % r->shares, end = first_chunk(r, share + 1), index;
        /* Looks first: threads that only pass an ended share leave its line where it is. */
        while (atomic_load_explicit(&shares[share].next, memory_order_relaxed) < end
               && (index = atomic_fetch_add_explicit(&shares[share].next, 1, memory_order_relaxed)) < end) {
            ptrdiff_t lo = index * r->chunk;
            r->fn(r->ctx, lo, r->n - lo > r->chunk ? lo + r->chunk : r->n, slot);
        }
    }
    atomic_fetch_and_explicit(&gate, INSIDE, memory_order_relaxed); /* nothing is left: let nobody else in */
}

/* Takes a ticket and returns its number, the slot; 0 where the gate is closed. */
static ptrdiff_t enter_region(void)
{
    unsigned seen = atomic_load_explicit(&gate, memory_order_relaxed);
    while (seen >= TICKET) {
        if (atomic_compare_exchange_weak_explicit(&gate, &seen, seen - TICKET + 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return seen / TICKET;
    }
    return 0;
}

static long long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Looks for a while, as the layers of a network follow one another closely and waking costs a hundred times a look.
 * A sleeper then announces itself before it looks at the gate, and open_region opens the gate before it looks for
 * sleepers: in the one order of all four (seq_cst) at least one sees the other, so no wake-up is lost. */
static void wait_until_open(void)
{
    long long end = now_ns() + SPIN_NS;
    do {
        for (int looks = 0; looks < 16; looks++) {
            if (atomic_load_explicit(&gate, memory_order_relaxed) >= TICKET)
                return;
            pause_cpu();
        }
    } while (now_ns() < end);
    pthread_mutex_lock(&wake_lock);
    atomic_fetch_add(&sleepers, 1);
    while (atomic_load(&gate) < TICKET)
        pthread_cond_wait(&wake, &wake_lock);
    atomic_fetch_sub(&sleepers, 1);
    pthread_mutex_unlock(&wake_lock);
}

static void *run_worker(void *number)
{
    for (;;) {
        ptrdiff_t slot = enter_region();
        if (slot) {
            struct region mine = region;
            set_fp_mode(mine.fp_mode);
            take_chunks(&mine, slot, (ptrdiff_t)number < mine.shares ? (ptrdiff_t)number : slot);
            atomic_fetch_sub_explicit(&gate, 1, memory_order_release);
        }
        wait_until_open();
    }
    return NULL;
}

/* Signals are for the threads of the program, except those that say that the worker itself went wrong. */
static void block_signals(sigset_t *before)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&blocked, own[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, before);
}

#ifdef __linux__
static cpu_set_t home_cpus, worker_cpus; /* of the process; of the workers, as last set */

void fc_pool_allow_cpu(int cpu) { CPU_SET((size_t)cpu, &home_cpus); }

/* A worker woken on the caller's own CPU would wait there until the caller's time slice ends. Workers may run where
 * the caller may, less the CPU that it is on; a caller on one CPU only was bound, as OpenMP binds, for itself alone. */
static void steer_workers(int fresh)
{
    cpu_set_t cpus;
    int own = sched_getcpu();
    if (own < 0 || sched_getaffinity(0, sizeof cpus, &cpus) != 0)
        return;
    if (CPU_COUNT(&cpus) == 1)
        cpus = home_cpus;
    CPU_CLR((size_t)own, &cpus);
    if (CPU_COUNT(&cpus) == 0 || (!fresh && CPU_EQUAL(&cpus, &worker_cpus)))
        return;
    for (ptrdiff_t i = 0; i < workers; i++)
        pthread_setaffinity_np(worker_ids[i], sizeof cpus, &cpus);
    worker_cpus = cpus;
}
#else
void fc_pool_allow_cpu(int cpu) { (void)cpu; }
static void steer_workers(int fresh) { (void)fresh; }
#endif

/* Fewer workers than asked for (no memory, a process limit) only means less speed. */
static void create_workers(ptrdiff_t wanted)
{
    sigset_t before;
    pthread_attr_t attributes;
    if (workers >= wanted || pthread_attr_init(&attributes) != 0)
        return;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    block_signals(&before);
    while (workers < wanted
           && pthread_create(&worker_ids[workers], &attributes, run_worker, (void *)(workers + 1)) == 0)
        workers++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    steer_workers(1);
}

static void open_region(const struct region *r, ptrdiff_t helpers)
{
    create_workers(helpers);
    region = *r;
    for (ptrdiff_t i = 0; i < r->shares; i++)
        atomic_store_explicit(&shares[i].next, first_chunk(r, i), memory_order_relaxed);
    atomic_store(&gate, (unsigned)helpers * TICKET);
    int asleep = atomic_load(&sleepers);
    if (asleep == 0)
        return;
    steer_workers(0);
    pthread_mutex_lock(&wake_lock); /* a sleeper between its look at the gate and its wait holds the lock */
    pthread_mutex_unlock(&wake_lock);
    for (ptrdiff_t i = 0; i < helpers && i < asleep; i++)
        pthread_cond_signal(&wake);
}

/* take_chunks has closed the gate: only who is inside still works. */
static void wait_for_workers(void)
{
    for (int looks = 0; atomic_load_explicit(&gate, memory_order_acquire) != 0;) {
        if (looks < 4096)
            looks++, pause_cpu();
        else
            sched_yield(); /* more threads than CPUs: the worker may need this one */
    }
}

/* In a forked child no worker exists, and the locks and counts are as they happened to be. */
static void start_afresh(void)
{
    pthread_mutex_init(&wake_lock, NULL);
    pthread_cond_init(&wake, NULL);
    workers = 0;
    atomic_store(&sleepers, 0);
    atomic_store(&gate, 0);
    atomic_store(&busy, 0);
}

void fc_pool_init(void)
{
    static atomic_flag done = ATOMIC_FLAG_INIT;
    if (!atomic_flag_test_and_set(&done))
        pthread_atfork(NULL, NULL, start_afresh);
}

/* Chunks are whole numbers of grains, so that no product exceeds n and every chunk begins at a multiple of grain. */
static struct region divide(fc_range_fn fn, void *ctx, ptrdiff_t n, ptrdiff_t grain, ptrdiff_t nthreads)
{
    ptrdiff_t grains = n / grain + (n % grain != 0);
    ptrdiff_t factor = grains / (nthreads * CHUNKS_PER_THREAD);
    ptrdiff_t chunk = factor > 1 ? factor * grain : grain;
    ptrdiff_t chunks = n / chunk + (n % chunk != 0);
    return (struct region){fn, ctx, n, chunk, chunks, chunks < nthreads ? chunks : nthreads, fp_mode()};
}

void fc_parallel_for(fc_range_fn fn, void *ctx, ptrdiff_t n, ptrdiff_t grain, ptrdiff_t nthreads)
{
    if (n <= 0)
        return;
    nthreads = nthreads < FC_MAX_THREADS ? nthreads : FC_MAX_THREADS;
    int serial = nthreads <= 1 || n <= grain;
    if (serial || atomic_load_explicit(&busy, memory_order_relaxed)
        || atomic_exchange_explicit(&busy, 1, memory_order_acquire)) {
        fn(ctx, 0, n, 0);
        return;
    }
    struct region r = divide(fn, ctx, n, grain > 1 ? grain : 1, nthreads);
    open_region(&r, r.shares - 1);
    take_chunks(&r, 0, 0);
    wait_for_workers();
    atomic_store_explicit(&busy, 0, memory_order_release);
}

#endif
