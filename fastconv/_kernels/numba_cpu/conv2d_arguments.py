"""What the convolution kernels and their driver agree on."""

from __future__ import annotations

from fastconv._kernels.numba_cpu.arguments import planned, strided, structure
from fastconv._kernels.numba_cpu.depthwise_arguments import PADDED
from fastconv._kernels.numba_cpu.ranges import SCRATCH, SHARED
from fastconv._kernels.numba_cpu.settings import MAX_VECTORS, VECTOR_BYTES

# The widest block of output channels.
BLOCK_BYTES = MAX_VECTORS * VECTOR_BYTES
# The orders of lanes of groups that share a vector: one for each channel of a group, at most half as many as lanes.
ORDERS_BYTES = VECTOR_BYTES * VECTOR_BYTES // 8

# The first words of a context: addresses of the microkernels of 1, 2, .. vectors.
PANELS = tuple(f"panel_{vectors + 1}" for vectors in range(MAX_VECTORS))
# Strides are in bytes; the other counts are those of plan.SumPlan, which explains them. ``.._at`` is where a part of
# the scratch begins. ``packing`` is the address of a PACK where ``packed`` is a weight as it is, else 0.
SUM = structure(
    *PANELS, *strided("source"), *strided("target"), *planned("rows"), *planned("cols"), *SCRATCH, "packed", "bias",
    "row_blocks", "k_blocks", "transpose", "transpose_streaming", "N", "groups", "C", "K", "taps", "tap_cols",
    "itemsize", "source_cols", "target_cols", "row_block_count", "row_step", "k_block_count", "images", "k_group",
    "c_range", "block_terms", "range_terms", "pixel_step", "packs_source", "packs_target", "streams", "flipped", "dots",
    "rows_in_place", "activation", "joined", "source_channels", "packing", "holds", "in_place", "far_weights",
    "entries_at", "bias_at", "orders_at", "sums_at", "packed_source_at", "packed_target_at", "packed_weight_at",
    "packed_rows_at",
)  # fmt: skip
# What a slot works with, and what an item has prepared in it: addresses, then steps in bytes, of the source (from the
# origin of the first image) and of the target (from that of the block of channels); images n .. of group g, target
# rows lo .. hi - 1. ``columns`` are those of the widest tile, ``column`` is the number of the next one's first
# column: the place of its sums. ``is_packed`` says that ``packed_weight`` has the weights of all items, ``is_near``
# that the source was copied a moment ago and need not be asked for, ``streams`` that the target goes past the caches.
# From ``next_weight`` to ``next_end`` is what no tile has asked for yet of the weights of the next range, of which
# each asks for ``next_bytes``.
WORK = structure(
    "panels", "panel", "entries", "bias", "orders", "sums", "packed_source", "packed_target", "packed_weight",
    "packed_rows", "source", "target",
    "source_n", "source_h", "source_w", "target_n", "target_h", "target_w",
    "n", "images", "g", "lo", "hi", "source_lo", "source_hi", "columns", "column", "is_packed", "is_near", "streams",
    "next_weight", "next_end", "next_bytes",
)  # fmt: skip
WORK_BYTES = WORK.itemsize
# Strides are in bytes.
PACK = structure(
    "weight", "packed", *SCRATCH, "k_blocks", "transpose", "groups", "C", "K", "taps", "itemsize", "k_block_count",
    "c_range", "group_stride", "c_stride", "k_stride", "flipped", "dots", "joined",
)  # fmt: skip
# Rows that packing transposes in one go.
PACKED_ROWS = 64
# The same of grad_weight and plan.GradWeightPlan. All slots share the sums of every item, where there are segments,
# and then x with its channels together, where it ``interleaves`` them.
GRAD_WEIGHT = structure(
    *PANELS, *strided("grad_out"), *strided("x"), *planned("merged"), *SCRATCH, SHARED, "grad_weight", "k_blocks",
    "transpose", "rows_first", "rows_segments", "cols_first", "cols_segments", "N", "groups", "C", "K", "tap_rows",
    "tap_cols", "out_rows", "out_cols", "row_step", "col_step", "x_rows", "x_cols", "itemsize", "k_block_count",
    "k_group", "c_block", "tap_block", "parts", "images", "row_block", "col_block", "pieces", "span", "segments",
    "sums_bytes", "packed_bytes", "exchanged", "in_place", "streams", "merges", "interleaves", "joined", "x_channels",
    "interleaved_at", "entries_at", "orders_at", "sums_at", "total_at", "packed_at",
)  # fmt: skip
# What a slot works with: addresses, then the part of grad_weight (group g, blocks of output channels, channels c0 ..,
# rows of taps kh0 ..), the lanes of a vector of x before its channels, the piece (images n .., rows row .., columns
# col ..), its gradients with their steps, what to prefetch with every tile, and where tiles write the valid lanes of a
# block themselves (0: nowhere), and whether they do so past the caches.
GRAD_WEIGHT_WORK = structure(
    "panels", "panel", "entries", "orders", "sums", "total", "packed", "x",
    "g", "k_block", "k_end", "c0", "channels", "kh0", "tap_rows", "before", "n", "images", "row", "rows", "col", "cols",
    "grad_out", "grad_out_n", "grad_out_h", "grad_out_w", "next_x", "next_grad_out", "next_pixels",
    "target", "valid", "streams",
)  # fmt: skip
GRAD_WEIGHT_WORK_BYTES = GRAD_WEIGHT_WORK.itemsize
# The same of pointwise convolution of planes and plan.PointwisePlan.
POINTWISE = structure(
    *PANELS, "source", "weight", "bias", "target", *SCRATCH, "blocks", "groups", "C", "K", "pixels", "itemsize",
    "block_count", "k_groups", "c_range", "c_stride", "k_stride", "group_stride", "activation", "sums_at", "copies_at",
)  # fmt: skip
# What a slot works with: a table of one entry, addresses, and those of an item's group, image and first pixel; bytes of
# its pixels and columns of its widest tile.
POINTWISE_WORK = structure(
    "zero_x", "zero_w", "panel", "sums", "copies", "pixels", "source", "target", "weight", "bias", "microkernel",
    "size", "columns",
)  # fmt: skip
POINTWISE_WORK_BYTES = POINTWISE_WORK.itemsize
# The same of grad_input of few pixels and plan.SweepPlan; ``width`` counts input channels.
SWEEP = structure(
    "microkernel", "grad_out", "weight", "grad_input", *SCRATCH, "pixels", "C", "K", "width", "rows", "block",
    "itemsize", "sums_at",
)  # fmt: skip
# The same of first layers on planes and plan.FirstLayerPlan; ``move`` copies rows.
FIRST_LAYER = structure(
    *PANELS, *strided("x"), "weight", "bias", "target", *SCRATCH, *PADDED, "move", "entries", "row_vectors", "C", "K",
    "weight_c", "weight_k", "taps", "itemsize", "out_rows", "out_cols", "row_vector_count", "per_chunk", "plane",
    "buffer_bytes", "activation", "streams", "sums_at", "buffer_at",
)  # fmt: skip
# What a slot works with: addresses; ``buffer`` is the copy of a channel's rows, ``copy`` that of all.
FIRST_LAYER_WORK = structure("panel", "sums", "buffer", "copy")
FIRST_LAYER_WORK_BYTES = FIRST_LAYER_WORK.itemsize
# The same of their grad_weight and plan.FirstLayerGradPlan; ``taps`` are all those of a channel, rows of copied
# gradients have ``row_bytes`` (0: they are read as they are). All slots share the sums of every segment.
FIRST_LAYER_GRAD = structure(
    *PANELS, *strided("x"), "grad_out", "grad_weight", *SCRATCH, SHARED, *PADDED, "move", "k_blocks", "runs", "N", "C",
    "K", "taps", "itemsize", "out_rows", "out_cols", "k_block_count", "run_count", "tap_step", "x_shift", "vectors",
    "images", "pieces", "segments", "per_chunk", "row_bytes", "plane", "copy_bytes", "gradients_bytes",
    "entries_at", "tile_at", "sums_at", "copy_at", "gradients_at",
)  # fmt: skip
# What a slot works with: addresses; the piece: images n .., rows first ..
FIRST_LAYER_GRAD_WORK = structure(
    "panel", "entries", "tile", "sums", "buffer", "copy", "gradients", "n", "images", "first", "rows"
)
FIRST_LAYER_GRAD_WORK_BYTES = FIRST_LAYER_GRAD_WORK.itemsize
# The same of grad_input of small planes of many images and plan.ImagesPlan; planes are in bytes, as are the entries'
# offsets. The source is grad_out, the target grad_input.
IMAGES = structure(
    *PANELS, *strided("source"), *strided("target"), "weight", *SCRATCH, "transpose", "entries", "regions", "N", "C",
    "K", "taps", "source_pixels", "source_cols", "target_rows", "target_cols", "source_plane", "target_plane",
    "itemsize", "row_blocks", "region_count", "per_chunk", "sums_at", "source_at", "target_at",
)  # fmt: skip
# The same of Winograd's minimal filtering and plan.WinogradPlan; pitch, steps and strides are in bytes.
WINOGRAD = structure(
    *PANELS, *strided("source"), *strided("target"), "transformed", "weight", "bias", *SCRATCH, "transform_source",
    "transform_target", "transform_weight", "transpose", "k_blocks", "N", "C", "K", "itemsize", "source_rows",
    "source_cols", "target_rows", "target_cols", "pad_rows", "pad_cols", "size", "tile_rows", "tile_cols",
    "tile_blocks", "k_block_count", "k_group", "part", "source_pitch", "source_step", "sums_step", "weight_step",
    "part_step", "group_stride", "c_stride", "k_stride", "flipped", "activation",
    "entries_at", "bias_at", "tables_at", "doubt_at", "sums_at", "zeros_at", "waste_at", "sources_at", "products_at",
    "strip_at", "shared_at", "taken_at",
)  # fmt: skip
# What a slot works with: addresses, then the item's group, first tile and tiles. ``doubt`` says that a tile has what is
# not finite, ``zeros`` are what lies in the padding, targets outside the image go to ``waste``; ``sources`` are
# [point][tile][channel], as are ``products`` of a block of channels. Pixel (i, j) of image n, its channels together, is
# at ``pixels`` + n * image_step + i * row_step + j * col_step: in the images or in the ``strip``. ``taps`` of a
# block of channels are there once a tile has asked for them. ``points``, where the taps come
# later, are those of a part of a weight that is transformed on the way, where ``transformed`` is 0, from the taps of
# some channels, ``taken`` at once.
WINOGRAD_WORK = structure(
    "panel", "entries", "bias", "tables", "doubt", "sums", "zeros", "waste", "sources", "products", "g", "first",
    "tiles", "strip", "pixels", "image_step", "row_step", "col_step", "taps",
    "has_taps", "points", "taken",
)  # fmt: skip
WINOGRAD_WORK_BYTES = WINOGRAD_WORK.itemsize
# There are two tables of addresses of pixels, those of a tile and of the next one; a tile has so many at most.
WINOGRAD_TABLE_BYTES = 8 * 6 * 6
# Strides are in bytes; so many channels are transformed in one go.
WINOGRAD_WEIGHT = structure(
    "weight", "transformed", *SCRATCH, "k_blocks", "k_block_count", "transpose", "transform_weight", "C", "K", "points",
    "itemsize", "weight_step", "group_stride", "c_stride", "k_stride", "flipped",
)  # fmt: skip
WINOGRAD_CHANNELS = 16
# The same of grad_weight and plan.WinogradGradPlan. All slots share the sums of every item where there are segments.
WINOGRAD_GRAD = structure(
    *PANELS, *strided("grad_out"), *strided("x"), "grad_weight", "doubt", *SCRATCH, SHARED, "transform_x",
    "transform_grad_out", "make_taps", "transpose", "k_blocks", "N", "C", "K", "itemsize", "x_rows", "x_cols",
    "out_rows", "out_cols", "pad_rows", "pad_cols", "size", "tile_rows", "tile_cols", "tile_blocks", "segments",
    "parts", "k_block_count", "k_group", "c_blocks", "x_pitch", "x_step", "grad_pitch", "grad_step", "sums_step",
    "sums_bytes", "tables_at", "taps_at", "zeros_at", "x_points_at", "grad_points_at", "strip_at",
    "sums_at",
)  # fmt: skip
# What a slot works with: a table of one entry, addresses, then the part of grad_weight (group g, blocks of output
# channels, output channels k0 .., input channels c0 ..), some tiles, and where their pixels are. ``x_points`` are
# [point][tile][c], ``grad_points`` [point][tile][k], ``sums`` [point][block of output channels][c][k].
WINOGRAD_GRAD_WORK = structure(
    "zero_x", "zero_w", "panels", "panel", "tables", "taps", "zeros", "x_points", "grad_points", "sums",
    "g", "k_block", "k_end", "k0", "outputs", "c0", "channels", "first", "tiles",
    "strip", "pixels", "image_step", "row_step", "col_step",
)  # fmt: skip
WINOGRAD_GRAD_WORK_BYTES = WINOGRAD_GRAD_WORK.itemsize
# So many input channels of grad_weight are stored in one go.
WINOGRAD_STORED_CHANNELS = 16
# One item sums so many channels where they are together; where pixels are, one channel has so many sums.
BIAS_CHANNELS, BIAS_SUMS = 32, 16
GRAD_BIAS = structure("grad_out", "grad_bias", *SCRATCH, "N", "K", "pixels", "planar")
