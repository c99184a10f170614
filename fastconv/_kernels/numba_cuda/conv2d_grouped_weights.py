"""The sum of grad_weight for groups of few channels: a thread has some products of channels, for some taps.

    part[s, g, tap, m, c] = Σ grad_out[n, g*M + m, i, j] * x[n, g*C + c, position(i, tap), position(j, tap)]

over the pixels (n, i, j) of part s. A gradient that a thread has read serves all its taps and channels of x. Threads
add up pixels of their own; then a tree adds up the threads of a group. Neighbouring threads take neighbouring pixels,
or, where channels are last, neighbouring groups.
"""

from functools import cache

from fastconv._kernels.numba_cuda.conv2d_sum import pixel_of
from fastconv._kernels.numba_cuda.conv2d_taps import source_position
from fastconv._kernels.numba_cuda.settings import FLOATS, WORDS, address, compiled, cuda, inlined, int64, integers
from fastconv._kernels.numba_cuda.storage import stored

# (groups, C, M, pixels, pixels of a part, kH, kW, OH, OW, groups of a block); axes of x; strides of grad_out and of x.
ARGUMENTS = {"sizes": 10, "y": 5, "x_axis": 5, "grad_strides": 4, "strides": 4}
# (channels of grad_out, channels of x, taps) of a thread: for groups of up to four channels, and of more.
_FOURS, _EIGHTS = (4, 4, 3), (8, 8, 1)
SHAPES = {"float32": (_FOURS, _EIGHTS), "float64": (_FOURS,)}
SHAPES |= {dtype: SHAPES[wide] for dtype, wide in WORDS.items()}


def weight_threads(dtype: str) -> int:
    """Threads of a block, whose sums fit in shared memory."""
    return 4096 // FLOATS[dtype].bitwidth


@cache
def grouped_weight_kernel(dtype: str, shape: tuple[int, int, int]):
    """The parts, for a thread of such a shape."""
    kernel, operand = _kernel(dtype, *shape), stored(dtype).address
    return compiled(kernel, operand, operand, address(FLOATS[dtype]), *map(integers, ARGUMENTS.values()))


def _kernel(dtype, own_m, own_c, own_taps):
    threads, sums, number, zero = weight_threads(dtype), own_m * own_c * own_taps, FLOATS[dtype], FLOATS[dtype](0)
    shared_size, add, advanced, own = threads * sums, _added(dtype, own_m, own_c, own_taps), _advanced, _own
    keep = _kept(threads, own_m, own_c, own_taps)

    def conv2d_grouped_weight_sum(grad_out, x, part, sizes, y, x_axis, grad_strides, strides):
        shared = cuda.shared.array(shared_size, number)
        total = cuda.local.array(sums, number)
        m0, c0, tap0, group, own_part = own(sizes, own_m, own_c, own_taps)
        for item in range(sums):
            total[item] = zero
        lines = threads // sizes[9]
        p = own_part * sizes[4] + cuda.threadIdx.x // sizes[9]
        end = min(own_part * sizes[4] + sizes[4], sizes[3]) if group < sizes[0] else 0
        n, i, j = pixel_of(min(p, sizes[3] - 1), sizes[7], sizes[8])
        down, right = lines // sizes[8], lines % sizes[8]
        while p < end:
            place = n, i, j, group, m0, c0, tap0
            add(total, grad_out, x, place, sizes, y, x_axis, grad_strides, strides)
            n, i, j = advanced(n, i + down, j + right, sizes[7], sizes[8])
            p += lines
        for item in range(sums):
            shared[item * threads + cuda.threadIdx.x] = total[item]
        cuda.syncthreads()
        apart = threads // 2
        while apart >= sizes[9]:
            if cuda.threadIdx.x < apart:
                for item in range(sums):
                    at = item * threads + cuda.threadIdx.x
                    shared[at] += shared[at + apart]
            cuda.syncthreads()
            apart //= 2
        if cuda.threadIdx.x < sizes[9] and group < sizes[0]:
            keep(part, shared, m0, c0, tap0, group, own_part, sizes)

    return conv2d_grouped_weight_sum


@inlined
def _own(sizes, own_m, own_c, own_taps):
    """First channels and tap of a block, the group of a thread, and the part."""
    rest = int64(cuda.blockIdx.x)
    m_blocks, c_blocks = (sizes[2] + own_m - 1) // own_m, (sizes[1] + own_c - 1) // own_c
    tap_blocks, group_blocks = (sizes[5] * sizes[6] + own_taps - 1) // own_taps, (sizes[0] + sizes[9] - 1) // sizes[9]
    m0, rest = rest % m_blocks * own_m, rest // m_blocks
    c0, rest = rest % c_blocks * own_c, rest // c_blocks
    tap0, rest = rest % tap_blocks * own_taps, rest // tap_blocks
    group = rest % group_blocks * sizes[9] + cuda.threadIdx.x % sizes[9]
    return m0, c0, tap0, group, rest // group_blocks


@inlined
def _advanced(n, i, j, OH, OW):
    """The same pixel as image, row and column, where the column may be one row too far, and the row any number."""
    if j >= OW:
        j -= OW
        i += 1
    while i >= OH:
        i -= OH
        n += 1
    return n, i, j


@cache
def _added(dtype, own_m, own_c, own_taps):
    zero, number, get = FLOATS[dtype](0), FLOATS[dtype], stored(dtype).get

    @inlined
    def add(total, grad_out, x, place, sizes, y, x_axis, grad_strides, strides):
        """The products of one pixel; where its input is outside there are none."""
        n, i, j, group, m0, c0, tap0 = place
        C, M = sizes[1], sizes[2]
        grads, values = cuda.local.array(own_m, number), cuda.local.array(own_c, number)
        at = n * grad_strides[0] + (group * M + m0) * grad_strides[1] + i * grad_strides[2] + j * grad_strides[3]
        for r in range(own_m):
            grads[r] = get(grad_out, at + r * grad_strides[1]) if m0 + r < M else zero
        at = n * strides[0] + (group * C + c0) * strides[1]
        for k in range(own_taps):
            tap = tap0 + k
            h, w = source_position(i, tap // sizes[6], y), source_position(j, tap % sizes[6], x_axis)
            if tap < sizes[5] * sizes[6] and h >= 0 and w >= 0:
                x_at = at + h * strides[2] + w * strides[3]
                for s in range(own_c):
                    values[s] = get(x, x_at + s * strides[1]) if c0 + s < C else zero
                for r in range(own_m):
                    for s in range(own_c):
                        total[(k * own_m + r) * own_c + s] += grads[r] * values[s]

    return add


@cache
def _kept(threads, own_m, own_c, own_taps):
    @inlined
    def keep(part, shared, m0, c0, tap0, group, own_part, sizes):
        """The sums of a group to where they belong."""
        C, M, taps, item = sizes[1], sizes[2], sizes[5] * sizes[6], 0
        while item < own_taps * own_m * own_c:
            tap, m, c = tap0 + item // (own_m * own_c), m0 + item // own_c % own_m, c0 + item % own_c
            if tap < taps and m < M and c < C:
                at = (((own_part * sizes[0] + group) * taps + tap) * M + m) * C + c
                part[at] = shared[item * threads + cuda.threadIdx.x]
            item += 1

    return keep
