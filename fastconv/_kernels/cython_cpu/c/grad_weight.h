/* grad_weight: parts of it, summed over pieces of the outputs. */

static void FC_FN(add_sums)(real *total, const real *sums, ptrdiff_t size) {
    for (ptrdiff_t i = 0; i < size; i++) total[i] += sums[i];
}

/* The outputs of a piece, counted over images, rows and columns. */
static fc_pixels FC_FN(piece)(const fc_grad_weight_args *a, ptrdiff_t piece) {
    const ptrdiff_t cols = (a->out_cols + a->col_block - 1) / a->col_block;
    const ptrdiff_t rows = (a->out_rows + a->row_block - 1) / a->row_block;
    fc_pixels at = {.n = piece / cols / rows * a->images,
                    .row = piece / cols % rows * a->row_block,
                    .col = piece % cols * a->col_block};
    at.images = a->N - at.n < a->images ? a->N - at.n : a->images;
    at.rows = a->out_rows - at.row < a->row_block ? a->out_rows - at.row : a->row_block;
    at.cols = a->out_cols - at.col < a->col_block ? a->out_cols - at.col : a->col_block;
    return at;
}

/* What comes next is fetched while the tiles of this piece run. */
static void FC_FN(plan_prefetch)(const fc_grad_weight_args *a, FC_FN(fc_slot) *s, const fc_part *p, ptrdiff_t next) {
    const fc_pixels at = FC_FN(piece)(a, next);
    const ptrdiff_t tiles = p->tap_rows * a->tap_cols * (p->k_end - p->k_block) * (1 + p->channels / 6);
    s->next_pixels = 0;
    if (a->grad_out_strides.c != 1 || a->x_strides.c != 1 || at.n >= a->N)
        return;
    s->next_pixels = (at.images * at.rows * at.cols + tiles - 1) / tiles;
    s->next_x = (const real *)a->x + at.n * a->x_strides.n + (p->g * a->x_channels + p->c0) +
                at.row * a->row_step * a->x_strides.h + at.col * a->col_step * a->x_strides.w;
    s->next_grad_out = (const real *)a->grad_out + at.n * a->grad_out_strides.n + p->g * a->K +
                       a->k_blocks[2 * p->k_block] * FC_LANES + at.row * a->grad_out_strides.h +
                       at.col * a->grad_out_strides.w;
}

/* Where a block's sums go where grad_out and x have changed places. */
static real *FC_FN(exchanged_target)(const fc_grad_weight_args *a, const fc_part *p, const fc_k_block *k) {
    return (real *)a->grad_weight + (p->g * a->C + p->c0) * a->K + k->k0;
}

/* Over pieces begin .. end - 1; after every a->span of them the sums go to the total, so that errors stay small. */
static void FC_FN(sum_pieces)(const fc_grad_weight_args *a, FC_FN(fc_slot) *s, const fc_part *p, ptrdiff_t begin,
                              ptrdiff_t end) {
    for (ptrdiff_t piece = begin; piece < end; piece++) {
        real *sums = piece - begin < a->span ? s->total : s->sums;
        const fc_pixels at = FC_FN(piece)(a, piece);
        FC_FN(plan_prefetch)(a, s, p, piece + 1);
        for (ptrdiff_t block = p->k_block; block < p->k_end; block++) {
            const fc_k_block k = FC_FN(k_block)(a, block);
            s->target = a->in_place && piece + 1 == end ? FC_FN(exchanged_target)(a, p, &k) : NULL;
            s->valid = k.count;
            FC_FN(take_grad_out)(a, s, p, &k, &at);
            FC_FN(sum_pixels)
            (a, s, p, k.vectors, &at, sums + FC_FN(sums_before)(a, p, block), (piece - begin) % a->span == 0);
        }
        if (sums == s->sums && ((piece - begin + 1) % a->span == 0 || piece + 1 == end))
            FC_FN(add_sums)(s->total, sums, FC_FN(sums_size)(a, p));
    }
}

/* grad_weight[k][c][tap] = total[tap][c][k] of a block of output channels. */
static void FC_FN(store_block)(const fc_grad_weight_args *a, const FC_FN(fc_slot) *s, const fc_part *p,
                               ptrdiff_t block) {
    const fc_k_block k = FC_FN(k_block)(a, block);
    const ptrdiff_t width = k.vectors * FC_LANES, taps = p->tap_rows * a->tap_cols, all_taps = a->tap_rows * a->tap_cols;
    const real *total = s->total + FC_FN(sums_before)(a, p, block);
    real *target = (real *)a->grad_weight + ((p->g * a->K + k.k0) * a->C + p->c0) * all_taps + p->kh0 * a->tap_cols;
    for (ptrdiff_t c = 0; c < p->channels; c++)
        for (ptrdiff_t tap = 0; tap < taps; tap++) s->entries[c * taps + tap] = (tap * p->channels + c) * width;
    if (taps == all_taps) {
        FC_FN(transpose_any)(total, s->entries, 0, target, NULL, a->C * taps, p->channels * taps, k.count, width);
        return;
    }
    for (ptrdiff_t c = 0; c < p->channels; c++)
        FC_FN(transpose_any)
        (total, s->entries + c * taps, 0, target + c * all_taps, NULL, a->C * all_taps, taps, k.count, width);
}

/* The same where grad_out and x have changed places: grad_weight[c][k] = total[c][k], as the tiles have it. */
static void FC_FN(copy_block)(const fc_grad_weight_args *a, const FC_FN(fc_slot) *s, const fc_part *p, ptrdiff_t block) {
    const fc_k_block k = FC_FN(k_block)(a, block);
    const real *total = s->total + FC_FN(sums_before)(a, p, block);
    real *target = FC_FN(exchanged_target)(a, p, &k);
    for (ptrdiff_t c = 0; c < p->channels; c++)
        memcpy(target + c * a->K, total + c * k.vectors * FC_LANES, (size_t)k.count * sizeof(real));
}

static void FC_FN(store_part)(const fc_grad_weight_args *a, const FC_FN(fc_slot) *s, const fc_part *p) {
    for (ptrdiff_t block = p->k_block; block < p->k_end; block++)
        if (a->exchanged)
            FC_FN(copy_block)(a, s, p, block);
        else
            FC_FN(store_block)(a, s, p, block);
}

static fc_part FC_FN(part)(const fc_grad_weight_args *a, ptrdiff_t part) {
    const ptrdiff_t c_blocks = (a->C + a->c_block - 1) / a->c_block;
    const ptrdiff_t tap_blocks = (a->tap_rows + a->tap_block - 1) / a->tap_block;
    const ptrdiff_t k_groups = (a->k_block_count + a->k_group - 1) / a->k_group, rest = part / tap_blocks;
    fc_part p = {.g = rest / c_blocks / k_groups,
                 .k_block = rest / c_blocks % k_groups * a->k_group,
                 .c0 = rest % c_blocks * a->c_block,
                 .kh0 = part % tap_blocks * a->tap_block};
    p.k_end = a->k_block_count - p.k_block < a->k_group ? a->k_block_count : p.k_block + a->k_group;
    p.channels = a->C - p.c0 < a->c_block ? a->C - p.c0 : a->c_block;
    p.tap_rows = a->tap_rows - p.kh0 < a->tap_block ? a->tap_rows - p.kh0 : a->tap_block;
    if (a->joined > 1) {
        const ptrdiff_t first = p.g * a->x_channels;
        p.before = first - FC_FN(vector_start)(first, a->groups * a->x_channels);
    }
    return p;
}

static FC_FN(fc_slot) FC_FN(open_slot)(const fc_grad_weight_args *a, ptrdiff_t slot) {
    char *scratch = a->scratch + slot * a->scratch_bytes;
    FC_FN(fc_slot) s = {.sums = (real *)scratch};
    s.total = s.sums + a->sums;
    s.packed = s.total + a->sums;
    s.entries = (int64_t *)(scratch + a->scratch_bytes) - 2 * a->entries; /* aligned, whatever lies before */
    s.tiles = a->joined > 1 ? FC_FN(group_weight_tiles) : FC_FN(panels);
    s.columns = a->joined > 1 ? FC_FN(group_weight_columns) : FC_FN(columns);
    /* The plan says that lines are written whole if the first one is. */
    s.streams = a->streams && (uintptr_t)a->grad_weight % (FC_LINE * sizeof(real)) == 0;
    return s;
}

/* x with its channels together, where it lies in planes: one item per row. */
static void FC_FN(interleave)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_grad_weight_args *a = ctx;
    const ptrdiff_t channels = a->x_strides.w, cols = a->x_strides.h / channels, plane = a->x_rows * cols;
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t n = item / a->x_rows, row = item % a->x_rows;
        FC_FN(transpose)
        ((const real *)a->x + n * channels * plane + row * cols, plane, (real *)a->interleaved + item * a->x_strides.h,
         channels, channels, cols);
    }
}

/* One item per (segment of the pieces, part). */
static void FC_FN(grad_weight)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_grad_weight_args *a = ctx;
    FC_FN(fc_slot) s = FC_FN(open_slot)(a, slot);
    memset(s.packed, 0, (size_t)a->packed * sizeof(real));
    for (ptrdiff_t item = lo; item < hi; item++) {
        const fc_part p = FC_FN(part)(a, item % a->parts);
        const ptrdiff_t segment = item / a->parts;
        if (a->joined > 1)
            FC_FN(list_orders)(s.orders, a->C, a->K / a->joined, p.before);
        FC_FN(sum_pieces)(a, &s, &p, segment * a->pieces / a->segments, (segment + 1) * a->pieces / a->segments);
        if (a->segments > 1)
            memcpy((real *)a->partials + item * a->sums, s.total, (size_t)a->sums * sizeof(real));
        else if (!a->in_place)
            FC_FN(store_part)(a, &s, &p);
    }
    if (s.streams)
        FC_STREAM_FENCE();
}

/* One item per part: the sums of all segments, added in their order. */
static void FC_FN(reduce)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_grad_weight_args *a = ctx;
    FC_FN(fc_slot) s = FC_FN(open_slot)(a, slot);
    for (ptrdiff_t item = lo; item < hi; item++) {
        const fc_part p = FC_FN(part)(a, item);
        const real *partials = (const real *)a->partials + item * a->sums;
        memcpy(s.total, partials, (size_t)a->sums * sizeof(real));
        for (ptrdiff_t segment = 1; segment < a->segments; segment++)
            FC_FN(add_sums)(s.total, partials + segment * a->parts * a->sums, a->sums);
        FC_FN(store_part)(a, &s, &p);
    }
}

const fc_grad_weight_kernels FC_FN(fc_grad_weight) = {
    .lanes = FC_LANES,
    .vectors = FC_MAX_VECTORS,
    .columns = FC_MOST_COLUMNS,
    .interleave = FC_FN(interleave),
    .grad_weight = FC_FN(grad_weight),
    .reduce = FC_FN(reduce),
};
