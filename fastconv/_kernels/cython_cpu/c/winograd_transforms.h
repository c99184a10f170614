/* The transforms of Winograd's minimal filtering along one axis, for tiles of 2 and of 4 outputs of 3 taps.
 *
 *   out = A' [(G weight) * (B' source)]
 *
 * and, as the adjoint of that as a function of the weight,
 *
 *   grad_weight = G' [(A grad_out) * (B' source)]
 *
 * F(2, 3) has the points 0, 1, -1 and infinity; F(4, 3) has 0, a, -a, b, -b and infinity with a = 5/8 and b = 3/2, whose
 * products are exact and for which errors were measured to be smallest (B. Barabasz et al., "Error analysis and improving
 * the accuracy of Winograd convolution for deep neural networks", 2020, on the choice of points). */
#include "vector.h"

#ifndef FASTCONV_WINOGRAD_TRANSFORMS_H
#define FASTCONV_WINOGRAD_TRANSFORMS_H
#define FC_WINOGRAD_SIZE 6 /* of the larger tile's source */
#define FC_A ((real)0.625)
#define FC_B ((real)1.5)
#define FC_A2 (FC_A * FC_A)
#define FC_B2 (FC_B * FC_B)
/* What becomes points: pixels of the source under a tile, or the gradients of its targets. */
enum { FC_SOURCES, FC_GRADIENTS };
#endif

/* B': from the source under a tile to what is multiplied. */
FC_INLINE void FC_FN(source_transform)(const int size, const vec *d, vec *t) {
    if (size == 2) {
        t[0] = d[0] - d[2];
        t[1] = d[1] + d[2];
        t[2] = d[2] - d[1];
        t[3] = d[1] - d[3];
        return;
    }
    const vec even_a = d[4] - FC_B2 * d[2], odd_a = FC_A * (d[3] - FC_B2 * d[1]);
    const vec even_b = d[4] - FC_A2 * d[2], odd_b = FC_B * (d[3] - FC_A2 * d[1]);
    t[0] = FC_A2 * FC_B2 * d[0] + (d[4] - (FC_A2 + FC_B2) * d[2]);
    t[1] = even_a + odd_a;
    t[2] = even_a - odd_a;
    t[3] = even_b + odd_b;
    t[4] = even_b - odd_b;
    t[5] = FC_A2 * FC_B2 * d[1] + (d[5] - (FC_A2 + FC_B2) * d[3]);
}

/* G: from three taps to what is multiplied. */
FC_INLINE void FC_FN(weight_transform)(const int size, const vec *g, vec *u) {
    if (size == 2) {
        const vec even = (real)0.5 * (g[0] + g[2]), odd = (real)0.5 * g[1];
        u[0] = g[0];
        u[1] = even + odd;
        u[2] = even - odd;
        u[3] = g[2];
        return;
    }
    const real scale_a = 1 / (2 * FC_A2 * (FC_A2 - FC_B2)), scale_b = 1 / (2 * FC_B2 * (FC_B2 - FC_A2));
    const vec even_a = scale_a * (g[0] + FC_A2 * g[2]), odd_a = (scale_a * FC_A) * g[1];
    const vec even_b = scale_b * (g[0] + FC_B2 * g[2]), odd_b = (scale_b * FC_B) * g[1];
    u[0] = (1 / (FC_A2 * FC_B2)) * g[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = g[2];
}

/* A': from products to a tile. */
FC_INLINE void FC_FN(target_transform)(const int size, const vec *m, vec *y) {
    if (size == 2) {
        y[0] = (m[0] + m[1]) + m[2];
        y[1] = (m[1] - m[2]) - m[3];
        return;
    }
    const vec even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
    y[0] = (m[0] + even_a) + even_b;
    y[1] = FC_A * odd_a + FC_B * odd_b;
    y[2] = FC_A2 * even_a + FC_B2 * even_b;
    y[3] = (FC_A2 * FC_A) * odd_a + ((FC_B2 * FC_B) * odd_b + m[5]);
}

/* A: from the gradients of a tile to what is multiplied. */
FC_INLINE void FC_FN(grad_transform)(const int size, const vec *y, vec *m) {
    if (size == 2) {
        m[0] = y[0];
        m[1] = y[0] + y[1];
        m[2] = y[0] - y[1];
        m[3] = -y[1];
        return;
    }
    const vec even_a = y[0] + FC_A2 * y[2], odd_a = FC_A * (y[1] + FC_A2 * y[3]);
    const vec even_b = y[0] + FC_B2 * y[2], odd_b = FC_B * (y[1] + FC_B2 * y[3]);
    m[0] = y[0];
    m[1] = even_a + odd_a;
    m[2] = even_a - odd_a;
    m[3] = even_b + odd_b;
    m[4] = even_b - odd_b;
    m[5] = y[3];
}

FC_INLINE void FC_FN(point_transform)(const int kind, const int size, const vec *d, vec *t) {
    if (kind == FC_GRADIENTS)
        FC_FN(grad_transform)(size, d, t);
    else
        FC_FN(source_transform)(size, d, t);
}

/* G': from sums of products to three taps. */
FC_INLINE void FC_FN(tap_transform)(const int size, const vec *u, vec *g) {
    if (size == 2) {
        const vec even = (real)0.5 * (u[1] + u[2]);
        g[0] = u[0] + even;
        g[1] = (real)0.5 * (u[1] - u[2]);
        g[2] = even + u[3];
        return;
    }
    const real scale_a = 1 / (2 * FC_A2 * (FC_A2 - FC_B2)), scale_b = 1 / (2 * FC_B2 * (FC_B2 - FC_A2));
    const vec even_a = scale_a * (u[1] + u[2]), odd_a = scale_a * (u[1] - u[2]);
    const vec even_b = scale_b * (u[3] + u[4]), odd_b = scale_b * (u[3] - u[4]);
    g[0] = (1 / (FC_A2 * FC_B2)) * u[0] + (even_a + even_b);
    g[1] = FC_A * odd_a + FC_B * odd_b;
    g[2] = FC_A2 * even_a + (FC_B2 * even_b + u[5]);
}
