/* Exponentials and logarithms without a branch or a call: compilers make vectors of loops over them. */
#include <stdint.h>
#include <string.h>

#include "vector.h"

#if !defined(__clang__)
/* GCC makes no vectors where arithmetic depends on a comparison: a trap might come that should not. */
#pragma GCC optimize("no-trapping-math")
#endif
#undef FC_EXP_BITS
#undef FC_EXP_BIAS
#undef FC_EXP_ROUND
#undef FC_EXP_LOWEST
#undef FC_EXP_TERMS
#if FC_REAL_BYTES == 4
#define FC_EXP_BITS 23
#define FC_EXP_BIAS 127
#define FC_EXP_ROUND 12582912.0f
#define FC_EXP_LOWEST -104.0f
/* Of (exp(r) - 1 - r) / r^2 for |r| < log(2) / 2: the error is at most 3e-9 of exp(r); below, 8e-18. */
#define FC_EXP_TERMS {0.499999933728f, 0.166665195237f, 0.0416684011629f, 0.0083688511174f, 0.00138143163079f}
#else
#define FC_EXP_BITS 52
#define FC_EXP_BIAS 1023
#define FC_EXP_ROUND 6755399441055744.0
#define FC_EXP_LOWEST -746.0
#define FC_EXP_TERMS                                                                              \
    {0.50000000000000104205,    0.1666666666666667468,     0.041666666666519776124,               \
     0.0083333333333220369961,  0.0013888888948496266038,  0.00019841269887110347591,             \
     0.000024801486563471478253, 2.7557241750305072834e-6, 2.76329426414828635e-7, 2.5110270500686869897e-8}
#endif

FC_INLINE real FC_FN(real_of_bits)(FC_UNSIGNED bits) {
    real value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

FC_INLINE FC_UNSIGNED FC_FN(bits_of_real)(real value) {
    FC_UNSIGNED bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* e to the power of x below about log(largest real): within 1.1 units of the last place, and half a unit more where the
 * result is subnormal; NaN -> NaN.
 *
 * x = k log(2) + r. Adding FC_EXP_ROUND rounds to whole numbers and leaves k + 2 FC_EXP_BIAS, which is positive, in the
 * last bits; its two halves, exponents of normal numbers, give 2^k in two factors, so that what is below the normal
 * numbers is rounded once. */
FC_INLINE real FC_FN(exponential)(real x) {
    static const real terms[] = FC_EXP_TERMS;
    const real origin = FC_EXP_ROUND + 2 * FC_EXP_BIAS;
    const real within = x < FC_EXP_LOWEST ? (real)FC_EXP_LOWEST : x;
    const real shifted = within * (real)1.4426950408889634 + origin, k = shifted - origin;
    /* The first part of log(2) has so few bits that its product is exact. */
    const real r = within - k * (real)0.693145751953125 - k * (real)1.42860682030941723212e-6;
    const FC_UNSIGNED bits = FC_FN(bits_of_real)(shifted), half = bits >> 1;
    real sum = terms[sizeof(terms) / sizeof(real) - 1];
    for (int i = (int)(sizeof(terms) / sizeof(real)) - 2; i >= 0; i--) sum = sum * r + terms[i];
    sum = (sum * r * r + r) + 1;
    return sum * FC_FN(real_of_bits)(half << FC_EXP_BITS) * FC_FN(real_of_bits)((bits - half) << FC_EXP_BITS);
}

#ifndef FASTCONV_EXPONENTIAL_H
#define FASTCONV_EXPONENTIAL_H
/* The natural logarithm of positive normal numbers, within 1 unit of the last place; NaN -> NaN.
 *
 * x = 2^k m with m around 1, and log(m) from s = (m - 1) / (m + 1), by the terms of fdlibm (Sun Microsystems 1993). */
FC_INLINE double fc_logarithm(double x) {
    static const double terms[] = {6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01,
                                   2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01,
                                   1.479819860511658591e-01};
    const uint64_t root_half = 0x3fe6a09e667f3bcdu, two_52 = 0x4330000000000000u;
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    bits += 0x3ff0000000000000u - root_half;
    const uint64_t exponent = bits >> 52 | two_52, mantissa = (bits & 0xfffffffffffffu) + root_half;
    double k, m;
    memcpy(&k, &exponent, sizeof(k));
    memcpy(&m, &mantissa, sizeof(m));
    k -= 4503599627370496.0 + 1023;
    const double f = m - 1, s = f / (2 + f), z = s * s, half_square = 0.5 * f * f;
    double sum = terms[6];
    for (int i = 5; i >= 0; i--) sum = sum * z + terms[i];
    const double small = s * (half_square + z * sum) + k * 1.90821492927058770002e-10;
    return k * 6.93147180369123816490e-01 - ((half_square - small) - f) + (x - x);
}
#endif
