/* Sums over a padded buffer for vectors of one width (wide): tiles of up to 4 rows x one vector of columns.
 * Included for whole vectors and for halves, which narrow planes and the ends of rows need. */

#ifndef FASTCONV_DEPTHWISE_TILE_H
#define FASTCONV_DEPTHWISE_TILE_H
enum { FC_TILE_ROWS = 4 };

/* Calls function(R, ...) with a constant. */
#define FC_WITH_ROWS(function, R, ...)            \
    switch (R) {                                  \
        case 1: function(1, __VA_ARGS__); break;  \
        case 2: function(2, __VA_ARGS__); break;  \
        case 3: function(3, __VA_ARGS__); break;  \
        default: function(4, __VA_ARGS__); break; \
    }

#define FC_EACH_ROW(M) M(0) M(1) M(2) M(3)
#define FC_EACH_NINE(M) M(0, 0) M(0, 1) M(0, 2) M(1, 0) M(1, 1) M(1, 2) M(2, 0) M(2, 1) M(2, 2)

/* All source rows of a tile of R rows in steps of S, each with its three columns. Row b is tap row b - r * S of row r. */
#define FC_EACH_SOURCE(M) \
    FC_SOURCE(M, 0) FC_SOURCE(M, 1) FC_SOURCE(M, 2) FC_SOURCE(M, 3) FC_SOURCE(M, 4) \
    FC_SOURCE(M, 5) FC_SOURCE(M, 6) FC_SOURCE(M, 7) FC_SOURCE(M, 8)
#define FC_SOURCE(M, b)                                                 \
    if (b <= (R - 1) * S + 2) {                                         \
        const real *row = x + (b)*pitch;                                \
        FC_SOURCE_TAP(M, b, 0) FC_SOURCE_TAP(M, b, 1) FC_SOURCE_TAP(M, b, 2) \
    }
#define FC_SOURCE_TAP(M, b, k)                             \
    {                                                      \
        wide x_ = *(const wide *)(row + place_##k);        \
        FC_LOAD_ONCE(x_);                                  \
        M(b, k, 0) M(b, k, 1) M(b, k, 2) M(b, k, 3)        \
    }
#define FC_IN_WINDOW(b, r) (r < R && (b) - (r)*S >= 0 && (b) - (r)*S <= 2)

/* A number less zero is itself, also where it is minus zero: no instruction but the broadcast. */
#define FC_NINE_LOAD(kh, kw) .w_##kh##_##kw = job->weights[kh * 3 + kw] - (wide){0},
#define FC_NINE_PICK(kh, kw) ((kh) == 0 ? w->w_0_##kw : (kh) == 1 ? w->w_1_##kw : w->w_2_##kw)
#define FC_NINE_USE(b, k, r) \
    if (FC_IN_WINDOW(b, r)) acc_##r += FC_NINE_PICK((b) - (r)*S, k) * x_;

#define FC_ROW_ZERO(r) wide acc_##r = {0};
#define FC_ROW_TAP(r) \
    if (r < R) acc_##r += w * *(const wide *)(x + r * step);

/* Where a vector is wider than what is left of the row, the next row overwrites the rest, but after the last one. */
#define FC_ROW_STORE(r)                                                                \
    if (r < R) {                                                                       \
        const wide sum = FC_W(active)(acc_##r + offset, job->activation);              \
        if (r == R - 1 && valid > 0)                                                   \
            fc_copy(target + r * job->target_pitch, &sum, valid * (ptrdiff_t)sizeof(real)); \
        else                                                                           \
            *(wide *)(target + r * job->target_pitch) = sum;                           \
    }
#endif

/* What an activation makes of sums; NaN stays NaN and -0 stays -0. */
FC_INLINE wide FC_W(active)(wide sum, int activation) {
    typedef __typeof__(sum < sum) mask;
    const wide six = (real)6 - (wide){0};
    if (activation & FC_RELU) sum = (wide)(~(sum < 0) & (mask)sum);
    if (activation & FC_RELU6) sum = (wide)(((sum > 6) & (mask)six) | (~(sum > 6) & (mask)sum));
    return sum;
}

typedef struct {
    wide w_0_0, w_0_1, w_0_2, w_1_0, w_1_1, w_1_2, w_2_0, w_2_1, w_2_2;
} FC_W(nine);

/* Elements to store of the last row of a tile that begins at column j and ends before row end; 0: whole vectors. */
static inline ptrdiff_t FC_W(valid)(const FC_FN(plane_job) *job, ptrdiff_t j, ptrdiff_t end) {
    const ptrdiff_t left = job->columns - j;
    return left < FC_WIDE_LANES && !job->roomy && end == job->rows ? left : 0;
}

FC_INLINE void FC_W(nine_tile)(const int R, const int S, const FC_FN(plane_job) *job, const FC_W(nine) *w,
                               ptrdiff_t row_0, ptrdiff_t begin, ptrdiff_t end) {
    const ptrdiff_t pitch = job->pitch;
    const ptrdiff_t place_0 = job->places[0], place_1 = job->places[1], place_2 = job->places[2];
    const wide offset = job->bias - (wide){0};
    for (ptrdiff_t j = begin; j < end; j += FC_WIDE_LANES) {
        const ptrdiff_t valid = FC_W(valid)(job, j, row_0 + R);
        const real *x = job->source + row_0 * S * pitch + j;
        real *target = job->target + row_0 * job->target_pitch + j;
        FC_EACH_ROW(FC_ROW_ZERO)
        FC_EACH_SOURCE(FC_NINE_USE)
        FC_EACH_ROW(FC_ROW_STORE)
    }
}

/* Three neighbouring tap rows and any three tap columns: sources are loaded once for all rows, weights stay in
 * registers. */
FC_INLINE void FC_W(nine_rows)(const int S, const FC_FN(plane_job) *job, ptrdiff_t begin, ptrdiff_t end) {
    const FC_W(nine) w = {FC_EACH_NINE(FC_NINE_LOAD)};
    for (ptrdiff_t row = 0; row < job->rows; row += FC_TILE_ROWS) {
        const ptrdiff_t rows = job->rows - row < FC_TILE_ROWS ? job->rows - row : FC_TILE_ROWS;
        if (begin == 0) FC_FN(prefetch_ahead)(&job->ahead, row, rows);
        FC_WITH_ROWS(FC_W(nine_tile), rows, S, job, &w, row, begin, end)
    }
}

FC_INLINE void FC_W(taps_tile)(const int R, const FC_FN(plane_job) *job, ptrdiff_t row_0, ptrdiff_t begin,
                               ptrdiff_t end) {
    const ptrdiff_t step = job->step * job->pitch;
    const wide offset = job->bias - (wide){0};
    for (ptrdiff_t j = begin; j < end; j += FC_WIDE_LANES) {
        const ptrdiff_t valid = FC_W(valid)(job, j, row_0 + R);
        const real *source = job->source + row_0 * step + j;
        real *target = job->target + row_0 * job->target_pitch + j;
        FC_EACH_ROW(FC_ROW_ZERO)
        for (ptrdiff_t t = 0; t < job->taps; t++) {
            const real *x = source + job->places[t];
            const wide w = job->weights[t] - (wide){0};
            FC_EACH_ROW(FC_ROW_TAP)
        }
        FC_EACH_ROW(FC_ROW_STORE)
    }
}

/* Columns begin, begin + lanes, ... below end in all rows of a job. */
static void FC_W(plane_columns)(const FC_FN(plane_job) *job, ptrdiff_t begin, ptrdiff_t end) {
    if (job->nine && job->step == 1) {
        FC_W(nine_rows)(1, job, begin, end);
    } else if (job->nine && job->step == 2) {
        FC_W(nine_rows)(2, job, begin, end);
    } else {
        for (ptrdiff_t row = 0; row < job->rows; row += FC_TILE_ROWS) {
            FC_WITH_ROWS(FC_W(taps_tile), job->rows - row, job, row, begin, end)
        }
    }
}
