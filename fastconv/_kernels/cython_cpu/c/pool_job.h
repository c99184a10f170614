/* One row of targets, or one target with all its channels: what is done with lanes, in vectors as wide as there are. */

#ifndef FASTCONV_POOL_JOB_H
#define FASTCONV_POOL_JOB_H
/* Terms that are summed before their sum is added to the others'. */
enum { FC_POOL_TERMS = 32 };
/* Rows of windows that share none, which a vector of columns slides down before the next one does. */
enum { FC_POOL_ROWS = 4 };

/* What a run of targets has in common: elements from its first target's source to those of the taps, row by row, and
 * their numbers; source_step elements lead from target to target. */
enum { FC_POOL_TAPS = 16 };
typedef struct {
    ptrdiff_t places[FC_POOL_TAPS], taps[FC_POOL_TAPS], rows, cols, source_step;
} fc_pool_run;

#define FC_POOL_ORDER_(half, lanes) FC_##half##_##lanes
#define FC_POOL_ORDER(half, lanes) FC_POOL_ORDER_(half, lanes)
#define FC_W_(name, lanes) FC_FN(name##_##lanes)
#define FC_W__(name, lanes) FC_W_(name, lanes)
#define FC_W(name) FC_W__(name, FC_WIDE)

/* row(1), row(2) and so on, for the lanes of all vectors up to the widest. */
#define FC_POOL_UP_TO_2(row) row(1), row(2)
#define FC_POOL_UP_TO_4(row) FC_POOL_UP_TO_2(row), row(4)
#define FC_POOL_UP_TO_8(row) FC_POOL_UP_TO_4(row), row(8)
#define FC_POOL_UP_TO_16(row) FC_POOL_UP_TO_8(row), row(16)
#define FC_POOL_UP_TO_(lanes, row) FC_POOL_UP_TO_##lanes(row)
#define FC_POOL_UP_TO(lanes, row) FC_POOL_UP_TO_(lanes, row)
#define FC_POOL_TABLE(row) FC_POOL_UP_TO(FC_POOL_WIDTH, row)
#endif

/* Lane i of target 0 has the sources source + pool_source(r, e) + i for rows[0] <= r < rows[1], cols[0] <= e < cols[1].
 * `paired`: those of target 2 * i; of target 2 * i + 1 they have cols[1] <= e < cols[2]. Sources of a row are those of
 * source row row_base + ... . Sums are divided by divisor * divisors[i] (0: they are not; NULL: ones) or, where
 * row_counts is given, every source by its own. Of gradients `apart`, cols are those of so many targets, which follow
 * one after the other and have one source at most. Of a run there are so many targets one after the other, too; sums of
 * target t are divided by divisor * divisors[t]. */
typedef struct {
    const real *source, *row_counts, *col_counts, *divisors;
    const char *winners;
    real *target, divisor;
    char *offsets;
    const int64_t *rows, *cols, *row_sources, *row_taps, *col_sources, *col_taps;
    ptrdiff_t row_base, row_step, col_step, tap_cols, first_winner, offset_bytes, count, targets;
    int paired, streams;
    const fc_pool_run *run;
} FC_FN(pool_job);

FC_INLINE ptrdiff_t FC_FN(pool_source)(const FC_FN(pool_job) *job, ptrdiff_t r, ptrdiff_t e) {
    return (job->row_sources[r] - job->row_base) * job->row_step + job->col_sources[e] * job->col_step;
}

FC_INLINE FC_INTEGER FC_FN(pool_tap)(const FC_FN(pool_job) *job, ptrdiff_t r, ptrdiff_t e) {
    return (FC_INTEGER)(job->row_taps[r] * job->tap_cols + job->col_taps[e]);
}

FC_INLINE real FC_FN(pool_count)(const FC_FN(pool_job) *job, ptrdiff_t r, ptrdiff_t e) {
    return job->row_counts[job->row_sources[r]] * job->col_counts[job->col_sources[e]];
}

#undef FC_POOL_WIDTH
#if FC_VECTOR_BYTES / FC_REAL_BYTES == 16
#define FC_POOL_WIDTH 16
#elif FC_VECTOR_BYTES / FC_REAL_BYTES == 8
#define FC_POOL_WIDTH 8
#elif FC_VECTOR_BYTES / FC_REAL_BYTES == 4
#define FC_POOL_WIDTH 4
#else
#define FC_POOL_WIDTH 2
#endif
#include "pool_compare.h"

#define FC_WIDE 1
#include "pool_wide.h"
#define FC_WIDE 2
#include "pool_wide.h"
#if FC_POOL_WIDTH >= 4
#define FC_WIDE 4
#include "pool_wide.h"
#endif
#if FC_POOL_WIDTH >= 8
#define FC_WIDE 8
#include "pool_wide.h"
#endif
#if FC_POOL_WIDTH >= 16
#define FC_WIDE 16
#include "pool_wide.h"
#endif

#undef FC_POOL_FUNCTIONS
#define FC_POOL_FUNCTIONS(lanes) {FC_FN(pool_largest_##lanes), FC_FN(pool_won_##lanes), FC_FN(pool_sums_##lanes)}

/* By the logarithm of the lanes, then by kind. */
static void (*const FC_FN(pool_functions)[][FC_POOL_KINDS])(const FC_FN(pool_job) *) = {FC_POOL_TABLE(FC_POOL_FUNCTIONS)};

#undef FC_POOL_FUNCTIONS
#define FC_POOL_FUNCTIONS(lanes) {FC_FN(pool_apart_won_##lanes), FC_FN(pool_apart_shares_##lanes)}

/* The same of gradients apart: of winners, of shares. */
static void (*const FC_FN(pool_apart_functions)[][2])(const FC_FN(pool_job) *) = {FC_POOL_TABLE(FC_POOL_FUNCTIONS)};

#undef FC_POOL_FUNCTIONS
#define FC_POOL_FUNCTIONS(lanes) {FC_FN(pool_run_max_##lanes), FC_FN(pool_run_max_at_##lanes), FC_FN(pool_run_sum_##lanes)}

/* The same of runs: the largest, those with their taps, sums. */
static void (*const FC_FN(pool_run_functions)[][3])(const FC_FN(pool_job) *) = {FC_POOL_TABLE(FC_POOL_FUNCTIONS)};

/* The logarithm of the lanes of the widest vectors that so many, at least one, fill. */
static inline int FC_FN(pool_width)(ptrdiff_t count) {
    int width = 0;
    while (2 << width <= count && 2 << width <= FC_LANES) width++;
    return width;
}

/* The kernel for so many lanes. */
static inline void (*FC_FN(pool_function)(ptrdiff_t kind, ptrdiff_t count))(const FC_FN(pool_job) *) {
    return FC_FN(pool_functions)[FC_FN(pool_width)(count)][kind];
}
