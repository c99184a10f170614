"""Groups of few channels: a thread sums some channels of one group at some pixels, from registers alone.

A tile of a matrix product would be empty but for a few of its rows. Here an input is read once for all channels that a
thread sums, and a weight for all its pixels. Neighbouring threads take neighbours in memory: pixels, all of one group,
whose weights are the same for all of them, or, where channels are last, channels.

    packed[t, u, c, g, m], with zeros from channel M on
"""

from functools import cache

from fastconv._kernels.numba_cuda.conv2d_settle import finished, target_at
from fastconv._kernels.numba_cuda.conv2d_sum import ARGUMENTS, pixel_of
from fastconv._kernels.numba_cuda.conv2d_taps import source_position, summed_inside
from fastconv._kernels.numba_cuda.settings import FLOATS, address, compiled, cuda, inlined, int32, int64, integers
from fastconv._kernels.numba_cuda.storage import stored
from fastconv._kernels.numba_cuda.tiles import CHANNELS, ELEMENTS, PIXELS
from fastconv._kernels.numba_cuda.vectors import load4

# Threads of a block, and pixels of each.
THREADS, OWN_PIXELS = 128, 4
# What is read as neighbours: PIXELS by neighbouring threads; where channels are last, CHANNELS by vectors, or one by
# one as ELEMENTS.
READS = (PIXELS, CHANNELS, ELEMENTS)
# Channels of a thread.
WIDTHS = (4, 8)


@cache
def grouped_pack_kernel(dtype: str):
    """packed[tap, c, g, m] = weight[g, .., tap] for all m below ``pitch``."""
    zero, get = FLOATS[dtype](0), stored(dtype).get

    def conv2d_grouped_pack(weight, packed, sizes, strides):
        groups, taps, C, M, pitch = sizes
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if item < taps * C * groups * pitch:
            m, rest = item % pitch, item // pitch
            group, rest = rest % groups, rest // groups
            c, tap = rest % C, rest // C
            at = group * strides[0] + c * strides[1] + m * strides[2] + tap
            packed[item] = get(weight, at) if m < M else zero

    return compiled(conv2d_grouped_pack, stored(dtype).address, address(FLOATS[dtype]), integers(5), integers(3))


@cache
def grouped_kernel(dtype: str, width: int, reads: str):
    """What ``sum_kernel`` computes; each thread has ``width`` channels, which divide the pitch of the weights."""
    kernel, operand = _kernel(dtype, width, reads), stored(dtype).address
    return compiled(kernel, operand, address(FLOATS[dtype]), operand, operand, *map(integers, ARGUMENTS.values()))


def _kernel(dtype, width, reads):
    own, zero, number, place = OWN_PIXELS, FLOATS[dtype](0), FLOATS[dtype], _place(width, reads == PIXELS)
    add, step = _added(dtype, width, reads == CHANNELS), 4 if reads == CHANNELS else 1
    store, repair = _stored(dtype, width, reads == CHANNELS), _repaired(dtype, width)

    def conv2d_grouped(source, packed, bias, target, sizes, y, x, taps_y, taps_x, to_y, to_x, strides, to):
        total = cuda.local.array((width, own), number)
        image, row, col = cuda.local.array(own, int64), cuda.local.array(own, int32), cuda.local.array(own, int32)
        at = cuda.local.array(own, int64)
        group, m0, first, apart = place(sizes)
        if group < sizes[0] and first < sizes[4]:
            for q in range(own):
                n, row[q], col[q] = pixel_of(min(first + q * apart, sizes[4] - 1), to_y[0], to_x[0])
                image[q] = n * strides[0] + group * sizes[1] * strides[1]
                for r in range(width):
                    total[r, q] = zero
            t = 0
            while t < taps_y[0]:
                u = 0
                while u < taps_x[0]:
                    for q in range(own):
                        h, w = source_position(int64(row[q]), t, y), source_position(int64(col[q]), u, x)
                        at[q] = image[q] + h * strides[2] + w * strides[3] if h >= 0 and w >= 0 else -1
                    weight_at = group * sizes[5] + m0 + taps_y[1] + t * taps_y[2] + taps_x[1] + u * taps_x[2]
                    c = 0
                    while c < sizes[1]:
                        add(total, source, packed, at, c * strides[1], strides[1], weight_at + c * sizes[3], sizes[3])
                        c += step
                    u += 1
                t += 1
            own_place = group, m0, first, apart
            if store(total, target, bias, own_place, sizes, to_y, to_x, to):
                repair(target, bias, source, packed, own_place, sizes, y, x, taps_y, taps_x, to_y, to_x, strides, to)

    return conv2d_grouped


@cache
def _place(width, is_by_pixels):
    own = OWN_PIXELS

    @inlined
    def by_pixels(sizes):
        """A thread's group, first channel and first pixel, and how far apart its pixels are."""
        parts = sizes[5] // width
        rest, blocks = int64(cuda.blockIdx.x), (sizes[4] + THREADS * own - 1) // (THREADS * own)
        block, rest = rest % blocks, rest // blocks
        return rest // parts, rest % parts * width, block * THREADS * own + cuda.threadIdx.x, int64(THREADS)

    @inlined
    def by_channels(sizes):
        parts = sizes[5] // width
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        part, rest = item % parts, item // parts
        return rest % sizes[0], part * width, rest // sizes[0] * own, int64(1)

    return by_pixels if is_by_pixels else by_channels


@cache
def _added(dtype, width, by_vectors):
    """The products of one input, or of four that are neighbours, at every pixel."""
    own, quads, zero, number = OWN_PIXELS, width // 4, FLOATS[dtype](0), FLOATS[dtype]
    get, get4 = stored(dtype).get, stored(dtype).get4

    @inlined
    def add_one(total, values, k, packed, weight_at):
        for r in range(quads):
            w0, w1, w2, w3 = load4(packed, weight_at + 4 * r)
            for q in range(own):
                total[4 * r, q] += w0 * values[k, q]
                total[4 * r + 1, q] += w1 * values[k, q]
                total[4 * r + 2, q] += w2 * values[k, q]
                total[4 * r + 3, q] += w3 * values[k, q]

    @inlined
    def add_element(total, source, packed, at, offset, stride, weight_at, pitch):
        values = cuda.local.array((1, own), number)
        for q in range(own):
            values[0, q] = get(source, at[q] + offset) if at[q] >= 0 else zero
        add_one(total, values, 0, packed, weight_at)

    @inlined
    def add_vector(total, source, packed, at, offset, stride, weight_at, pitch):
        values = cuda.local.array((4, own), number)
        for q in range(own):
            found = get4(source, at[q] + offset) if at[q] >= 0 else (zero, zero, zero, zero)
            values[0, q], values[1, q], values[2, q], values[3, q] = found
        for k in range(4):
            add_one(total, values, k, packed, weight_at + k * pitch)

    return add_vector if by_vectors else add_element


@cache
def _stored(dtype, width, by_vectors):
    quads, zero, finish = width // 4, FLOATS[dtype](0), finished(dtype)
    get, put, put4 = stored(dtype).get, stored(dtype).put, stored(dtype).put4

    @inlined
    def store_elements(q, p, total, target, bias, place, sizes, to_y, to_x, to):
        """Whether one of the results is NaN."""
        group, m0, is_nan = place[0], place[1], False
        element = target_at(p, to_y, to_x, to[0]) + (group * sizes[2] + m0) * to[1]
        for r in range(width):
            if m0 + r < sizes[2]:
                added = get(bias, group * sizes[2] + m0 + r) if sizes[6] else zero
                value = finish(total[r, q], added, (True, True), sizes[7])
                put(target, element + r * to[1], value)
                is_nan = is_nan or value != value
        return is_nan

    @inlined
    def store_vectors(q, p, total, target, bias, place, sizes, to_y, to_x, to):
        pixel_at, is_nan = target_at(p, to_y, to_x, to[0]), False
        for r in range(quads):
            k, added = place[0] * sizes[2] + place[1] + 4 * r, (zero, zero, zero, zero)
            if sizes[6]:
                added = get(bias, k), get(bias, k + 1), get(bias, k + 2), get(bias, k + 3)
            v0 = finish(total[4 * r, q], added[0], (True, True), sizes[7])
            v1 = finish(total[4 * r + 1, q], added[1], (True, True), sizes[7])
            v2 = finish(total[4 * r + 2, q], added[2], (True, True), sizes[7])
            v3 = finish(total[4 * r + 3, q], added[3], (True, True), sizes[7])
            put4(target, pixel_at + k, (v0, v1, v2, v3))
            is_nan = is_nan or v0 != v0 or v1 != v1 or v2 != v2 or v3 != v3
        return is_nan

    return _pixel_by_pixel(store_vectors if by_vectors else store_elements)


def _pixel_by_pixel(store, q=0):
    """``store`` for every pixel of a thread, as many copies of it: no loop of so much code is unrolled."""
    rest = _pixel_by_pixel(store, q + 1) if q + 1 < OWN_PIXELS else None

    @inlined
    def store_last(total, target, bias, place, sizes, to_y, to_x, to):
        p = place[2] + q * place[3]
        return p < sizes[4] and store(q, p, total, target, bias, place, sizes, to_y, to_x, to)

    @inlined
    def store_all(total, target, bias, place, sizes, to_y, to_x, to):
        is_nan = store_last(total, target, bias, place, sizes, to_y, to_x, to)
        return rest(total, target, bias, place, sizes, to_y, to_x, to) or is_nan

    return store_all if rest else store_last


@cache
def _repaired(dtype, width):
    own, zero, finish, sum_inside = OWN_PIXELS, FLOATS[dtype](0), finished(dtype), summed_inside(dtype)
    get, put = stored(dtype).get, stored(dtype).put

    @inlined
    def repair(target, bias, source, packed, place, sizes, y, x, taps_y, taps_x, to_y, to_x, strides, to):
        """Sum what became NaN again, without the taps that are outside."""
        group, m0, first, apart = place
        item = 0
        while item < width * own:
            m, p = m0 + item % width, first + item // width * apart
            if m < sizes[2] and p < sizes[4]:
                k, element = group * sizes[2] + m, target_at(p, to_y, to_x, to[0]) + (group * sizes[2] + m) * to[1]
                found = get(target, element)
                if found != found:
                    n, i, j = pixel_of(p, to_y[0], to_x[0])
                    source_at, packed_at = n * strides[0] + group * sizes[1] * strides[1], group * sizes[5] + m
                    value = sum_inside(
                        source, source_at, packed, packed_at, i, j, sizes[1], sizes[3], y, x, taps_y, taps_x, strides
                    )
                    put(target, element, finish(value, get(bias, k) if sizes[6] else zero, (True, True), sizes[7]))
            item += 1

    return repair
