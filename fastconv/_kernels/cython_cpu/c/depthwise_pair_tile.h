/* grad_input of a stride of two over a padded buffer, all four phases at once, for vectors of one width; included as
 * depthwise_tile.h is. */

#ifndef FASTCONV_DEPTHWISE_PAIR_TILE_H
#define FASTCONV_DEPTHWISE_PAIR_TILE_H
/* Steps of rows between which what comes next is asked for. */
enum { FC_PAIR_ROWS = 8 };
/* Two rows of targets, the upper one first: what it writes beyond its end, the lower one overwrites. */
#define FC_PAIR_STORE(is_last, target, even, odd)                                        \
    if (is_last && valid > 0) {                                                          \
        wide both[2];                                                                    \
        FC_WIDE_JOIN((const real *)&(even), (const real *)&(odd), (real *)both);         \
        for (ptrdiff_t i = 0; i < valid; i++) (target)[i] = ((const real *)both)[i];      \
    } else {                                                                             \
        FC_WIDE_JOIN((const real *)&(even), (const real *)&(odd), target);               \
    }
#define FC_PAIR_WEIGHT(name, number) const wide name = weights[number] - (wide){0};
#endif

/* One tap meets the targets of phase `row` of rows and phase `col` of columns, the source itself where that is 0, else the
 * next one; two meet the others, the source and the next one. */
FC_INLINE void FC_W(pair_rows)(const int row, const int col, const FC_FN(plane_job) *jobs, ptrdiff_t first,
                               ptrdiff_t last, ptrdiff_t j) {
    const FC_FN(plane_job) *job = jobs + 2 * row + col;
    const ptrdiff_t left = 2 * (job->columns - j), valid = left < 2 * FC_WIDE_LANES ? left : 0, pitch = job->pitch;
    const real *weights = job->weights, *x = job->source + first * pitch + j;
    const wide one = *weights - (wide){0};
    weights = jobs[2 * row + 1 - col].weights;
    FC_PAIR_WEIGHT(one_left, 0) FC_PAIR_WEIGHT(one_right, 1)
    weights = jobs[2 * (1 - row) + col].weights;
    FC_PAIR_WEIGHT(upper_one, 0) FC_PAIR_WEIGHT(lower_one, 1)
    weights = jobs[3 - 2 * row - col].weights;
    FC_PAIR_WEIGHT(upper_left, 0) FC_PAIR_WEIGHT(upper_right, 1)
    FC_PAIR_WEIGHT(lower_left, 2) FC_PAIR_WEIGHT(lower_right, 3)
    wide left_0 = *(const wide *)x, right_0 = *(const wide *)(x + 1);
    real *target = job->target + 2 * first * job->target_pitch + 2 * j;
    for (ptrdiff_t r = first; r < last; r++, target += 2 * job->target_pitch) {
        x += pitch;
        const wide left_1 = *(const wide *)x, right_1 = *(const wide *)(x + 1);
        const wide left = row == 0 ? left_0 : left_1, right = row == 0 ? right_0 : right_1;
        const wide zero = {0};
        const wide single_one = zero + one * (col == 0 ? left : right);
        const wide single_two = zero + one_left * left + one_right * right;
        const wide double_one = zero + upper_one * (col == 0 ? left_0 : right_0) + lower_one * (col == 0 ? left_1 : right_1);
        const wide double_two = zero + upper_left * left_0 + upper_right * right_0 + lower_left * left_1 + lower_right * right_1;
        const wide single_even = col == 0 ? single_one : single_two, single_odd = col == 0 ? single_two : single_one;
        const wide double_even = col == 0 ? double_one : double_two, double_odd = col == 0 ? double_two : double_one;
        const int is_last = r == job->rows - 1;
        if (row == 0) {
            FC_PAIR_STORE(0, target, single_even, single_odd)
            FC_PAIR_STORE(is_last, target + job->target_pitch, double_even, double_odd)
        } else {
            FC_PAIR_STORE(0, target, double_even, double_odd)
            FC_PAIR_STORE(is_last, target + job->target_pitch, single_even, single_odd)
        }
        left_0 = left_1;
        right_0 = right_1;
    }
}

/* A vector of columns of rows first .. last - 1 of each phase. */
static void FC_W(pair_columns)(const FC_FN(plane_job) *jobs, ptrdiff_t first, ptrdiff_t last, ptrdiff_t j) {
    const int row = jobs[0].taps > jobs[2].taps, col = jobs[0].taps > jobs[1].taps;
    if (row == 0 && col == 0) FC_W(pair_rows)(0, 0, jobs, first, last, j);
    if (row == 0 && col == 1) FC_W(pair_rows)(0, 1, jobs, first, last, j);
    if (row == 1 && col == 0) FC_W(pair_rows)(1, 0, jobs, first, last, j);
    if (row == 1 && col == 1) FC_W(pair_rows)(1, 1, jobs, first, last, j);
}
