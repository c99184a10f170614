/* What the elementwise passes are told; filled by elementwise.pyx. */
#ifndef FASTCONV_ELEMENTWISE_ARGS_H
#define FASTCONV_ELEMENTWISE_ARGS_H

#include "axis.h"
#include "isa.h"

/* Elements of one item. */
enum { FC_ELEMENTS = 1024 };

/* target[i] from a[i] and b[i]; streams: the target is aligned to vectors and goes past the caches. ends: those of
 * contract.HARDTANH_SETTINGS. */
typedef struct {
    const void *a, *b;
    const double *ends;
    void *target;
    ptrdiff_t count;
    int streams;
} fc_elementwise_args;

/* One step of an optimiser: settings are those of contract.SGD_SETTINGS or contract.ADAM_SETTINGS. Arrays that an
 * optimiser does not keep are NULL. */
typedef struct {
    const void *grad;
    const double *settings;
    void *parameter, *first, *second, *largest;
    ptrdiff_t count;
} fc_step_args;

/* Settings are those of contract.DROPOUT_SETTINGS. */
typedef struct {
    const void *x;
    const double *settings;
    void *out;
    ptrdiff_t count;
} fc_dropout_args;

typedef struct {
    fc_kernel relu_forward, relu_grad_input, add_relu_forward, hardtanh_forward, hardtanh_grad_input;
    fc_kernel accumulate, dropout, sgd_step, adam_step;
} fc_elementwise_kernels;

FC_TABLES(fc_elementwise)

#endif
