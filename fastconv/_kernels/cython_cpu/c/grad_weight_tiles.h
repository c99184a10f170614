/* grad_weight of some outputs: tiles of output channels x input channels, tap by tap. */

#ifndef FASTCONV_GRAD_WEIGHT_TILES_H
#define FASTCONV_GRAD_WEIGHT_TILES_H
/* What an item owns of grad_weight: group g, blocks of output channels, channels c0 .., rows of taps kh0 .. */
typedef struct {
    ptrdiff_t g, k_block, k_end, c0, channels, kh0, tap_rows;
    ptrdiff_t before; /* lanes of a vector of x before the group's channels */
} fc_part;

/* One block of output channels. */
typedef struct {
    ptrdiff_t k0, vectors, count;
} fc_k_block;

/* Some outputs: images n .., rows row .., columns col .. */
typedef struct {
    ptrdiff_t n, images, row, rows, col, cols;
} fc_pixels;
#endif

/* What one slot works with: grad_out as the microkernel reads it, with its strides; what to prefetch; where the tiles of
 * the last piece write the valid lanes of a block themselves, NULL where they do not. */
typedef struct {
    int64_t *entries;
    real *sums, *total, *packed;
    const real *grad_out, *next_x, *next_grad_out;
    fc_strides grad_out_strides;
    ptrdiff_t next_pixels; /* per tile */
    real *target;
    ptrdiff_t valid;
    int streams; /* whether they do so past the caches */
    const FC_FN(panel_fn) (*tiles)[FC_MOST_COLUMNS];
    const ptrdiff_t *columns; /* of the widest tiles */
    FC_FN(fc_mask) orders[FC_LANES / 2];
} FC_FN(fc_slot);

static fc_k_block FC_FN(k_block)(const fc_grad_weight_args *a, ptrdiff_t block) {
    fc_k_block k = {a->k_blocks[2 * block] * FC_LANES, a->k_blocks[2 * block + 1], 0};
    k.count = a->K - k.k0 < k.vectors * FC_LANES ? a->K - k.k0 : k.vectors * FC_LANES;
    return k;
}

/* Elements of the sums of a part, before a block of output channels. */
static ptrdiff_t FC_FN(sums_before)(const fc_grad_weight_args *a, const fc_part *p, ptrdiff_t block) {
    const ptrdiff_t vectors = a->k_blocks[2 * block] - a->k_blocks[2 * p->k_block];
    return p->tap_rows * a->tap_cols * p->channels * vectors * FC_LANES;
}

static ptrdiff_t FC_FN(sums_size)(const fc_grad_weight_args *a, const fc_part *p) {
    const ptrdiff_t last = p->k_end - 1, vectors = a->k_blocks[2 * last + 1];
    return FC_FN(sums_before)(a, p, last) + p->tap_rows * a->tap_cols * p->channels * vectors * FC_LANES;
}

/* The block's channels of some outputs, so that whole vectors can be read: as they are, or copied. */
static void FC_FN(take_grad_out)(const fc_grad_weight_args *a, FC_FN(fc_slot) *s, const fc_part *p, const fc_k_block *k,
                                 const fc_pixels *at) {
    const fc_strides *from = &a->grad_out_strides;
    const ptrdiff_t width = k->vectors * FC_LANES;
    const real *grad_out = (const real *)a->grad_out + at->n * from->n + (p->g * a->K + k->k0) * from->c +
                           at->row * from->h + at->col * from->w;
    s->grad_out = grad_out;
    s->grad_out_strides = *from;
    if (!a->packed)
        return;
    s->grad_out = s->packed;
    s->grad_out_strides = (fc_strides){.n = at->rows * at->cols * width, .c = 1, .h = at->cols * width, .w = width};
    for (ptrdiff_t i = 0; i < at->images; i++)
        for (ptrdiff_t r = 0; r < at->rows; r++) {
            const real *row = grad_out + i * from->n + r * from->h;
            real *to = s->packed + i * s->grad_out_strides.n + r * s->grad_out_strides.h;
            if (from->c != 1)
                FC_FN(transpose)(row, from->c, to, width, k->count, at->cols);
            else
                for (ptrdiff_t w = 0; w < at->cols; w++)
                    memcpy(to + w * width, row + w * from->w, (size_t)k->count * sizeof(real));
        }
}

/* A few pixels of the outputs that come next, and of the inputs under them. */
static void FC_FN(prefetch_pixels)(const fc_grad_weight_args *a, FC_FN(fc_slot) *s, const fc_part *p) {
    const ptrdiff_t k_count = (p->k_end - p->k_block) * FC_BLOCK;
    for (ptrdiff_t i = 0; i < s->next_pixels; i++) {
        for (ptrdiff_t c = 0; c < p->channels; c += FC_LINE) __builtin_prefetch(s->next_x + c, 0, 2);
        for (ptrdiff_t k = 0; k < k_count; k += FC_LINE) __builtin_prefetch(s->next_grad_out + k, 0, 2);
        s->next_x += a->col_step * a->x_strides.w;
        s->next_grad_out += a->grad_out_strides.w;
    }
}

/* One tap (or the merged taps of a row) over a part of the outputs: entries are rows. x and grad_out begin at the
 * first of them. */
static void FC_FN(sum_tap)(const fc_grad_weight_args *a, FC_FN(fc_slot) *s, const fc_part *p, ptrdiff_t vectors,
                           ptrdiff_t channels, const fc_panel *panel, const real *x, const real *grad_out, real *sums) {
    const ptrdiff_t most = s->columns[vectors - 1], tiles = (channels + most - 1) / most;
    for (ptrdiff_t t = 0; t < tiles; t++) {
        const ptrdiff_t c = t * channels / tiles, width = (t + 1) * channels / tiles - c;
        FC_FN(prefetch_pixels)(a, s, p);
        s->tiles[vectors - 1][width - 1]
        (panel, x + c * a->x_strides.c, grad_out, sums + c * vectors * FC_LANES,
         s->target != NULL ? s->target + c * a->K : NULL);
    }
}

/* Where rows of outputs meet rows of inputs: the first of each, and where their sums go. */
typedef struct {
    ptrdiff_t row, source, rows;
    const real *x;
    real *sums;
    int fresh; /* nothing is in the sums yet */
} FC_FN(fc_rows);

/* Outputs low .. end - 1 of a row that are in the piece: returns how many, and the first. */
static ptrdiff_t FC_FN(clip_columns)(const fc_pixels *at, ptrdiff_t start, ptrdiff_t count, ptrdiff_t *low) {
    const ptrdiff_t end = start + count < at->col + at->cols ? start + count : at->col + at->cols;
    *low = start > at->col ? start : at->col;
    return end - *low;
}

/* Each column of taps by itself. */
static void FC_FN(sum_taps)(const fc_grad_weight_args *a, FC_FN(fc_slot) *s, const fc_part *p, ptrdiff_t vectors,
                            const fc_pixels *at, const FC_FN(fc_rows) *r, fc_panel *panel) {
    const ptrdiff_t size = p->channels * vectors * FC_LANES;
    for (ptrdiff_t kw = 0; kw < a->tap_cols; kw++) {
        panel->first = r->fresh;
        for (ptrdiff_t i = a->cols.first[kw]; i < a->cols.first[kw + 1]; i++) {
            const int64_t *segment = a->cols.segments + 3 * i;
            ptrdiff_t low;
            panel->count = FC_FN(clip_columns)(at, segment[0], segment[2], &low);
            if (panel->count <= 0)
                continue;
            FC_FN(sum_tap)
            (a, s, p, vectors, p->channels, panel,
             r->x + r->source * a->x_strides.h + (segment[1] + (low - segment[0]) * a->col_step) * a->x_strides.w,
             s->grad_out + (r->row - at->row) * s->grad_out_strides.h + (low - at->col) * s->grad_out_strides.w,
             r->sums + kw * size);
            panel->first = 0;
        }
        if (panel->first)
            memset(r->sums + kw * size, 0, (size_t)size * sizeof(real));
    }
}

/* Outputs with the same columns of taps, whose inputs follow one another: taps and channels are one row of columns. */
static void FC_FN(sum_merged_taps)(const fc_grad_weight_args *a, FC_FN(fc_slot) *s, const fc_part *p, ptrdiff_t vectors,
                                   const fc_pixels *at, const FC_FN(fc_rows) *r, fc_panel *panel) {
    const ptrdiff_t size = p->channels * vectors * FC_LANES;
    if (r->fresh)
        memset(r->sums, 0, (size_t)(a->tap_cols * size) * sizeof(real));
    for (const int64_t *run = a->merged.runs; run < a->merged.runs + 4 * a->merged.run_count; run += 4) {
        const ptrdiff_t e = a->merged.first[run[0]], taps = a->merged.first[run[0] + 1] - e;
        ptrdiff_t low;
        panel->count = FC_FN(clip_columns)(at, run[0], run[1], &low);
        if (panel->count > 0 && taps > 0)
            FC_FN(sum_tap)
            (a, s, p, vectors, taps * p->channels, panel,
             r->x + r->source * a->x_strides.h +
                 (a->merged.sources[e] + (low - run[0]) * a->col_step) * a->x_strides.w,
             s->grad_out + (r->row - at->row) * s->grad_out_strides.h + (low - at->col) * s->grad_out_strides.w,
             r->sums + a->merged.taps[e] * size);
    }
}

/* All columns of a row of taps. */
static void FC_FN(sum_rows)(const fc_grad_weight_args *a, FC_FN(fc_slot) *s, const fc_part *p, ptrdiff_t vectors,
                            const fc_pixels *at, const FC_FN(fc_rows) *r) {
    fc_panel panel = {.entries = s->entries, .entry_count = r->rows * at->images, .x_shift = a->x_strides.c};
    panel.orders = s->orders;
    panel.last = s->target != NULL;
    panel.target_step = a->K;
    panel.channels = s->valid;
    panel.ending = s->streams ? FC_STREAMS : 0;
    panel.x_step = a->col_step * a->x_strides.w;
    panel.w_step = s->grad_out_strides.w;
    panel.per_chunk = panel.entry_count;
    for (ptrdiff_t i = 0; i < at->images; i++)
        for (ptrdiff_t j = 0; j < r->rows; j++) {
            s->entries[2 * (i * r->rows + j)] = i * a->x_strides.n + j * a->row_step * a->x_strides.h;
            s->entries[2 * (i * r->rows + j) + 1] = i * s->grad_out_strides.n + j * s->grad_out_strides.h;
        }
    if (a->merges)
        FC_FN(sum_merged_taps)(a, s, p, vectors, at, r, &panel);
    else
        FC_FN(sum_taps)(a, s, p, vectors, at, r, &panel);
}

/* Some outputs of a block of channels against every input that they meet. sums: [tap][c][lane]; fresh: not set yet. */
static void FC_FN(sum_pixels)(const fc_grad_weight_args *a, FC_FN(fc_slot) *s, const fc_part *p, ptrdiff_t vectors,
                              const fc_pixels *at, real *sums, int fresh) {
    const ptrdiff_t size = a->tap_cols * p->channels * vectors * FC_LANES;
    const real *x = (const real *)(a->interleaved != NULL ? a->interleaved : a->x) + at->n * a->x_strides.n +
                    (p->g * a->x_channels + p->c0 - p->before) * a->x_strides.c;
    for (ptrdiff_t kh = p->kh0; kh < p->kh0 + p->tap_rows; kh++, sums += size) {
        int first = fresh;
        for (ptrdiff_t i = a->rows.first[kh]; i < a->rows.first[kh + 1]; i++) {
            const int64_t *segment = a->rows.segments + 3 * i;
            const ptrdiff_t low = segment[0] > at->row ? segment[0] : at->row;
            const ptrdiff_t end = segment[0] + segment[2] < at->row + at->rows ? segment[0] + segment[2] : at->row + at->rows;
            if (low >= end)
                continue;
            const FC_FN(fc_rows) rows = {
                low, segment[1] + (low - segment[0]) * a->row_step, end - low, x, sums, first,
            };
            FC_FN(sum_rows)(a, s, p, vectors, at, &rows);
            first = 0;
        }
        if (first)
            memset(sums, 0, (size_t)size * sizeof(real));
    }
}
