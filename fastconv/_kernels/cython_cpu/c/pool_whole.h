/* Planes that are one window each: their elements are neighbours, whichever axis they are along. */

/* The last NaN, else the first of the largest. */
static ptrdiff_t FC_FN(pool_winner)(const real *x, ptrdiff_t size) {
    vec best = (vec){0} + FC_MINUS_INFINITY;
    real largest = FC_MINUS_INFINITY;
    int unordered = 0;
    ptrdiff_t i = 0;
    for (; i + FC_LANES <= size; i += FC_LANES) {
        const vec value = *(const vec *)(x + i);
        best = FC_LARGER(value, best);
        unordered |= FC_UNORDERED(value, value);
    }
    for (; i < size; i++) {
        largest = x[i] > largest ? x[i] : largest;
        unordered |= x[i] != x[i];
    }
    for (ptrdiff_t lane = 0; lane < FC_LANES; lane++) largest = best[lane] > largest ? best[lane] : largest;
    if (unordered) {
        i = size - 1;
        while (x[i] == x[i]) i--;
    } else {
        i = 0;
        while (x[i] != largest) i++;
    }
    return i;
}

/* Four vectors at a time, in blocks, so that rounding errors stay small; then one, then what is left. */
static real FC_FN(pool_total)(const real *x, ptrdiff_t size) {
    const ptrdiff_t most = 4 * FC_LANES * FC_POOL_TERMS;
    vec total = {0};
    real rest = 0;
    ptrdiff_t i = 0;
    while (i + FC_LANES <= size) {
        vec sum[4] = {{0}, {0}, {0}, {0}};
        const ptrdiff_t end = size - i < most ? size : i + most;
        for (; i + 4 * FC_LANES <= end; i += 4 * FC_LANES)
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++) sum[v] += *(const vec *)(x + i + v * FC_LANES);
        for (; i + FC_LANES <= end; i += FC_LANES) sum[0] += *(const vec *)(x + i);
        total += (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }
    for (; i < size; i++) rest += x[i];
    return FC_POOL_FOLD(total) + rest;
}

static void FC_FN(pool_plane)(const fc_pool_args *a, ptrdiff_t plane, ptrdiff_t size) {
    const real *source = (const real *)a->source + plane * a->source_strides.c;
    real *target = (real *)a->target + plane * a->target_strides.c;
    if (a->kind == FC_POOL_MAX) {
        const ptrdiff_t winner = FC_FN(pool_winner)(source, size);
        *target = source[winner];
        if (a->offsets == NULL) return;
        if (a->offset_bytes == 1) ((uint8_t *)a->offsets)[plane] = (uint8_t)winner;
        else if (a->offset_bytes == 2) ((uint16_t *)a->offsets)[plane] = (uint16_t)winner;
        else ((uint32_t *)a->offsets)[plane] = (uint32_t)winner;
    } else if (a->kind == FC_POOL_MAX_GRAD) {
        const ptrdiff_t winner = a->offset_bytes == 1   ? ((const uint8_t *)a->winners)[plane]
                                 : a->offset_bytes == 2 ? ((const uint16_t *)a->winners)[plane]
                                                        : ((const uint32_t *)a->winners)[plane];
        memset(target, 0, (size_t)size * sizeof(real));
        if (winner < size) target[winner] += *source;
    } else {
        const real count = *(const real *)a->row_counts * *(const real *)a->col_counts;
        if (!a->spreads) *target = FC_FN(pool_total)(source, size) / count;
        else for (ptrdiff_t i = 0; i < size; i++) target[i] = 0 + *source / count;
    }
}

/* One item per plane. */
static void FC_FN(pool_whole)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_pool_args *a = ctx;
    const ptrdiff_t size = a->spreads || a->kind == FC_POOL_MAX_GRAD ? a->target_strides.c : a->source_strides.c;
    (void)slot;
    for (ptrdiff_t plane = lo; plane < hi; plane++) FC_FN(pool_plane)(a, plane, size);
}
