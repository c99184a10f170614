/* Pooling of a run of targets, FC_WIDE lanes of each in a vector. Where a target has fewer, the others belong to the next
 * one: they are read for nothing, and written again. */

/* taps: how many there are, 0: what the run says. */
FC_INLINE void FC_W(run_largest)(const FC_FN(pool_job) *job, const fc_pool_run *run, const real *source, real *target,
                                 char *offsets, const int wanted, const int taps) {
    const ptrdiff_t count = taps ? taps : run->rows * run->cols;
    wide best = (wide){0} + FC_MINUS_INFINITY;
    numbers winner = (numbers){0} + (FC_INTEGER)job->first_winner;
#if FC_WIDE * FC_REAL_BYTES == FC_VECTOR_BYTES
    int unordered = 0;
#pragma GCC unroll 4
    for (ptrdiff_t tap = 0; tap < count; tap++) {
        const wide value = *(const wide *)(source + run->places[tap]);
        unordered |= FC_UNORDERED(value, value);
        if (wanted) winner = FC_POOL_WINNER(value, best, (numbers){0} + (FC_INTEGER)run->taps[tap], winner);
        best = FC_POOL_BEST(value, best);
    }
    if (unordered) {
        best = (wide){0} + FC_MINUS_INFINITY;
        winner = (numbers){0} + (FC_INTEGER)job->first_winner;
    }
    for (ptrdiff_t tap = 0; unordered && tap < count; tap++) {
#else
#pragma GCC unroll 4
    for (ptrdiff_t tap = 0; tap < count; tap++) {
#endif
        const wide value = *(const wide *)(source + run->places[tap]);
        const numbers wins = (numbers)(value > best) | (numbers)(value != value);
        if (wanted) winner = (wins & ((numbers){0} + (FC_INTEGER)run->taps[tap])) | (~wins & winner);
        best = FC_W(choose)(wins, value, best);
    }
    FC_W(put)(job, target, best);
    if (wanted) FC_W(store_offsets)(offsets, 0, job->offset_bytes, winner);
}

FC_INLINE void FC_W(run_sum)(const FC_FN(pool_job) *job, const fc_pool_run *run, const real *source, real *target,
                             real count) {
    wide total = {0};
    for (ptrdiff_t row = 0; row < run->rows; row++) {
        wide sum = {0};
        for (ptrdiff_t col = 0; col < run->cols; col++) sum += *(const wide *)(source + run->places[row * run->cols + col]);
        total += sum;
    }
    FC_W(put)(job, target, total / count);
}

/* kind: 0: the largest, 1: with their taps, 2: sums. */
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
                FC_W(run_sum)(&job, &run, source + at, target + at, count);
            else
                FC_W(run_largest)(&job, &run, source + at, target + at, offsets + at * job.offset_bytes, kind == 1, taps);
        }
    }
}

static void FC_W(pool_run_max)(const FC_FN(pool_job) *job) {
    if (job->run->rows * job->run->cols == 4) FC_W(run)(job, 0, 4);
    else FC_W(run)(job, 0, 0);
}

static void FC_W(pool_run_max_at)(const FC_FN(pool_job) *job) {
    if (job->run->rows * job->run->cols == 4) FC_W(run)(job, 1, 4);
    else FC_W(run)(job, 1, 0);
}

static void FC_W(pool_run_sum)(const FC_FN(pool_job) *job) {
    FC_W(run)(job, 2, 0);
}
