/* Gradients under windows that have no element in common: all targets of a row, FC_WIDE lanes of each in a vector. */

/* kind: see FC_W(add). */
FC_INLINE wide FC_W(given)(const FC_FN(pool_job) *job, ptrdiff_t place, ptrdiff_t tap, real count, const int kind) {
    const wide value = *(const wide *)(job->source + place), zero = {0};
    if (kind < 0) return zero + value / count;
#if FC_WIDE * FC_REAL_BYTES == FC_VECTOR_BYTES && defined FC_POOL_ADD_WON
    if (kind == 1) return FC_POOL_ADD_WON(zero, value, job->winners + place, tap);
#endif
    numbers won;
    if (kind == 1) /* narrow ones are compared as they are */
        won = __builtin_convertvector(*(const FC_W(fc_offsets_1) *)(job->winners + place) == (uint8_t)tap, numbers);
    else
        won = FC_W(load_offsets)(job->winners, place, kind) == (numbers){0} + (FC_INTEGER)tap;
    return zero + (wide)(won & (numbers)value);
}

FC_INLINE void FC_W(apart)(const FC_FN(pool_job) *shared, const int kind) {
    /* A copy, which no store can change. */
    const FC_FN(pool_job) job = *shared;
    const ptrdiff_t r = job.rows[0], last = job.count - FC_WIDE;
    const int is_empty = r == job.rows[1];
    real *target = job.target;
    for (ptrdiff_t col = 0; col < job.targets; col++, target += job.count) {
        const ptrdiff_t e = job.cols[col];
        if (is_empty || e == job.cols[col + 1]) {
            for (ptrdiff_t at = 0; at < job.count; at += FC_WIDE)
                FC_W(put)(&job, target + (at < last ? at : last), (wide){0});
            continue;
        }
        const ptrdiff_t from = FC_FN(pool_source)(&job, r, e), tap = FC_FN(pool_tap)(&job, r, e);
        const real count = kind < 0 ? FC_FN(pool_count)(&job, r, e) : 1;
        for (ptrdiff_t at = 0; at < job.count; at += FC_WIDE) {
            const ptrdiff_t place = at < last ? at : last;
            FC_W(put)(&job, target + place, FC_W(given)(&job, from + place, tap, count, kind));
        }
    }
}

static void FC_W(pool_apart_won)(const FC_FN(pool_job) *job) {
    if (job->offset_bytes == 1) FC_W(apart)(job, 1);
    else if (job->offset_bytes == 2) FC_W(apart)(job, 2);
    else FC_W(apart)(job, 4);
}

static void FC_W(pool_apart_shares)(const FC_FN(pool_job) *job) {
    FC_W(apart)(job, -1);
}
