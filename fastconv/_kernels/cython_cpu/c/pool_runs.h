/* Pooling of a run of targets, FC_WIDE lanes of each in a vector. Where a target has fewer, the others belong to the next
 * one: they are read for nothing, and written again. */

/* What pool_compare.h says of whole vectors, without winners, of narrower ones. */
#undef FC_RUN_BEST
#undef FC_RUN_UNORDERED
#if FC_WIDE * FC_REAL_BYTES == FC_VECTOR_BYTES
#define FC_RUN_BEST(a, b) FC_LARGER(a, b)
#define FC_RUN_UNORDERED(a, b) FC_UNORDERED(a, b)
#elif defined(__x86_64__) && FC_WIDE == 8 && FC_REAL_BYTES == 4
#define FC_RUN_BEST(a, b) ((wide)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define FC_RUN_UNORDERED(a, b) _mm256_movemask_ps(_mm256_cmp_ps((__m256)(a), (__m256)(b), _CMP_UNORD_Q))
#elif defined(__x86_64__) && FC_WIDE == 4 && FC_REAL_BYTES == 8
#define FC_RUN_BEST(a, b) ((wide)_mm256_max_pd((__m256d)(a), (__m256d)(b)))
#define FC_RUN_UNORDERED(a, b) _mm256_movemask_pd(_mm256_cmp_pd((__m256d)(a), (__m256d)(b), _CMP_UNORD_Q))
#elif defined(__x86_64__) && FC_WIDE == 4
#define FC_RUN_BEST(a, b) ((wide)_mm_max_ps((__m128)(a), (__m128)(b)))
#define FC_RUN_UNORDERED(a, b) _mm_movemask_ps(_mm_cmpunord_ps((__m128)(a), (__m128)(b)))
#elif defined(__x86_64__) && FC_WIDE == 2 && FC_REAL_BYTES == 8
#define FC_RUN_BEST(a, b) ((wide)_mm_max_pd((__m128d)(a), (__m128d)(b)))
#define FC_RUN_UNORDERED(a, b) _mm_movemask_pd(_mm_cmpunord_pd((__m128d)(a), (__m128d)(b)))
#endif

/* taps: how many there are, 0: what the run says. Returns whether there was a NaN, which is lost without `careful`. */
FC_INLINE int FC_W(run_compare)(const fc_pool_run *run, const real *source, wide *best, numbers *winner,
                                const int wanted, const int careful, const int taps) {
    const ptrdiff_t count = taps ? taps : run->rows * run->cols;
    int unordered = 0;
#ifdef FC_RUN_BEST
    if (!careful && !wanted && taps == 4) {
        wide value[4];
#pragma GCC unroll 4
        for (int tap = 0; tap < 4; tap++) value[tap] = *(const wide *)(source + run->places[tap]);
        *best = FC_RUN_BEST(FC_RUN_BEST(value[3], value[2]), FC_RUN_BEST(value[1], value[0]));
        return FC_RUN_UNORDERED(value[0], value[1]) | FC_RUN_UNORDERED(value[2], value[3]);
    }
#endif
    for (ptrdiff_t tap = 0; tap < count; tap++) {
        const wide value = *(const wide *)(source + run->places[tap]);
        const numbers number = (numbers){0} + (FC_INTEGER)run->taps[tap];
#if FC_WIDE * FC_REAL_BYTES == FC_VECTOR_BYTES
        if (!careful) {
            unordered |= FC_UNORDERED(value, value);
            if (wanted) *winner = FC_POOL_WINNER(value, *best, number, *winner);
            *best = FC_LARGER(value, *best);
            continue;
        }
#endif
        const numbers wins = (numbers)(value > *best) | (numbers)(value != value);
        if (wanted) *winner = (wins & number) | (~wins & *winner);
        *best = FC_W(choose)(wins, value, *best);
    }
    return unordered;
}

FC_INLINE void FC_W(run_largest)(const FC_FN(pool_job) *job, const fc_pool_run *run, const real *source, real *target,
                                 char *offsets, const int wanted, const int taps) {
    const numbers first = (numbers){0} + (FC_INTEGER)job->first_winner;
    wide best = (wide){0} + FC_MINUS_INFINITY;
    numbers winner = first;
    if (FC_W(run_compare)(run, source, &best, &winner, wanted, 0, taps)) {
        best = (wide){0} + FC_MINUS_INFINITY;
        winner = first;
        FC_W(run_compare)(run, source, &best, &winner, wanted, 1, taps);
    }
    FC_W(put)(job, target, best);
    if (wanted) FC_W(store_offsets)(offsets, 0, job->offset_bytes, winner);
}

FC_INLINE void FC_W(run_sum)(const FC_FN(pool_job) *job, const fc_pool_run *run, const real *source, real *target,
                             real count, const int taps) {
    const ptrdiff_t rows = taps ? 2 : run->rows, cols = taps ? 2 : run->cols;
    wide total = {0};
    for (ptrdiff_t row = 0; row < rows; row++) {
        wide sum = {0};
        for (ptrdiff_t col = 0; col < cols; col++) sum += *(const wide *)(source + run->places[row * cols + col]);
        total += sum;
    }
    FC_W(put)(job, target, total / count);
}

/* kind: 0: the largest, 1: with their taps, 2: sums. taps: 4, where windows are two by two, or 0. */
FC_INLINE void FC_W(run)(const FC_FN(pool_job) *shared, const int kind, const int taps) {
    /* Copies, which no store can change. */
    const FC_FN(pool_job) job = *shared;
    const fc_pool_run run = *job.run;
    const ptrdiff_t last = job.count > FC_WIDE ? job.count - FC_WIDE : 0;
    for (ptrdiff_t t = 0; t < job.targets; t++) {
        const real *source = job.source + t * run.source_step, count = kind == 2 ? job.divisor * job.divisors[t] : 1;
        real *target = job.target + t * job.count;
        char *offsets = kind == 1 ? job.offsets + t * job.count * job.offset_bytes : NULL;
        for (ptrdiff_t lane = 0; lane < job.count; lane += FC_WIDE) {
            const ptrdiff_t at = lane < last ? lane : last;
            if (kind == 2)
                FC_W(run_sum)(&job, &run, source + at, target + at, count, taps);
            else
                FC_W(run_largest)(&job, &run, source + at, target + at,
                                  kind == 1 ? offsets + at * job.offset_bytes : NULL, kind == 1, taps);
        }
    }
}

static void FC_W(pool_run_max)(const FC_FN(pool_job) *job) {
    if (job->run->rows == 2 && job->run->cols == 2) FC_W(run)(job, 0, 4);
    else FC_W(run)(job, 0, 0);
}

static void FC_W(pool_run_max_at)(const FC_FN(pool_job) *job) {
    if (job->run->rows == 2 && job->run->cols == 2) FC_W(run)(job, 1, 4);
    else FC_W(run)(job, 1, 0);
}

static void FC_W(pool_run_sum)(const FC_FN(pool_job) *job) {
    if (job->run->rows == 2 && job->run->cols == 2) FC_W(run)(job, 2, 4);
    else FC_W(run)(job, 2, 0);
}
