/* Pooling of neighbours, FC_WIDE of them in a vector. */
#undef wide
#undef numbers
#define wide FC_W(fc_pooled)
#define numbers FC_W(fc_numbers)

typedef real wide __attribute__((vector_size(FC_WIDE * FC_REAL_BYTES), aligned(FC_REAL_BYTES), may_alias));
typedef FC_INTEGER numbers __attribute__((vector_size(FC_WIDE * FC_REAL_BYTES)));
typedef uint8_t FC_W(fc_offsets_1) __attribute__((vector_size(FC_WIDE), aligned(1), may_alias));
typedef uint16_t FC_W(fc_offsets_2) __attribute__((vector_size(2 * FC_WIDE), aligned(2), may_alias));
typedef uint32_t FC_W(fc_offsets_4) __attribute__((vector_size(4 * FC_WIDE), aligned(4), may_alias));

FC_INLINE numbers FC_W(load_offsets)(const char *offsets, ptrdiff_t at, const int bytes) {
    if (bytes == 1) return __builtin_convertvector(*(const FC_W(fc_offsets_1) *)(offsets + at), numbers);
    if (bytes == 2) return __builtin_convertvector(*(const FC_W(fc_offsets_2) *)(offsets + 2 * at), numbers);
    return __builtin_convertvector(*(const FC_W(fc_offsets_4) *)(offsets + 4 * at), numbers);
}

FC_INLINE void FC_W(store_offsets)(char *offsets, ptrdiff_t at, ptrdiff_t bytes, numbers value) {
#if FC_WIDE * FC_REAL_BYTES == FC_VECTOR_BYTES
    if (bytes == 1) {
        FC_FN(pool_bytes) narrow = FC_POOL_BYTES(value);
        FC_LOAD_ONCE(narrow); /* narrowing on the way to memory takes much longer */
        *(FC_FN(pool_bytes) *)(offsets + at) = narrow;
        return;
    }
#endif
    if (bytes == 1)
        *(FC_W(fc_offsets_1) *)(offsets + at) = __builtin_convertvector(value, FC_W(fc_offsets_1));
    else if (bytes == 2)
        *(FC_W(fc_offsets_2) *)(offsets + 2 * at) = __builtin_convertvector(value, FC_W(fc_offsets_2));
    else
        *(FC_W(fc_offsets_4) *)(offsets + 4 * at) = __builtin_convertvector(value, FC_W(fc_offsets_4));
}

FC_INLINE wide FC_W(choose)(numbers mask, wide a, wide b) {
    return (wide)((mask & (numbers)a) | (~mask & (numbers)b));
}

FC_INLINE void FC_W(put)(const FC_FN(pool_job) *job, real *place, wide value) {
#if FC_WIDE * FC_REAL_BYTES == FC_VECTOR_BYTES
    if (job->streams) {
        FC_STREAM_STORE((vec *)place, value);
        return;
    }
#else
    (void)job;
#endif
    *(wide *)place = value;
}

/* Every tap against the best so far. Returns whether some lane has a NaN; without `careful` that is lost. */
FC_INLINE int FC_W(compare)(const FC_FN(pool_job) *job, ptrdiff_t at, wide *best, numbers *winner, const int vectors,
                            const int wanted, const int careful) {
    int unordered = 0;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        best[v] = (wide){0} + FC_MINUS_INFINITY;
        winner[v] = (numbers){0} + (FC_INTEGER)job->first_winner;
    }
    for (ptrdiff_t r = job->rows[0]; r < job->rows[1]; r++)
        for (ptrdiff_t e = job->cols[0]; e < job->cols[1]; e++) {
            const real *from = job->source + FC_FN(pool_source)(job, r, e) + at;
            const numbers tap = (numbers){0} + FC_FN(pool_tap)(job, r, e);
            wide value[4];
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                value[v] = *(const wide *)(from + v * FC_WIDE);
                if (careful) {
                    const numbers wins = (numbers)(value[v] > best[v]) | (numbers)(value[v] != value[v]);
                    winner[v] = (wins & tap) | (~wins & winner[v]);
                    best[v] = FC_W(choose)(wins, value[v], best[v]);
                } else {
#if FC_WIDE * FC_REAL_BYTES == FC_VECTOR_BYTES
                    if (wanted) winner[v] = FC_POOL_WINNER(value[v], best[v], tap, winner[v]);
                    best[v] = FC_LARGER(value[v], best[v]);
#endif
                }
            }
#if FC_WIDE * FC_REAL_BYTES == FC_VECTOR_BYTES
            if (!careful && vectors == 4)
                unordered |= FC_UNORDERED(value[0], value[1]) | FC_UNORDERED(value[2], value[3]);
            else if (!careful)
                unordered |= FC_UNORDERED(value[0], value[0]);
#endif
        }
    return unordered;
}

FC_INLINE void FC_W(largest)(const FC_FN(pool_job) *job, ptrdiff_t at, const int vectors, const int wanted) {
    wide best[4];
    numbers winner[4];
    /* A NaN is looked for in whole vectors alone. */
    const int careful = FC_WIDE * FC_REAL_BYTES < FC_VECTOR_BYTES;
    if (FC_W(compare)(job, at, best, winner, vectors, wanted, careful))
        FC_W(compare)(job, at, best, winner, vectors, wanted, 1);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        FC_W(put)(job, job->target + at + v * FC_WIDE, best[v]);
        if (wanted) FC_W(store_offsets)(job->offsets, at + v * FC_WIDE, job->offset_bytes, winner[v]);
    }
}

/* The sum of the sources that won with the tap under which the target lies, in ascending order. */
FC_INLINE void FC_W(add_won)(const FC_FN(pool_job) *job, int phase, ptrdiff_t at, wide *sum, const int vectors,
                             const int bytes) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) sum[v] = (wide){0};
    for (ptrdiff_t r = job->rows[0]; r < job->rows[1]; r++)
        for (ptrdiff_t e = job->cols[phase]; e < job->cols[phase + 1]; e++) {
            const ptrdiff_t from = FC_FN(pool_source)(job, r, e) + at;
            const numbers tap = (numbers){0} + FC_FN(pool_tap)(job, r, e);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
#if FC_WIDE * FC_REAL_BYTES == FC_VECTOR_BYTES && defined FC_POOL_ADD_WON
                if (bytes == 1) {
                    const ptrdiff_t place = from + v * FC_WIDE;
                    sum[v] = FC_POOL_ADD_WON(sum[v], *(const vec *)(job->source + place), job->winners + place, tap[0]);
                    continue;
                }
#endif
                const numbers won = FC_W(load_offsets)(job->winners, from + v * FC_WIDE, bytes) == tap;
                sum[v] += (wide)(won & (numbers)*(const wide *)(job->source + from + v * FC_WIDE));
            }
        }
}

/* Some columns of one row of the window. */
FC_INLINE void FC_W(add_columns)(const FC_FN(pool_job) *job, ptrdiff_t r, ptrdiff_t first, ptrdiff_t last, ptrdiff_t at,
                                 wide *sum, const int vectors, const int spreads) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) sum[v] = (wide){0};
    for (ptrdiff_t e = first; e < last; e++) {
        const real *from = job->source + FC_FN(pool_source)(job, r, e) + at;
        const real count = spreads ? FC_FN(pool_count)(job, r, e) : 1;
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            wide value = *(const wide *)(from + v * FC_WIDE);
            if (spreads) value /= count;
            sum[v] += value;
        }
    }
}

/* The sum of all sources, by blocks of rows of the window, and of columns, so that rounding errors stay small. */
FC_INLINE void FC_W(add_all)(const FC_FN(pool_job) *job, int phase, ptrdiff_t at, wide *total, const int vectors,
                             const int spreads) {
    const ptrdiff_t first = job->cols[phase], last = job->cols[phase + 1];
    wide rows[4], sum[4];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) total[v] = (wide){0};
    for (ptrdiff_t top = job->rows[0]; top < job->rows[1]; top += FC_POOL_TERMS) {
        const ptrdiff_t bottom = job->rows[1] - top < FC_POOL_TERMS ? job->rows[1] : top + FC_POOL_TERMS;
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) rows[v] = (wide){0};
        for (ptrdiff_t r = top; r < bottom; r++)
            for (ptrdiff_t e = first; e < last; e += FC_POOL_TERMS) {
                const ptrdiff_t end = last - e < FC_POOL_TERMS ? last : e + FC_POOL_TERMS;
                FC_W(add_columns)(job, r, e, end, at, sum, vectors, spreads);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) rows[v] += sum[v];
            }
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) total[v] += rows[v];
    }
}

/* What add_won (kinds 1, 2, 4: bytes of an offset) and add_all (-1: shares of the sources, 0) say of one phase. */
FC_INLINE void FC_W(add)(const FC_FN(pool_job) *job, int phase, ptrdiff_t at, wide *sum, const int vectors,
                         const int kind) {
    if (kind > 0) FC_W(add_won)(job, phase, at, sum, vectors, kind);
    else FC_W(add_all)(job, phase, at, sum, vectors, kind < 0);
    if (job->divisor == 0) return;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        wide count = (wide){0} + job->divisor;
        if (job->divisors != NULL) count *= *(const wide *)(job->divisors + at + v * FC_WIDE);
        sum[v] /= count;
    }
}

FC_INLINE void FC_W(sums)(const FC_FN(pool_job) *job, ptrdiff_t at, const int vectors, const int kind) {
    wide sum[4];
    FC_W(add)(job, 0, at, sum, vectors, kind);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) FC_W(put)(job, job->target + at + v * FC_WIDE, sum[v]);
}

/* Those of two phases, whose targets come in turn. */
FC_INLINE void FC_W(pairs)(const FC_FN(pool_job) *job, ptrdiff_t at, const int kind) {
    wide even[1], odd[1];
    FC_W(add)(job, 0, at, even, 1, kind);
    FC_W(add)(job, 1, at, odd, 1, kind);
    FC_W(put)(job, job->target + 2 * at, FC_SHUFFLE(even[0], odd[0], FC_POOL_ORDER(LOWER, FC_WIDE)));
    FC_W(put)(job, job->target + 2 * at + FC_WIDE, FC_SHUFFLE(even[0], odd[0], FC_POOL_ORDER(UPPER, FC_WIDE)));
}

/* Four vectors at a time, then one; the last one overlaps the one before it. */
#undef FC_FOURS
#undef FC_ONES
#define FC_FOURS(call) \
    for (; at + 4 * FC_WIDE <= job->count; at += 4 * FC_WIDE) call;
#define FC_ONES(call)                                             \
    for (; at < job->count; at += FC_WIDE) {                      \
        if (job->count - at < FC_WIDE) at = job->count - FC_WIDE; \
        call;                                                     \
    }

static void FC_W(pool_largest)(const FC_FN(pool_job) *job) {
    ptrdiff_t at = 0;
    if (job->offsets == NULL) {
        FC_FOURS(FC_W(largest)(job, at, 4, 0))
        FC_ONES(FC_W(largest)(job, at, 1, 0))
    } else {
        FC_FOURS(FC_W(largest)(job, at, 4, 1))
        FC_ONES(FC_W(largest)(job, at, 1, 1))
    }
}

FC_INLINE void FC_W(all_sums)(const FC_FN(pool_job) *job, const int kind) {
    ptrdiff_t at = 0;
    if (job->paired) {
        FC_ONES(FC_W(pairs)(job, at, kind))
    } else {
        FC_FOURS(FC_W(sums)(job, at, 4, kind))
        FC_ONES(FC_W(sums)(job, at, 1, kind))
    }
}

static void FC_W(pool_won)(const FC_FN(pool_job) *job) {
    if (job->offset_bytes == 1) FC_W(all_sums)(job, 1);
    else if (job->offset_bytes == 2) FC_W(all_sums)(job, 2);
    else FC_W(all_sums)(job, 4);
}

static void FC_W(pool_sums)(const FC_FN(pool_job) *job) {
    if (job->row_counts != NULL) FC_W(all_sums)(job, -1);
    else FC_W(all_sums)(job, 0);
}
