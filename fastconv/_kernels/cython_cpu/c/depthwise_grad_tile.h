/* grad_weight over a padded buffer for vectors of one width; included as depthwise_tile.h is. */

#ifndef FASTCONV_DEPTHWISE_GRAD_TILE_H
#define FASTCONV_DEPTHWISE_GRAD_TILE_H
#define FC_NINE_ZERO(kh, kw) wide acc_##kh##_##kw = {0};
#define FC_NINE_ADD(kh, kw) *(wide *)(sums + (kh * 3 + kw) * FC_LANES) += acc_##kh##_##kw;
#define FC_GRAD_ROW(r) const wide g_##r = r < R ? *(const wide *)(grad_out + r * job->grad_pitch) : (wide){0};
#define FC_GRAD_NINE(b, k, r)                                          \
    if (FC_IN_WINDOW(b, r) && (b) - (r)*S == 0) acc_0_##k += g_##r * x_; \
    if (FC_IN_WINDOW(b, r) && (b) - (r)*S == 1) acc_1_##k += g_##r * x_; \
    if (FC_IN_WINDOW(b, r) && (b) - (r)*S == 2) acc_2_##k += g_##r * x_;

/* One tile inside the loops of grad_nine, whose sums it adds to. */
#define FC_GRAD_TILE(rows)                                                      \
    {                                                                           \
        enum { R = rows };                                                      \
        const real *grad_out = job->grad_out + row_0 * job->grad_pitch + j;     \
        const real *x = job->source + row_0 * S * pitch + j;                    \
        FC_EACH_ROW(FC_GRAD_ROW)                                                \
        FC_EACH_SOURCE(FC_GRAD_NINE)                                            \
    }

#define FC_GRAD_ACC_ADD(r) \
    if (r < R) *(wide *)(sums + r * FC_LANES) += acc_##r;
#define FC_GRAD_ACC_USE(r) \
    if (r < R) acc_##r += g * *(const wide *)(x + places[r]);
#endif

/* sums[tap] += those of columns begin .. end - 1; the gradient is zero beyond its columns. */
FC_INLINE void FC_W(grad_nine)(const int S, const FC_FN(grad_job) *job, ptrdiff_t begin, ptrdiff_t end, real *sums) {
    const ptrdiff_t pitch = job->pitch;
    const ptrdiff_t place_0 = job->places[0], place_1 = job->places[1], place_2 = job->places[2];
    FC_EACH_NINE(FC_NINE_ZERO)
    ptrdiff_t row_0 = 0;
    for (; row_0 + 4 <= job->rows; row_0 += 4) {
        if (begin == 0) FC_FN(prefetch_ahead)(&job->ahead, row_0, 4);
        for (ptrdiff_t j = begin; j < end; j += FC_WIDE_LANES) FC_GRAD_TILE(4)
    }
    for (ptrdiff_t j = begin; j < end; j += FC_WIDE_LANES) {
        if (job->rows - row_0 == 3) FC_GRAD_TILE(3)
        if (job->rows - row_0 == 2) FC_GRAD_TILE(2)
        if (job->rows - row_0 == 1) FC_GRAD_TILE(1)
    }
    FC_EACH_NINE(FC_NINE_ADD)
}

/* R taps at a time. */
FC_INLINE void FC_W(grad_taps)(const int R, const FC_FN(grad_job) *job, const ptrdiff_t *places, ptrdiff_t begin,
                               ptrdiff_t end, real *sums) {
    FC_EACH_ROW(FC_ROW_ZERO)
    for (ptrdiff_t row = 0; row < job->rows; row++)
        for (ptrdiff_t j = begin; j < end; j += FC_WIDE_LANES) {
            const wide g = *(const wide *)(job->grad_out + row * job->grad_pitch + j);
            const real *x = job->source + row * job->step * job->pitch + j;
            FC_EACH_ROW(FC_GRAD_ACC_USE)
        }
    FC_EACH_ROW(FC_GRAD_ACC_ADD)
}

static void FC_W(grad_columns)(const FC_FN(grad_job) *job, ptrdiff_t begin, ptrdiff_t end, real *sums) {
    if (job->nine && job->step == 1) {
        FC_W(grad_nine)(1, job, begin, end, sums);
    } else if (job->nine && job->step == 2) {
        FC_W(grad_nine)(2, job, begin, end, sums);
    } else {
        for (ptrdiff_t t = 0; t < job->taps; t += FC_TILE_ROWS) {
            FC_WITH_ROWS(FC_W(grad_taps), job->taps - t, job, job->places + t, begin, end, sums + t * FC_LANES)
        }
    }
}
