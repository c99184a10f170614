/* grad_weight: tiles of output channels x input channels, summed over pixels. */
#include "grad_weight_args.h"
#include "panel.h"
#include "transpose.h"

#ifndef FASTCONV_CONV2D_GRAD_WEIGHT_H
#define FASTCONV_CONV2D_GRAD_WEIGHT_H
/* What an item owns of grad_weight: group g, blocks of output channels, channels c0 .., rows of taps kh0 .. */
typedef struct {
    ptrdiff_t g, k_block, k_end, c0, channels, kh0, tap_rows;
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

/* What one slot works with: grad_out as the microkernel reads it, with its strides; what to prefetch. */
typedef struct {
    int64_t *entries;
    real *sums, *total, *packed;
    const real *grad_out, *next_x, *next_grad_out;
    fc_strides grad_out_strides;
    ptrdiff_t next_pixels; /* per tile */
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
    const ptrdiff_t most = FC_FN(columns)[vectors - 1], tiles = (channels + most - 1) / most;
    for (ptrdiff_t t = 0; t < tiles; t++) {
        const ptrdiff_t c = t * channels / tiles, width = (t + 1) * channels / tiles - c;
        FC_FN(prefetch_pixels)(a, s, p);
        FC_FN(panels)[vectors - 1][width - 1]
        (panel, x + c * a->x_strides.c, grad_out, sums + c * vectors * FC_LANES, NULL);
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
    const real *x = (const real *)(a->interleaved != NULL ? a->interleaved : a->x) + at->n * a->x_strides.n + (p->g * a->C + p->c0) * a->x_strides.c;
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
    s->next_x = (const real *)a->x + at.n * a->x_strides.n + (p->g * a->C + p->c0) +
                at.row * a->row_step * a->x_strides.h + at.col * a->col_step * a->x_strides.w;
    s->next_grad_out = (const real *)a->grad_out + at.n * a->grad_out_strides.n + p->g * a->K +
                       a->k_blocks[2 * p->k_block] * FC_LANES + at.row * a->grad_out_strides.h +
                       at.col * a->grad_out_strides.w;
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
    real *target = (real *)a->grad_weight + (p->g * a->C + p->c0) * a->K + k.k0;
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
    return p;
}

static FC_FN(fc_slot) FC_FN(open_slot)(const fc_grad_weight_args *a, ptrdiff_t slot) {
    FC_FN(fc_slot) s = {.sums = (real *)(a->scratch + slot * a->scratch_bytes)};
    s.total = s.sums + a->sums;
    s.packed = s.total + a->sums;
    s.entries = (int64_t *)(s.packed + a->packed);
    return s;
}

/* x with its channels together, where they are few and lie in planes: one item per row. */
static void FC_FN(interleave)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_grad_weight_args *a = ctx;
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t n = item / a->x_rows, row = item % a->x_rows, cols = a->x_strides.h / a->C;
        const real *from = (const real *)a->x + (n * a->C * a->x_rows + row) * cols;
        real *to = (real *)a->interleaved + item * a->x_strides.h;
        for (ptrdiff_t c = 0; c < a->C; c++)
            for (ptrdiff_t w = 0; w < cols; w++) to[w * a->C + c] = from[c * a->x_rows * cols + w];
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
        FC_FN(sum_pieces)(a, &s, &p, segment * a->pieces / a->segments, (segment + 1) * a->pieces / a->segments);
        if (a->segments > 1)
            memcpy((real *)a->partials + item * a->sums, s.total, (size_t)a->sums * sizeof(real));
        else
            FC_FN(store_part)(a, &s, &p);
    }
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
