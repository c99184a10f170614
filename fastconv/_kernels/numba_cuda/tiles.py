"""How a block of threads shares the work on a tile of a matrix product."""

from __future__ import annotations

from dataclasses import dataclass

from fastconv._kernels.numba_cuda.settings import WORDS

# Terms of a sum whose factors are in shared memory at once, and how many of a sum are added up before what is there
# joins the rest: rounding errors grow with the length of a running sum.
DEPTH = 8
RUN_TERMS = 512
# Blocks that keep a large GPU busy. It decides the order of some sums, so it is the same on every device.
BLOCKS = 264
# Which neighbours in memory a kernel reads and writes by vectors; ELEMENTS go one by one.
# TERMS are read one by one as well, through taps and channels alike.
ELEMENTS, PIXELS, CHANNELS, TERMS = "elements", "pixels", "channels", "terms"
ACCESSES = (
    (ELEMENTS, ELEMENTS),
    (ELEMENTS, PIXELS),
    (ELEMENTS, CHANNELS),
    (CHANNELS, ELEMENTS),
    (CHANNELS, CHANNELS),
    (PIXELS, PIXELS),
    (TERMS, ELEMENTS),
    (TERMS, PIXELS),
    (TERMS, CHANNELS),
)


@dataclass(frozen=True, slots=True)
class Tile:
    """Rows and columns of a block: the 8 x 4 lanes of a warp have quads of four rows and of four columns."""

    warp_rows: int
    warp_cols: int
    row_quads: int
    col_quads: int

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return 32 * self.warp_rows * self.warp_cols

    @property
    def rows(self) -> int:
        """Rows of a block."""
        return 32 * self.warp_rows * self.row_quads

    @property
    def cols(self) -> int:
        """Columns of a block."""
        return 16 * self.warp_cols * self.col_quads


LARGE = Tile(2, 4, 2, 2)  # 128 x 128, 8 x 8 a thread
MEDIUM = Tile(1, 4, 2, 2)  # 64 x 128, 8 x 8 a thread
FLAT = Tile(1, 4, 1, 2)  # 32 x 128, 4 x 8 a thread
WIDE = Tile(1, 4, 2, 1)  # 64 x 64, 8 x 4 a thread: 8 x 8 numbers of 8 bytes do not fit in the registers
TINY = Tile(1, 1, 1, 1)  # 32 x 16, one warp
TILES = {"float32": (LARGE, MEDIUM, FLAT, TINY), "float64": (WIDE, TINY)}
TILES |= {dtype: TILES[wide] for dtype, wide in WORDS.items()}


def tile_for(dtype: str, rows: int, cols: int, copies: int) -> Tile:
    """For ``copies`` products of so many rows and columns: the largest that keeps the GPU busy and wastes few rows.

    Whichever it is, every sum has the same order.
    """
    *large, last = TILES[dtype]
    for tile in large:
        blocks = copies * -(-rows // tile.rows) * -(-cols // tile.cols)
        if 2 * rows > tile.rows and 2 * blocks >= BLOCKS:
            return tile
    return large[-1] if copies * rows * cols > 64 * last.rows * last.cols else last
