"""Exponentials and logarithms without a branch or a call: LLVM makes vectors of loops over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastconv._kernels.numba_cpu.settings import serial

_ROOT_HALF = 0x3FE6A09E667F3BCD
_MANTISSA_BITS = {types.float32: 23, types.float64: 52}


@dataclass(frozen=True)
class _Format:
    """``terms`` are those of (exp(r) - 1 - r) / r^2 for |r| < log(2) / 2, to 3e-9 of exp(r) or 8e-18."""

    bias: int
    round: float
    lowest: float
    terms: tuple[float, ...]


_FORMATS = {
    "float32": _Format(
        127, 12582912.0, -104.0, (0.499999933728, 0.166665195237, 0.0416684011629, 0.0083688511174, 0.00138143163079)
    ),
    "float64": _Format(
        1023,
        6755399441055744.0,
        -746.0,
        (
            *(0.50000000000000104205, 0.1666666666666667468, 0.041666666666519776124, 0.0083333333333220369961),
            *(0.0013888888948496266038, 0.00019841269887110347591, 0.000024801486563471478253),
            *(2.7557241750305072834e-6, 2.76329426414828635e-7, 2.5110270500686869897e-8),
        ),
    ),
}
# Of fdlibm (Sun Microsystems 1993).
_LOGARITHM_TERMS = (
    *(6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01),
    *(1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01),
)


def exponential(dtype: str):
    """e to the power of x below about log(largest number): within 1.1 units of the last place, and half a unit more
    where the result is subnormal; NaN -> NaN.

    x = k log(2) + r. Adding ``round`` rounds to whole numbers, and leaves k + 2 bias > 0 in the last bits.
    """
    scalar, made = np.dtype(dtype).type, _FORMATS[dtype]
    origin, lowest, polynomial = (
        scalar(made.round + 2 * made.bias),
        scalar(made.lowest),
        _polynomial(scalar, made.terms),
    )
    # The first part of log(2) has so few bits that its product is exact.
    per_log, log, rest_of_log = scalar(1.4426950408889634), scalar(0.693145751953125), scalar(1.42860682030941723212e-6)
    one = scalar(1)

    @serial
    def run(x):
        within = lowest if x < lowest else x
        shifted = within * per_log + origin
        k = shifted - origin
        r = within - k * log - k * rest_of_log
        return _times_power(polynomial(r) * r * r + r + one, shifted)

    return run


def logarithm():
    """The natural logarithm of positive normal float64, within 1 unit of the last place; NaN -> NaN.

    x = 2^k m with m around 1, and log(m) from s = (m - 1) / (m + 1).
    """
    polynomial = _polynomial(np.float64, _LOGARITHM_TERMS)

    @serial
    def run(x):
        k, m = _power_and_rest(x)
        f = m - 1.0
        s, half_square = f / (2.0 + f), 0.5 * f * f
        z = s * s
        small = s * (half_square + z * polynomial(z)) + k * 1.90821492927058770002e-10
        return k * 6.93147180369123816490e-01 - ((half_square - small) - f) + (x - x)

    return run


def _polynomial(scalar, terms):
    first = scalar(terms[0])
    if len(terms) == 1:

        @serial
        def constant(r):
            return first

        return constant
    others = _polynomial(scalar, terms[1:])

    @serial
    def polynomial(r):
        return others(r) * r + first

    return polynomial


@intrinsic
def _times_power(typingctx, value, shifted):
    """The value times 2^k, where the last bits of ``shifted`` are k + 2 bias.

    Their two halves, exponents of normal numbers, give two factors, so that what is below these is rounded once.
    """

    def codegen(context, builder, signature, args):
        real, mantissa = args[0].type, _MANTISSA_BITS[value]
        integer = ir.IntType(32 if value == types.float32 else 64)
        bits = builder.bitcast(args[1], integer)
        half = builder.lshr(bits, integer(1))
        factors = (
            builder.bitcast(builder.shl(part, integer(mantissa)), real) for part in (half, builder.sub(bits, half))
        )
        result = args[0]
        for factor in factors:
            result = builder.fmul(result, factor)
        return result

    return value(value, value), codegen


@intrinsic
def _power_and_rest(typingctx, x):
    """k and m with x = 2^k m, and m between the root of 1/2 and that of 2."""

    def codegen(context, builder, signature, args):
        word, real = ir.IntType(64), ir.DoubleType()
        bits = builder.add(builder.bitcast(args[0], word), word(0x3FF0000000000000 - _ROOT_HALF))
        # 2^52 + k + the bias, as a number.
        exponent = builder.or_(builder.lshr(bits, word(52)), word(0x4330000000000000))
        mantissa = builder.add(builder.and_(bits, word(0xFFFFFFFFFFFFF)), word(_ROOT_HALF))
        k = builder.fsub(builder.bitcast(exponent, real), real(2.0**52 + 1023))
        return context.make_tuple(builder, signature.return_type, [k, builder.bitcast(mantissa, real)])

    return types.UniTuple(types.float64, 2)(types.float64), codegen
