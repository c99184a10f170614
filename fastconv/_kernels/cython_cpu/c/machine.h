/* The machine's limits. The multiply-add peak: more independent chains than latency x ports, nothing but registers. */
#include "machine_args.h"
#include "vector.h"
#include "bandwidth.h"

#define FC_PEAK_CHAINS 12
#define FC_PEAK_EACH(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)
/* Every chain starts elsewhere: equal ones would be computed once. */
#define FC_PEAK_CHAIN(i) vec chain_##i = seed + (real)i;
#define FC_PEAK_STEP(i) chain_##i = chain_##i * factor + seed;
#define FC_PEAK_SUM(i) total += chain_##i;

static void FC_FN(peak)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    fc_peak_args *a = ctx;
    const vec seed = (vec){0} + (real)1e-3, factor = (vec){0} + (real)a->factor;
    vec total = {0};
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        FC_PEAK_EACH(FC_PEAK_CHAIN)
        for (ptrdiff_t step = 0; step < a->steps; step++) {
            FC_PEAK_EACH(FC_PEAK_STEP)
        }
        FC_PEAK_EACH(FC_PEAK_SUM)
    }
    a->sink = (double)total[0];
}

const fc_machine_kernels FC_FN(fc_machine) = {
    .lanes = FC_LANES,
    .chains = FC_PEAK_CHAINS,
    .peak = FC_FN(peak),
    .read = FC_FN(read),
    .write = FC_FN(write),
    .copy = FC_FN(copy),
    .stream = FC_FN(stream),
    .move = FC_FN(move),
    .move_stream = FC_FN(move_stream),
};
