/* The machine's limits. The multiply-add peak: more independent chains than latency x ports, nothing but registers. */
#include "machine_args.h"
#include "tile.h"
#include "bandwidth.h"

/* Every chain starts elsewhere: equal ones would be computed once. */
#define FC_PEAK_CHAIN(o, p) vec chain_##o##_##p = seed + (real)(o * FC_TILE_COLUMNS + p);
#define FC_PEAK_STEP(o, p) chain_##o##_##p = chain_##o##_##p * factor + seed;
#define FC_PEAK_SUM(o, p) total += chain_##o##_##p;

static void FC_FN(peak)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    fc_peak_args *a = ctx;
    const vec seed = (vec){0} + (real)1e-3, factor = (vec){0} + (real)a->factor;
    vec total = {0};
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        FC_COLUMNS(FC_PEAK_CHAIN, 0) FC_COLUMNS(FC_PEAK_CHAIN, 1)
        for (ptrdiff_t step = 0; step < a->steps; step++) {
            FC_COLUMNS(FC_PEAK_STEP, 0) FC_COLUMNS(FC_PEAK_STEP, 1)
        }
        FC_COLUMNS(FC_PEAK_SUM, 0) FC_COLUMNS(FC_PEAK_SUM, 1)
    }
    a->sink = (double)total[0];
}

const fc_machine_kernels FC_FN(fc_machine) = {
    .lanes = FC_LANES,
    .chains = 2 * FC_TILE_COLUMNS,
    .peak = FC_FN(peak),
    .read = FC_FN(read),
    .write = FC_FN(write),
    .copy = FC_FN(copy),
    .stream = FC_FN(stream),
};
