/* Loops that read the machine's limits. */
#ifndef FASTCONV_MACHINE_ARGS_H
#define FASTCONV_MACHINE_ARGS_H

#include "axis.h"
#include "isa.h"

/* Each item runs ``steps`` rounds of ``chains`` multiply-adds of one vector; ``sink`` keeps the result alive. */
typedef struct {
    ptrdiff_t steps;
    double factor;
    volatile double sink;
} fc_peak_args;

/* Each item goes ``passes`` times over its own ``size`` bytes of ``source`` and ``target``, a multiple of 4096. */
typedef struct {
    const char *source;
    char *target;
    ptrdiff_t size, passes;
    volatile double sink;
} fc_bandwidth_args;

/* Each item goes over ``blocks`` blocks of its own: it reads ``read`` bytes of ``source`` and writes ``written`` bytes of
 * ``target``, both a multiple of 256, before the next one; blocks of ``target`` lie ``step`` bytes apart. */
typedef struct {
    const char *source;
    char *target;
    ptrdiff_t read, written, step, blocks;
    volatile double sink;
} fc_move_args;

typedef struct {
    ptrdiff_t lanes, chains;
    fc_kernel peak, read, write, copy, stream, move, move_stream;
} fc_machine_kernels;

FC_TABLES(fc_machine)

#endif
