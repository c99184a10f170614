/* grad_weight of first layers on planes: sums along the lanes, which hold the columns of a row of outputs.
 *
 * grad_weight[k, c, tap] = sum over n, row, col of grad_out[n, k, row, col] * copy[n][c][place(row, col, tap)], where
 * the copy is a padded one of some rows */

/* What a slot works with, and the piece: images n .., rows first .. */
typedef struct {
    fc_panel panel;
    int64_t *entries;
    real *copy, *gradients, *sums;
    ptrdiff_t n, images, first, rows;
} FC_FN(fc_grad_piece);

/* The inputs of a piece to the padded copy; where its rows are there, and in the gradients. */
static void FC_FN(take_piece)(const fc_first_layer_grad_args *a, FC_FN(fc_grad_piece) *s, ptrdiff_t number) {
    const fc_padded *padded = &a->padded;
    s->n = number / padded->blocks * a->images, s->first = number % padded->blocks * padded->block;
    s->images = a->N - s->n < a->images ? a->N - s->n : a->images;
    s->rows = FC_FN(block_steps)(padded, s->first);
    for (ptrdiff_t i = 0; i < s->images * a->C; i++)
        FC_FN(pad_rows)
        (padded, (const real *)a->x + s->n * a->x_strides.n + i * a->x_strides.c, &a->x_strides, s->first, s->rows,
         s->copy + i * a->plane);
    for (ptrdiff_t i = 0, e = 0; i < s->images; i++)
        for (ptrdiff_t row = 0; row < s->rows; row++, e++) {
            s->entries[2 * e] = i * a->C * a->plane + row * padded->rows.step * padded->pitch;
            s->entries[2 * e + 1] = a->pitch ? e * a->pitch : (i * a->K * a->out_rows + row) * a->out_cols;
        }
}

/* The gradients of some filters, so that whole vectors can be read: as they are, or copied. */
static const real *FC_FN(take_gradients)(const fc_first_layer_grad_args *a, FC_FN(fc_grad_piece) *s, ptrdiff_t k,
                                         ptrdiff_t filters) {
    const ptrdiff_t size = (ptrdiff_t)sizeof(real), plane = a->out_rows * a->out_cols;
    const real *grad_out = (const real *)a->grad_out + (s->n * a->K + k) * plane + s->first * a->out_cols;
    s->panel.w_shift = a->pitch ? s->images * s->rows * a->pitch : plane;
    if (!a->pitch)
        return grad_out;
    for (ptrdiff_t o = 0; o < filters; o++)
        for (ptrdiff_t i = 0; i < s->images; i++)
            fc_copy_rows(s->gradients + (o * s->images + i) * s->rows * a->pitch, a->pitch * size,
                         grad_out + (i * a->K + o) * plane, a->out_cols * size, a->out_cols * size, s->rows);
    return s->gradients;
}

/* Some filters' sums over the rows of a chunk: sums[filter][c][tap]. */
static void FC_FN(sum_chunk)(const fc_first_layer_grad_args *a, const FC_FN(fc_grad_piece) *s, ptrdiff_t filters,
                             const real *grad_out) {
    const ptrdiff_t most = FC_FN(columns)[filters - 1];
    for (ptrdiff_t c = 0; c < a->C; c++)
        for (const int64_t *run = a->runs; run < a->runs + 3 * a->run_count; run += 3) {
            const ptrdiff_t tiles = (run[2] + most - 1) / most;
            for (ptrdiff_t t = 0; t < tiles; t++) {
                const ptrdiff_t first = t * run[2] / tiles, width = (t + 1) * run[2] / tiles - first;
                FC_FN(dots_tiles)[filters - 1][width - 1]
                (&s->panel, s->copy + c * a->plane + run[1] + first * a->x_shift, grad_out, NULL,
                 s->sums + c * a->taps + run[0] + first * a->tap_step);
            }
        }
}

/* One item per segment of the pieces. */
static void FC_FN(first_layer_grad)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_first_layer_grad_args *a = ctx;
    const ptrdiff_t size = a->C * a->taps;
    FC_FN(fc_grad_piece) s = {.panel = {.count = a->vectors, .x_shift = a->x_shift, .target_step = a->tap_step}};
    s.panel.target_shift = size;
    s.copy = (real *)(a->scratch + slot * a->scratch_bytes), s.gradients = s.copy + a->copy;
    s.entries = (int64_t *)(s.gradients + a->gradients);
    s.sums = (real *)(s.entries + 2 * a->images * a->padded.block);
    memset(s.copy, 0, (size_t)(a->copy + a->gradients) * sizeof(real));
    for (ptrdiff_t item = lo; item < hi; item++) {
        real *total = (real *)a->partials + item * a->K * size;
        memset(total, 0, (size_t)(a->K * size) * sizeof(real));
        for (ptrdiff_t piece = item * a->pieces / a->segments; piece < (item + 1) * a->pieces / a->segments; piece++) {
            FC_FN(take_piece)(a, &s, piece);
            for (const int64_t *block = a->k_blocks; block < a->k_blocks + 2 * a->k_block_count; block += 2) {
                const real *grad_out = FC_FN(take_gradients)(a, &s, block[0], block[1]);
                for (ptrdiff_t begin = 0, left; (left = s.images * s.rows - begin) > 0; begin += a->per_chunk) {
                    s.panel.entries = s.entries + 2 * begin;
                    s.panel.entry_count = left < a->per_chunk ? left : a->per_chunk;
                    FC_FN(sum_chunk)(a, &s, block[1], grad_out);
                    FC_FN(add_sums)(total + block[0] * size, s.sums, block[1] * size);
                }
            }
        }
    }
}

/* One item per filter: the sums of all segments, added in their order. */
static void FC_FN(first_layer_reduce)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_first_layer_grad_args *a = ctx;
    const ptrdiff_t size = a->C * a->taps, count = (hi - lo) * size;
    const real *partials = (const real *)a->partials + lo * size;
    real *total = (real *)a->grad_weight + lo * size;
    (void)slot;
    memcpy(total, partials, (size_t)count * sizeof(real));
    for (ptrdiff_t segment = 1; segment < a->segments; segment++)
        FC_FN(add_sums)(total, partials + segment * a->K * size, count);
}

const fc_first_layer_kernels FC_FN(fc_first_layer) = {
    .lanes = FC_LANES,
    .vectors = FC_MAX_VECTORS,
    .columns = FC_MOST_COLUMNS,
    .first_layer = FC_FN(first_layer),
    .grad_weight = FC_FN(first_layer_grad),
    .reduce = FC_FN(first_layer_reduce),
};
