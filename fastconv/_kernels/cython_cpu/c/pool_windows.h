/* Gradients of planes: one window after the other gives what is its. */

/* Every window's gradient goes to its winner; an offset that leads outside the window or the plane leads nowhere.
 * `regular`: where no window leads outside. */
FC_INLINE void FC_FN(pool_give_won)(const fc_pool_windows *w, const real *source, const char *winners, real *target,
                                    ptrdiff_t width, ptrdiff_t size, const int bytes, const int regular) {
    const int64_t *taps = w->taps, *end = w->cols + 3 * w->col_count;
    const size_t tap_count = (size_t)w->tap_count;
    memset(target, 0, (size_t)size * sizeof(real));
    for (ptrdiff_t row = 0; row < w->row_count; row++) {
        const int64_t begin = w->rows[3 * row], low = w->rows[3 * row + 1], extent = w->rows[3 * row + 2];
        real *top = target + begin * width;
        for (const int64_t *cols = w->cols; cols < end; cols += 3, source++, winners += bytes) {
            const size_t winner = bytes == 1   ? *(const uint8_t *)winners
                                  : bytes == 2 ? *(const uint16_t *)winners
                                               : *(const uint32_t *)winners;
            if (winner >= tap_count) continue;
            if (!regular && ((size_t)(taps[3 * winner] - low) >= (size_t)extent ||
                             (size_t)(taps[3 * winner + 1] - cols[1]) >= (size_t)cols[2]))
                continue;
            top[cols[0] + taps[3 * winner + 2]] += *source;
        }
    }
}

#ifndef FC_DEFINE_GIVE_WON
#define FC_DEFINE_GIVE_WON(bytes, regular)                                                                            \
    static void FC_FN(pool_give_##bytes##regular)(const fc_pool_windows *w, const real *source, const char *winners, \
                                                  real *target, ptrdiff_t width, ptrdiff_t size) {                    \
        FC_FN(pool_give_won)(w, source, winners, target, width, size, bytes, regular);                                \
    }
#endif
FC_DEFINE_GIVE_WON(1, 0)
FC_DEFINE_GIVE_WON(1, 1)
FC_DEFINE_GIVE_WON(2, 0)
FC_DEFINE_GIVE_WON(2, 1)
FC_DEFINE_GIVE_WON(4, 0)
FC_DEFINE_GIVE_WON(4, 1)

/* By half the bytes of an offset, then by whether all windows are regular. */
static void (*const FC_FN(pool_give_functions)[][2])(const fc_pool_windows *, const real *, const char *, real *,
                                                     ptrdiff_t, ptrdiff_t) = {
    {FC_FN(pool_give_10), FC_FN(pool_give_11)},
    {FC_FN(pool_give_20), FC_FN(pool_give_21)},
    {FC_FN(pool_give_40), FC_FN(pool_give_41)},
};

/* The shares of a row of windows, along the columns. What is stored beyond a group is stored again, or is no column. */
static void FC_FN(pool_share_row)(const fc_pool_args *a, const real *source, real row_count, real *shares, real *line) {
    const fc_pool_windows *w = &a->windows;
    const real *col_counts = a->col_counts;
    for (ptrdiff_t col = 0; col < w->col_count; col++) shares[col] = source[col] / (row_count * col_counts[col]);
    for (const int64_t *group = w->col_groups; group < w->col_groups + 4 * w->col_group_count; group += 4) {
        real sum = 0;
        for (int64_t col = group[2]; col < group[2] + group[3]; col++) sum += shares[col];
        const vec value = (vec){0} + sum;
        for (int64_t i = 0; i < group[1]; i += FC_LANES) *(vec *)(line + group[0] + i) = value;
    }
}

static void FC_FN(pool_give_shares)(const fc_pool_args *a, const real *source, real *target, real *lines) {
    const fc_pool_windows *w = &a->windows;
    const ptrdiff_t pitch = w->pitch;
    const ptrdiff_t bytes = a->cols.targets * (ptrdiff_t)sizeof(real);
    real *sum = lines + w->row_count * pitch, *shares = sum + pitch;
    for (ptrdiff_t row = 0; row < w->row_count; row++)
        FC_FN(pool_share_row)(a, source + row * w->col_count, ((const real *)a->row_counts)[row], shares,
                              lines + row * pitch);
    for (const int64_t *group = w->row_groups; group < w->row_groups + 4 * w->row_group_count; group += 4) {
        const real *first = lines + group[2] * pitch;
        for (ptrdiff_t i = 0; group[3] != 1 && i < pitch; i += FC_LANES) {
            vec total = {0};
            for (int64_t row = 0; row < group[3]; row++) total += *(const vec *)(first + row * pitch + i);
            *(vec *)(sum + i) = total;
        }
        fc_copy_rows(target + group[0] * a->cols.targets, bytes, group[3] == 1 ? first : sum, 0, bytes, group[1]);
    }
}

/* One item per plane. */
static void FC_FN(pool_windows)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    fc_pool_args *a = ctx;
    const fc_pool_windows *w = &a->windows;
    const ptrdiff_t width = a->cols.targets, sources = a->source_strides.c, targets = a->target_strides.c;
    const int shares = a->kind == FC_POOL_SUM;
    void *memory = NULL;
    real *lines = shares ? fc_zeros(((w->row_count + 1) * w->pitch + w->col_count) * (ptrdiff_t)sizeof(real), &memory) : NULL;
    (void)slot;
    if (shares && lines == NULL) {
        a->status = 1;
        return;
    }
    for (ptrdiff_t plane = lo; plane < hi; plane++) {
        const real *source = (const real *)a->source + plane * sources;
        const char *winners = (const char *)a->winners + (shares ? 0 : plane * sources * a->offset_bytes);
        real *target = (real *)a->target + plane * targets;
        if (shares) FC_FN(pool_give_shares)(a, source, target, lines);
        else FC_FN(pool_give_functions)[a->offset_bytes / 2][w->regular](w, source, winners, target, width, targets);
    }
    free(memory);
}
