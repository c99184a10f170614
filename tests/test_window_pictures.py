"""Pictures of windows, connections and gradients: the numbers in them, what they refuse, and their commands."""

import numpy as np
import pytest

from fastconv import datasets, functional, models, nn, plots
from fastconv.cli import main
from fastconv.errors import ShapeError

pyplot = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def _closed():
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_a_row_and_what_a_filter_makes_of_it():
    shown = texts(plots.windows([1, 2, -1, 1, -3], [1, 0, -1], padding=1))
    padded = ["0", "1", "2", "−1", "1", "−3", "0"]
    first, second = shown.index("stride 1: (5 − 3 + 2·1)/1 + 1 = 5"), shown.index("stride 2: (5 − 3 + 2·1)/2 + 1 = 3")
    assert shown[:first] == [*padded, "−2", "2", "1", "2", "1"]
    assert shown[first + 1 : second] == [*padded, "−2", "1", "1"]
    assert shown[second + 1 :] == ["1", "0", "−1", "filter"]


def test_what_no_window_reads_is_pale():
    axes = plots.windows(range(10), [1, 1, 1], strides=[2])
    assert "stride 2: (10 − 3 + 2·0)/2 + 1 = 4.5, so 4" in texts(axes)
    colours = [patch.get_edgecolor() for patch in axes.patches[:10]]
    assert [colour == colours[0] for colour in colours] == [True] * 9 + [False]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (([[1, 2]], [1]), ShapeError),
        (([1, 2], [1, 2, 3]), ShapeError),
        (([1, 2, 3], []), ValueError),
    ],
    ids=str,
)
def test_rows_that_cannot_be_drawn(arguments, error):
    with pytest.raises(error):
        plots.windows(*arguments)


def test_no_strides_and_no_paddings_are_refused():
    with pytest.raises(ValueError, match="stride"):
        plots.windows([1, 2, 3], [1], strides=[])
    with pytest.raises(ValueError, match="padding"):
        plots.window_counts(5, 3, paddings=[])


@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), [(5, 3, 1, 1), ((4, 7), (2, 3), (1, 2), 1)], ids=str)
def test_counts_of_windows_are_those_that_one_counts(size, kernel, stride, padding):
    (H, W), (kH, kW), (sH, sW) = (np.broadcast_to(pair, 2) for pair in (size, kernel, stride))
    counts = np.zeros((H + 2 * padding, W + 2 * padding), int)
    for top in range(0, H + 2 * padding - kH + 1, sH):
        for left in range(0, W + 2 * padding - kW + 1, sW):
            counts[top : top + kH, left : left + kW] += 1
    axes = plots.window_counts(size, kernel, stride=stride, paddings=[padding])
    drawn = [int(text) for text in texts(axes) if text.isdecimal()]
    assert drawn == counts[padding : padding + H, padding : padding + W].ravel().tolist()


def test_connections_are_as_many_lines_as_weights_and_shared_ones_share_a_colour():
    axes = plots.connections(7, 2)
    assert len(axes.lines) == 6 * 7 + 2 * 6 * 2
    local, shared = axes.lines[42:54], axes.lines[54:]
    assert len({line.get_color() for line in local}) == 6
    assert len({line.get_color() for line in shared}) == 2
    with pytest.raises(ShapeError, match="2 - 3 \\+ 1 = 0"):
        plots.connections(2, 3)


def test_images_stand_beside_each_other_with_their_sizes():
    axes = plots.images({"grey": np.arange(6.0).reshape(2, 3), "colour": np.ones((3, 4, 4))})
    assert texts(axes) == ["grey\n2×3", "colour\n4×4×3"]
    assert [picture.get_array().shape[:2] for picture in axes.images] == [(2, 3), (4, 4)]
    left, right = (picture.get_extent() for picture in axes.images)
    assert left[1] < right[0]


def test_limits_hold_for_all_images_and_zero_is_white_among_signed_values():
    axes = plots.images({"dark": np.full((2, 2), 1.0), "bright": np.full((2, 2), 4.0)}, limits=(0, 4))
    assert [float(picture.get_array()[0, 0, 0]) for picture in axes.images] == [0.25, 1.0]
    signed = plots.images({"signed": np.array([[-1.0, 0.0, 2.0]])}).images[0].get_array()[0]
    assert signed[1, :3].min() > 0.95
    assert signed[0, 2] > signed[0, 0]
    assert signed[2, 0] > signed[2, 2]


@pytest.mark.parametrize(("named", "error"), [({}, ValueError), ({"a": np.ones(3)}, ShapeError)], ids=str)
def test_images_that_cannot_be_drawn(named, error):
    with pytest.raises(error):
        plots.images(named)


def test_gradients_are_those_of_backward_and_leave_the_model_as_it_was():
    images, labels = datasets.load_digits("test")
    model = models.digits_net()
    model.zero_grad()
    axes = plots.gradients({"a": model, "b": nn.Sequential(nn.Flatten(), nn.Linear(64, 10))}, images[:8], labels[:8])
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training
    first, second = (line.get_ydata() for line in axes.lines)
    assert (len(first), len(second)) == (4, 1)
    functional.cross_entropy(model.eval()(images[:8]), labels[:8]).backward()
    expected = [np.sqrt(np.mean(np.square(p.grad.numpy()))) for p in model.parameters() if p.ndim > 1]
    np.testing.assert_allclose(first, expected, rtol=1e-5)


def test_gradients_need_weights():
    with pytest.raises(ValueError, match="weights"):
        plots.gradients(nn.Flatten(), *datasets.load_digits("test"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["connections", "--inputs", "6", "--filter-size", "2"],
        ["windows", "--input", "1,-2,0.5", "--filter", "1,1", "--strides", "1", "--padding", "0"],
        ["window-counts", "--size", "5", "--filter-size", "3", "--stride", "2", "--paddings", "0,1,2"],
        ["gradients", "--depth", "3"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_each_picture_has_a_command(arguments, tmp_path, capsys):
    path = tmp_path / "picture.svg"
    assert main(["plot", *arguments, "--out", str(path)]) == 0
    assert "<svg" in path.read_text()
    assert capsys.readouterr().out == f"drawn in {path}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["connections", "--inputs", "2", "--filter-size", "3"],
        ["windows", "--input", "1,2", "--filter", "1,2,3", "--padding", "0"],
        ["windows", "--padding", "-1"],
        ["window-counts", "--size", "2", "--filter-size", "5"],
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused_without_a_picture(arguments, tmp_path, capsys):
    path = tmp_path / "picture.png"
    assert main(["plot", *arguments, "--out", str(path)]) == 1
    assert capsys.readouterr().err.startswith("fastconv: ")
    assert not path.exists()


@pytest.mark.parametrize("arguments", [["windows", "--input", "1,x"], ["window-counts", "--paddings", "0,-1"]], ids=str)
def test_lists_that_are_none_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        main(["plot", *arguments])
    assert "must be" in capsys.readouterr().err
