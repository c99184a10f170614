/* Planes straight from memory: lanes are neighbouring columns, and windows of two or three rows slide down. Each row is
 * pooled along its columns once, in the order of the taps; the windows that it is in share that. */

#ifndef FASTCONV_POOL_SLIDING_H
#define FASTCONV_POOL_SLIDING_H
/* Names by the lanes of a vector: FC_SLID, which the including file sets. */
#define FC_S_(name, lanes) FC_FN(name##_by_##lanes)
#define FC_S__(name, lanes) FC_S_(name, lanes)
#define FC_S(name) FC_S__(name, FC_SLID)
#endif
#undef slid
#define slid FC_S(fc_slid)
typedef real slid __attribute__((vector_size(FC_SLID * FC_REAL_BYTES), aligned(FC_REAL_BYTES), may_alias));
typedef FC_INTEGER FC_S(fc_slid_mask) __attribute__((vector_size(FC_SLID * FC_REAL_BYTES)));
typedef uint8_t FC_S(pool_bytes) __attribute__((vector_size(FC_SLID), aligned(1), may_alias));
#ifdef FC_POOL_LOAD_PLACES
typedef __m128i FC_S(pool_places);
#else
typedef FC_S(fc_slid_mask) FC_S(pool_places);
#endif

/* A whole vector, past the caches where asked. */
FC_INLINE void FC_S(pool_put_all)(real *target, slid value, ptrdiff_t streams) {
#if FC_SLID * FC_REAL_BYTES == FC_VECTOR_BYTES
    if (streams) {
        FC_STREAM_STORE((vec *)target, value);
        return;
    }
#endif
    (void)streams;
    *(slid *)target = value;
}

/* Neighbours of a row from `at` on, of which the lanes first .. last - 1 are inside of it. */
typedef struct {
    ptrdiff_t at, first, last;
    unsigned lanes;
} FC_S(pool_part);

/* A vector of columns: what it reads of each row (of stride two: the pair of vectors at a column, then the pair two
 * columns further), and which targets it has. */
typedef struct {
    FC_S(pool_part) parts[4], targets;
} FC_S(pool_view);

/* A row pooled along its columns, and the columns' taps. */
typedef struct {
    slid value;
    FC_S(fc_slid_mask) tap;
} FC_S(pool_across);

/* A plane of H rows of W columns in all its views; what a block of rows reads after this one is `ahead`. Of
 * the target rows only the first whole_rows have a vector's lanes to their right or below them in the block.
 * Of a gradient the plane is the target's, W columns and `rows` rows are those of windows. */
typedef struct {
    const fc_pool_args *a;
    const FC_S(pool_view) *views;
    ptrdiff_t count;
    const real *source;
    real *target;
    char *offsets;
    ptrdiff_t H, W, width, row_low, ahead, whole_rows, rows;
} FC_S(pool_slide);

static inline FC_S(pool_part) FC_S(pool_part_of)(ptrdiff_t at, ptrdiff_t size) {
    const ptrdiff_t before = at < 0 ? -at : 0, left = size - at;
    FC_S(pool_part) part = {at, before < FC_SLID ? before : FC_SLID, left < FC_SLID ? left : FC_SLID, 0};
    if (part.last < part.first) part.last = part.first;
    part.lanes = ((1u << part.last) - 1) & ~((1u << part.first) - 1);
    return part;
}

/* The lanes of a part; the others are padding. */
FC_INLINE slid FC_S(pool_load)(const real *row, const FC_S(pool_part) *part, real padding) {
#ifdef FC_POOL_LOAD
    return FC_POOL_LOAD(row + part->at, part->lanes, padding);
#else
    slid value = (slid){0} + padding;
    if (part->last - part->first == FC_SLID) return *(const slid *)(row + part->at);
    for (ptrdiff_t lane = part->first; lane < part->last; lane++) value[lane] = row[part->at + lane];
    return value;
#endif
}

/* The better of two taps, of which the second one comes later. */
FC_INLINE void FC_S(pool_meet)(FC_S(pool_across) *best, slid value, FC_S(fc_slid_mask) tap, const int wanted,
                                const int careful) {
    if (careful) {
        const FC_S(fc_slid_mask) wins = (FC_S(fc_slid_mask))(value > best->value) | (FC_S(fc_slid_mask))(value != value);
        best->tap = (wins & tap) | (~wins & best->tap);
        best->value = (slid)((wins & (FC_S(fc_slid_mask))value) | (~wins & (FC_S(fc_slid_mask))best->value));
    } else {
        if (wanted) best->tap = FC_POOL_WINNER(value, best->value, tap, best->tap);
        best->value = FC_LARGER(value, best->value);
    }
}

/* A row along its columns. kind: a sum, a maximum, or that with its tap. */
FC_INLINE FC_S(pool_across) FC_S(pool_row_across)(const real *row, const FC_S(pool_view) *view, int *unordered,
                                                    const int kernel, const int stride, const int kind,
                                                    const int careful) {
    const real padding = kind == FC_POOL_SUM ? 0 : FC_MINUS_INFINITY;
    const int loads = stride == 1 || kernel == 2 ? kernel : 4;
    slid loaded[4], taps[3];
#pragma GCC unroll 4
    for (int i = 0; i < loads; i++)
        loaded[i] = FC_S(pool_load)(row, &view->parts[i], padding);
    if (stride == 1) {
#pragma GCC unroll 4
        for (int i = 0; i < kernel; i++) taps[i] = loaded[i];
        if (kind != FC_POOL_SUM && !careful) *unordered |= FC_UNORDERED(taps[0], taps[kernel - 1]);
    } else {
        taps[0] = FC_SHUFFLE(loaded[0], loaded[1], FC_POOL_ORDER(EVEN, FC_SLID));
        taps[1] = FC_SHUFFLE(loaded[0], loaded[1], FC_POOL_ORDER(ODD, FC_SLID));
        if (kernel == 3) taps[2] = FC_SHUFFLE(loaded[2], loaded[3], FC_POOL_ORDER(EVEN, FC_SLID));
        if (kind != FC_POOL_SUM && !careful) {
            *unordered |= FC_UNORDERED(loaded[0], loaded[1]);
            if (kernel == 3) *unordered |= FC_UNORDERED(taps[2], taps[2]);
        }
    }
    FC_S(pool_across) across = {taps[0], {0}};
    if (kind == FC_POOL_SUM) across.value = (slid){0} + taps[0];
#pragma GCC unroll 4
    for (int i = 1; i < kernel; i++) {
        if (kind == FC_POOL_SUM) across.value += taps[i];
        else FC_S(pool_meet)(&across, taps[i], (FC_S(fc_slid_mask)){0} + i, kind == FC_POOL_MAX_AT, careful);
    }
    return across;
}

/* Of windows of minus infinity alone the first tap that is no padding has won. */
static void FC_S(pool_mend_lanes)(const fc_pool_args *a, ptrdiff_t row, ptrdiff_t col, ptrdiff_t count, slid value,
                                   FC_S(fc_slid_mask) *tap) {
    for (ptrdiff_t lane = 0; lane < count; lane++) {
        const ptrdiff_t r = a->rows.first[row], e = a->cols.first[col + lane];
        if (value[lane] == FC_MINUS_INFINITY)
            (*tap)[lane] = (FC_INTEGER)(a->rows.taps[r] * a->tap_cols + a->cols.taps[e]);
    }
}

/* Some lanes of a vector. */
static inline void FC_S(pool_put_some)(real *target, char *offsets, const FC_S(pool_part) *part, slid value,
                                        FC_S(fc_slid_mask) tap) {
#ifdef FC_POOL_STORE
    FC_POOL_STORE(target, part->lanes, value);
    const FC_S(pool_bytes) narrow = FC_POOL_BYTES(tap);
    if (offsets != NULL) memcpy(offsets, &narrow, (size_t)part->last);
#else
    for (ptrdiff_t lane = 0; lane < part->last; lane++) {
        target[lane] = value[lane];
        if (offsets != NULL) ((uint8_t *)offsets)[lane] = (uint8_t)tap[lane];
    }
#endif
}

/* One vector of columns down some rows. Returns whether there was a NaN, which is lost without `careful`. */
FC_INLINE int FC_S(pool_down)(const FC_S(pool_slide) *s, const FC_S(pool_view) *columns, ptrdiff_t first,
                               ptrdiff_t last, const int kernel, const int stride, const int kind, const int careful) {
    /* A copy, which no store can change. */
    const FC_S(pool_view) view = *columns;
    const ptrdiff_t W = s->W, H = s->H, width = s->width, col = view.targets.at, ahead = s->ahead + col * stride;
    const ptrdiff_t top = first * stride - s->row_low, streams = s->a->streams;
    const FC_S(pool_across) padding = {(slid){0} + (kind == FC_POOL_SUM ? 0 : FC_MINUS_INFINITY), {0}};
    const real *source = s->source + top * W, *counts = s->a->row_counts;
    real *target = s->target + first * width + col;
    char *offsets = kind == FC_POOL_MAX_AT ? s->offsets + first * width + col : NULL;
    const slid col_counts = kind == FC_POOL_SUM ? FC_S(pool_load)(s->a->col_counts, &view.targets, 1) : (slid){0};
    /* The first round sets them all, which compilers do not see. */
    FC_S(pool_across) across[3] = {{.value = (slid){0}}};
    int unordered = 0;
    ptrdiff_t from = top;
    for (ptrdiff_t row = first; row < last; row++, from += stride, source += stride * W, target += width) {
#pragma GCC unroll 4
        for (int i = 0; i < kernel; i++) {
            if (row > first && i + stride < kernel) {
                across[i] = across[i + stride];
            } else if ((size_t)(from + i) >= (size_t)H) {
                across[i] = padding;
            } else {
                const real *place = source + i * W;
                across[i] = FC_S(pool_row_across)(place, &view, &unordered, kernel, stride, kind, careful);
#pragma GCC unroll 4
                for (int line = 0; line < stride; line++)
                    __builtin_prefetch(place + ahead + line * FC_SLID, 0, 2);
            }
        }
        FC_S(pool_across) best = across[0];
        if (kind == FC_POOL_SUM) best.value = (slid){0} + best.value;
#pragma GCC unroll 4
        for (int i = 1; i < kernel; i++) {
            const FC_S(fc_slid_mask) tap = across[i].tap + (FC_INTEGER)(i * kernel);
            if (kind == FC_POOL_SUM) best.value += across[i].value;
            else FC_S(pool_meet)(&best, across[i].value, tap, kind == FC_POOL_MAX_AT, careful);
        }
        if (kind == FC_POOL_SUM) best.value /= counts[row] * col_counts;
        /* x - x is NaN of infinities, too. */
        if (kind == FC_POOL_MAX_AT && FC_UNORDERED(best.value - best.value, best.value))
            FC_S(pool_mend_lanes)(s->a, row, col, view.targets.last, best.value, &best.tap);
        /* Lanes beyond the columns are those of rows that are written later; of the last rows they are none. */
        if (row >= s->whole_rows) {
            FC_S(pool_put_some)(target, offsets, &view.targets, best.value, best.tap);
        } else {
            FC_S(pool_put_all)(target, best.value, streams);
            if (kind == FC_POOL_MAX_AT) {
                *(FC_S(pool_bytes) *)offsets = FC_POOL_BYTES(best.tap);
            }
        }
        if (kind == FC_POOL_MAX_AT) offsets += width;
    }
    return unordered;
}

/* Functions of their own, so that each has all registers. Where windows share no rows, a few rows are done after the
 * other ones: so they lie in memory. */
#ifndef FC_DEFINE_SLIDING
#define FC_DEFINE_SLIDING(kernel, stride, name, kind)                                                           \
    static __attribute__((noinline)) void FC_S(careful_##kernel##stride##name)(                                \
        const FC_S(pool_slide) *s, const FC_S(pool_view) *view, ptrdiff_t first, ptrdiff_t last) {            \
        FC_S(pool_down)(s, view, first, last, kernel, stride, kind, 1);                                        \
    }                                                                                                           \
    static __attribute__((noinline)) void FC_S(sliding_##kernel##stride##name)(                                \
        const FC_S(pool_slide) *s, ptrdiff_t first, ptrdiff_t last) {                                          \
        const ptrdiff_t step = stride < kernel || s->count == 1 ? last - first : FC_POOL_ROWS;                  \
        for (ptrdiff_t row = first; row < last; row += step) {                                                  \
            const ptrdiff_t end = last - row < step ? last : row + step;                                        \
            for (const FC_S(pool_view) *view = s->views; view < s->views + s->count; view++)                   \
                if (FC_S(pool_down)(s, view, row, end, kernel, stride, kind, 0))                                \
                    FC_S(careful_##kernel##stride##name)(s, view, row, end);                                    \
        }                                                                                                       \
    }
#define FC_DEFINE_SLIDING_KINDS(kernel, stride)                   \
    FC_DEFINE_SLIDING(kernel, stride, max, FC_POOL_MAX)           \
    FC_DEFINE_SLIDING(kernel, stride, max_at, FC_POOL_MAX_AT)     \
    FC_DEFINE_SLIDING(kernel, stride, sum, FC_POOL_SUM)
#define FC_SLIDING_KINDS(kernel, stride) \
    {FC_S(sliding_##kernel##stride##max), FC_S(sliding_##kernel##stride##max_at), FC_S(sliding_##kernel##stride##sum)}
#endif
FC_DEFINE_SLIDING_KINDS(2, 1)
FC_DEFINE_SLIDING_KINDS(2, 2)
FC_DEFINE_SLIDING_KINDS(3, 1)
FC_DEFINE_SLIDING_KINDS(3, 2)

/* By 2 * kernel + stride - 5, then by what is made of a window. */
static void (*const FC_S(sliding_functions)[][3])(const FC_S(pool_slide) *, ptrdiff_t, ptrdiff_t) = {
    FC_SLIDING_KINDS(2, 1), FC_SLIDING_KINDS(2, 2), FC_SLIDING_KINDS(3, 1), FC_SLIDING_KINDS(3, 2)};

/* The vectors of columns; the last one overlaps the one before it. */
static FC_S(pool_view) *FC_S(pool_views)(const fc_pool_args *a, ptrdiff_t count, void **memory) {
    const ptrdiff_t width = a->cols.targets, stride = a->sliding.stride;
    FC_S(pool_view) *views = fc_aligned(count * (ptrdiff_t)sizeof(*views), memory);
    for (ptrdiff_t v = 0; views != NULL && v < count; v++) {
        const ptrdiff_t begin = v * FC_SLID, col = v > 0 && begin + FC_SLID > width ? width - FC_SLID : begin;
        views[v].targets = FC_S(pool_part_of)(col, width);
        for (int i = 0; i < 4; i++) {
            const ptrdiff_t shift = stride == 1 ? i : i / 2 * 2 + i % 2 * FC_SLID;
            views[v].parts[i] = FC_S(pool_part_of)(col * stride - a->sliding.col_low + shift, a->source_strides.h);
        }
    }
    return views;
}

/* One item per (plane, block of rows). */
static void FC_S(pool_sliding)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    fc_pool_args *a = ctx;
    const fc_pool_sliding *w = &a->sliding;
    const ptrdiff_t width = a->cols.targets, count = (width + FC_SLID - 1) / FC_SLID, rows = a->rows.targets;
    const int kind = a->kind == FC_POOL_SUM ? 2 : a->offsets != NULL;
    void *memory;
    const FC_S(pool_view) *views = FC_S(pool_views)(a, count, &memory);
    FC_S(pool_slide) s = {
        a, views, count, NULL, NULL, NULL, w->H, a->source_strides.h, width, w->row_low, w->ahead, 0, rows,
    };
    (void)slot;
    if (views == NULL) {
        a->status = 1;
        return;
    }
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t plane = item / w->blocks, first = item % w->blocks * w->block, left = rows - first;
        const ptrdiff_t last = first + (left < w->block ? left : w->block), room = last * width - FC_SLID;
        s.whole_rows = width >= FC_SLID ? last : room < 0 ? 0 : room / width + 1;
        s.source = (const real *)a->source + plane * a->source_strides.c;
        s.target = (real *)a->target + plane * a->target_strides.c;
        if (a->offsets != NULL) s.offsets = (char *)a->offsets + plane * a->target_strides.c;
        FC_S(sliding_functions)[2 * a->tap_cols + w->stride - 5][kind](&s, first, last);
    }
    free(memory);
    if (a->streams) FC_STREAM_FENCE();
}
