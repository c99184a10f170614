"""What every geometry checks of its shapes."""

from __future__ import annotations

from fastconv.errors import ShapeError

Shape = tuple[int, ...]


def batched_shape(operation: str, shape: Shape) -> Shape:
    """(N, C, H, W) of a batched or unbatched input; raises ShapeError for any other rank."""
    if len(shape) == 4:
        return shape
    if len(shape) == 3:
        return (1, *shape)
    raise ShapeError(f"expected 3D (unbatched) or 4D (batched) input to {operation}, got shape {shape}")


def check_extents(name: str, shape: Shape) -> None:
    """Raise ShapeError where anything but the batch is empty."""
    if 0 in shape[1:]:
        raise ShapeError(f"{name} of shape {shape} has a zero extent; only the batch may be empty")


def check_fits(rows, cols) -> None:
    """Raise ShapeError where a window is larger than its padded axis."""
    if rows.padded >= rows.extent and cols.padded >= cols.extent:
        return
    raise ShapeError(
        f"kernel size can't be greater than the padded input: padded input ({rows.padded} x {cols.padded}) = size + "
        f"padding, effective kernel ({rows.extent} x {cols.extent}) = dilation * (kernel - 1) + 1; "
        f"output size floor((padded - effective kernel) / stride) + 1 = ({rows.out} x {cols.out}) is too small"
    )
