"""Pictures: what is in them is read back from the axes, and bad input is refused."""

import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import fastconv as fc
from fastconv import models, nn, plots
from fastconv.activations import activations
from fastconv.bench.records import Record, Run
from fastconv.nn import init
from fastconv.plots import canvas, tiles, volumes
from fastconv.summaries import summary
from fastconv.training import Epoch, History

pyplot = pytest.importorskip("matplotlib.pyplot")
colors = pytest.importorskip("matplotlib.colors")


@pytest.fixture(autouse=True)
def closed_figures():
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


def undrawn(name):
    with init.skipped():
        return models.create(name)


# Filters


def test_tiles_leave_no_cell_empty_where_the_number_allows():
    for count, across in ((1, 1), (6, 3), (24, 6), (64, 8), (96, 12), (7, 3), (13, 4)):
        width = tiles.tiled(np.zeros((count, 20, 20, 3))).shape[1]
        assert width == across * 21 + 1


def test_filters_of_three_channels_are_in_colour_and_scaled_by_themselves():
    weight = np.zeros((2, 3, 4, 4))
    weight[0, 0, 1, 2] = 5.0  # red
    weight[1, 2, 3, 0] = 0.1  # blue, as bright
    picture = plots.filters(weight).images[0].get_array()
    zoom = 20 // 4
    for left, at, colour in ((1, (1, 2), (1, 0, 0)), (2 + 20, (3, 0), (0, 0, 1))):
        tile = picture[1:21, left : left + 20]
        row, col = (place * zoom for place in at)
        assert np.array_equal(tile[row : row + zoom, col : col + zoom], np.full((zoom, zoom, 3), colour))
        assert np.count_nonzero(tile.any(axis=2)) == zoom**2
    assert np.allclose(picture[0, 0], tiles.LINE)


def test_filters_of_other_depths_are_the_mean_in_grey():
    weight = np.zeros((1, 2, 2, 2))
    weight[0, :, 0, 1] = 1.0, 3.0
    weight[0, 0, 1, 0] = 2.0
    picture = plots.filters(weight).images[0].get_array()
    assert picture[2, 12].tolist() == [1.0] * 3
    assert picture[12, 2].tolist() == [0.5] * 3
    assert picture[2, 2].tolist() == [0.0] * 3


@pytest.mark.parametrize("shape", [(3, 3), (0, 3, 3, 3), (2, 3, 3)])
def test_filters_must_be_filters(shape):
    with pytest.raises(fc.ShapeError, match=r"\(K, C, kH, kW\)"):
        plots.filters(np.zeros(shape))


# Feature maps


@pytest.fixture
def network(rng):
    fc.manual_seed(3)
    return models.lenet5()


def test_activations_are_those_of_the_layers(network, rng):
    image = rng.uniform(0, 1, (1, 28, 28)).astype(np.float32)
    found = activations(network, image)
    first = np.maximum(network.conv1(image[None]).numpy(), 0)
    assert np.array_equal(found["conv1"], first[0])
    assert np.array_equal(found["pool1"], network.pool1(first).numpy()[0])
    assert np.array_equal(found["fc3"], network.eval()(image[None]).numpy()[0])


def test_a_row_for_each_layer_and_a_tile_for_each_map(network, rng):
    image = rng.uniform(0, 1, (1, 28, 28)).astype(np.float32)
    axes = plots.feature_maps(network, image, layers=["conv2", "pool1"], maps=5)
    found = activations(network, image)
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "image\n28×28",
        "conv2\n5 of 16, 10×10",
        "pool1\n5 of 6, 14×14",
    ]
    assert len(axes.images) == 1 + 5 + 5
    for number, tile in enumerate(axes.images[1:]):
        row, column = divmod(number, 5)
        left, right, bottom, top = tile.get_extent()
        assert column < left < right < column + 1
        assert row + 1 < top < bottom < row + 2
        expected = found[("conv2", "pool1")[row]][column]
        if np.ptp(expected):
            assert np.array_equal(tile.get_array(), expected)
        else:
            assert set(np.unique(tile.get_array())) == {0.75}


def test_by_default_rows_show_something_new(network, rng):
    image = rng.uniform(0, 1, (1, 8, 8)).astype(np.float32)
    axes = plots.feature_maps(models.digits_net(), image)
    names = [label.get_text().split("\n")[0] for label in axes.get_yticklabels()]
    assert names == ["image", "conv1", "conv2", "pool", "conv3"]
    deep = plots.feature_maps(models.squeezenet1_1(), np.ones((3, 64, 64), np.float32), maps=1)
    assert len(deep.get_yticklabels()) == 1 + 8


def test_maps_that_are_the_same_everywhere_are_said_to_be():
    axes = plots.feature_maps(nn.Sequential(nn.ReLU()), np.full((1, 4, 4), -1.0, np.float32))
    assert "grey where all values are the same" in axes.get_title()
    lively = plots.feature_maps(nn.Sequential(nn.ReLU()), np.arange(16, dtype=np.float32).reshape(1, 4, 4))
    assert lively.get_title() == "feature maps"


def test_feature_maps_refuse_what_they_cannot_show(network):
    image = np.zeros((1, 28, 28), np.float32)
    with pytest.raises(ValueError, match="no layer 'fc1' that gives maps; there are conv1, pool1, conv2, pool2"):
        plots.feature_maps(network, image, layers=["fc1"])
    with pytest.raises(ValueError, match="must not be empty"):
        plots.feature_maps(network, image, layers=[])
    with pytest.raises(fc.ShapeError, match=r"shape \(C, H, W\)"):
        plots.feature_maps(network, image[0])
    with pytest.raises(fc.ShapeError, match="kernel size can't be greater"):
        plots.feature_maps(network, image[:, :5, :5])
    with pytest.raises(fc.ShapeError, match="no layer of the model gives maps"):
        plots.feature_maps(nn.Sequential(nn.Flatten()), image)


# Curves


def history(*losses, validation=True):
    extra = (lambda loss: (loss / 2, 1 - loss / 4)) if validation else (lambda loss: (None, None))
    return History([Epoch(n, loss, 1 - loss / 2, 1e-3, *extra(loss), 1.0) for n, loss in enumerate(losses, 1)])


def test_curves_show_every_column():
    left, right = plots.curves(history(1.0, 0.5, 0.25))
    lines = {(axes, line.get_label()): line.get_xydata().tolist() for axes in (left, right) for line in axes.lines}
    assert lines == {
        (left, "training"): [[1, 1.0], [2, 0.5], [3, 0.25]],
        (left, "validation"): [[1, 0.5], [2, 0.25], [3, 0.125]],
        (right, "training"): [[1, 50.0], [2, 75.0], [3, 87.5]],
        (right, "validation"): [[1, 75.0], [2, 87.5], [3, 93.75]],
    }
    assert left.get_yscale() == "log"
    assert left.get_legend() is None  # once is enough
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["training", "validation"]


def test_curves_of_several_runs_have_colours_of_their_own():
    left, _ = plots.curves({"a": history(1.0, 0.5), "b": history(1.0, 0.7, validation=False)})
    assert [line.get_label() for line in left.lines] == ["a, training", "a, validation", "b, training"]
    assert [line.get_color() for line in left.lines] == [canvas.BLUE, canvas.BLUE, canvas.ORANGE]
    assert [line.get_linestyle() for line in left.lines] == ["--", "-", "--"]


@pytest.mark.parametrize("speeds", [(1.0, 1.3), (1.0, 3.0), (1.0, 40.0), (1.0, 5000.0)])
def test_logarithmic_axes_have_several_plain_labels(speeds):
    axes = plots.backends({"layer": {name: 1 / speed for name, speed in zip("ab", speeds, strict=True)}})
    axes.figure.canvas.draw()
    low, high = axes.get_xlim()
    shown = [label.get_text() for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    assert 3 <= len(shown) <= 15
    assert all(float(text) > 0 and "e" not in text for text in shown)


def test_curves_draw_on_given_axes():
    pair = pyplot.figure().subplots(2)
    assert all(drawn is given for drawn, given in zip(plots.curves(history(1.0), pair), pair, strict=True))


@pytest.mark.parametrize("nothing", [History(), {}, {"a": History()}])
def test_curves_need_an_epoch(nothing):
    with pytest.raises(ValueError, match="at least one epoch"):
        plots.curves(nothing)


# Errors of a classifier


def test_confusion_counts_and_colours():
    axes = plots.confusion_matrix([0, 0, 0, 1, 1, 2], [0, 0, 2, 1, 1, 1], classes=["a", "b", "cat"])
    numbers = {tuple(text.get_position()): text.get_text() for text in axes.texts}
    assert numbers == {(0, 0): "2", (2, 0): "1", (1, 1): "2", (1, 2): "1"}
    assert axes.get_title() == "4 of 6 right (66.7%)"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "cat"]
    picture = axes.images[0].get_array()
    assert picture[0, 1].tolist() == [1.0] * 4  # nothing: white
    red, _, blue = picture[1, 1, :3]
    assert blue > red + 0.2  # right: blue
    red, _, blue = picture[2, 1, :3]
    assert red > blue + 0.2  # an error: orange
    assert picture[0, 0].sum() > picture[1, 1].sum()  # two thirds are lighter than all


def test_every_number_can_be_read():
    labels = np.repeat(np.arange(10), 40)
    axes = plots.confusion_matrix(labels, np.roll(labels, 3))
    picture = axes.images[0].get_array()
    for text in axes.texts:
        column, row = text.get_position()
        weights = np.array([0.299, 0.587, 0.114])
        below, above = picture[row, column, :3] @ weights, np.array(colors.to_rgb(text.get_color())) @ weights
        assert abs(below - above) > 0.35


@pytest.mark.parametrize(
    ("labels", "predictions", "classes", "text"),
    [
        ([0, 1], [0], None, "one shape"),
        ([], [], None, "at least one label"),
        ([0.5], [0.5], None, "class indices"),
        ([-1], [0], None, "class indices"),
        ([0, 3], [0, 1], ["a", "b"], "there are 2 classes, but class 3"),
    ],
)
def test_confusion_refuses_what_is_no_class(labels, predictions, classes, text):
    with pytest.raises(ValueError, match=text):
        plots.confusion_matrix(labels, predictions, classes=classes)


# Architectures


def test_boxes_have_the_proportions_of_their_volumes():
    groups = volumes.groups_of(summary(undrawn("alexnet"), (3, 224, 224)))
    boxes = {group.volume: group.blocks[-1] for group in groups}
    first, second = boxes[55, 55, 64], boxes[27, 27, 192]
    assert first.height / second.height == pytest.approx((55 / 27) ** 0.6)
    assert second.thickness / first.thickness == pytest.approx((192 / 64) ** 0.6)
    assert first.recess[0] / first.height == pytest.approx(second.recess[0] / second.height)
    wide = volumes.groups_of(summary(nn.Sequential(nn.Conv2d(1, 8, 1)), (1, 10, 40)))[0].blocks[0]
    assert wide.recess[0] / wide.height == pytest.approx(4**0.6 * first.recess[0] / first.height)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("lenet5", ["28×28×1", "28×28×6\nconv 5×5", "14×14×6\nmax 2×2", "10×10×16\nconv 5×5", "5×5×16\nmax 2×2"]),
        ("alexnet", ["224×224×3", "55×55×64\nconv 11×11 /4", "27×27×64\nmax 3×3", "27×27×192\nconv 5×5"]),
        ("vgg16", ["224×224×3", "224×224×64\n2 × conv 3×3", "112×112×64\nmax 2×2", "112×112×128\n2 × conv 3×3"]),
        ("resnet18", ["224×224×3", "112×112×64\nconv 7×7 /2", "56×56×64\nmax 3×3", "56×56×64\n4 × conv 3×3"]),
        ("googlenet", ["224×224×3", "112×112×64\nconv", "56×56×192\n2 × conv\npool", "28×28×480\n12 × conv\n3 × pool"]),
    ],
)
def test_architecture_labels(name, labels):
    expected = models.preprocessing(name)
    axes = plots.architecture(undrawn(name), (len(expected.mean), expected.crop, expected.crop), title=name)
    texts = [text.get_text() for text in axes.texts]
    assert texts[: len(labels)] == labels
    assert texts[-1] == str(10 if name == "lenet5" else 1000)
    assert axes.get_title().startswith(f"{name}: ")


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "vgg16", "resnet18", "googlenet", "mobilenet_v2", "digits_net"])
def test_neither_boxes_nor_labels_overlap(name):
    expected = models.preprocessing(name)
    axes = plots.architecture(undrawn(name), (len(expected.mean), expected.crop, expected.crop))
    renderer = axes.figure.canvas.get_renderer()
    axes.figure.draw(renderer)
    labels = [text.get_window_extent(renderer) for text in axes.texts]
    legend = axes.get_legend().get_window_extent(renderer)
    faces = [patch.get_window_extent(renderer) for patch in axes.patches]
    assert all(before.x1 < behind.x0 for before, behind in itertools.pairwise(labels))
    assert max(box.y1 for box in labels) < min(face.y0 for face in faces)
    assert max(face.y1 for face in faces) < legend.y0
    assert legend.y1 < axes.title.get_window_extent(renderer).y0
    whole = axes.figure.bbox
    assert min(box.x0 for box in labels) >= 0
    assert max(box.x1 for box in labels) <= whole.x1
    assert min(box.y0 for box in labels) >= 0
    groups = volumes.groups_of(summary(undrawn(name), (len(expected.mean), expected.crop, expected.crop)))
    assert all(before.blocks[-1].right < behind.blocks[0].x for before, behind in itertools.pairwise(groups))


def test_colours_say_what_makes_a_volume():
    axes = plots.architecture(undrawn("lenet5"), (1, 28, 28))
    legend = axes.get_legend()
    named = {
        text.get_text(): colors.to_hex(handle.get_facecolor())
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    assert list(named) == ["input", "convolution", "pooling", "fully connected"]
    assert len(set(named.values())) == 4
    # Three faces each: of the second volume, the first convolution, all are tints of one colour.
    front, *_ = axes.patches[3:6]
    assert np.argmax(front.get_facecolor()[:3]) == np.argmax(colors.to_rgb(named["convolution"])) == 2


def test_windows_are_as_large_as_the_filters():
    groups = volumes.groups_of(summary(undrawn("alexnet"), (3, 224, 224)))
    shares = [window[2] for window in volumes.windows_of(groups)]
    assert shares[0] == (11 / 224, 11 / 224)
    assert shares[1] == (3 / 55, 3 / 55)


def test_residuals_are_arcs_round_their_blocks():
    found = summary(undrawn("resnet18"), (3, 224, 224))
    groups = volumes.groups_of(found)
    skips = volumes.skips_of(found, groups)
    assert len(skips) == 8
    assert all(before[1] == behind[0] or before[1].x < behind[0].x for before, behind in itertools.pairwise(skips))
    assert skips[0][0] is groups[2].blocks[0]  # from the pooling
    assert volumes.skips_of(summary(undrawn("vgg16"), (3, 224, 224)), groups) == []


def test_architecture_refuses_an_image_that_does_not_fit():
    with pytest.raises(fc.ShapeError, match="kernel size can't be greater"):
        plots.architecture(undrawn("alexnet"), (3, 20, 20))
    with pytest.raises(TypeError, match="must be a fastconv"):
        plots.architecture(len, (3, 20, 20))


# Receptive fields


def test_a_receptive_field_is_a_box_between_pixels(network, rng):
    image = rng.uniform(0, 1, (1, 28, 28)).astype(np.float32)
    axes = plots.receptive_field(network, "conv2", image, (3, 5))
    (box,) = axes.patches
    # Rows -2 + 2·3 = 4 to 17, columns 8 to 21.
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (7.5, 3.5, 14, 14)
    assert axes.get_ylabel() == "rows: size 14, jump 2, start -2 + 3·2 = 4, end 4 + 14 - 1 = 17"
    assert len(axes.images) == 1


def test_what_lies_in_the_padding_is_dashed(network):
    axes = plots.receptive_field(network, "conv2", np.eye(28, dtype=np.float32)[None], (0, 9))
    dashed, box = axes.patches
    assert (dashed.get_linestyle(), box.get_linestyle()) == ("--", "-")
    assert (dashed.get_x(), dashed.get_y(), dashed.get_width(), dashed.get_height()) == (15.5, -2.5, 14, 14)
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (15.5, -0.5, 12, 12)
    assert axes.get_ylim()[1] < -2.5
    assert axes.get_title().endswith("sees 12×12 pixels\n(dashed: with the padding)")


def test_the_effective_field_is_coloured_inside_the_box(rng):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3))
    image = rng.uniform(0, 1, (1, 12, 12)).astype(np.float32)
    axes = plots.receptive_field(model, "1", image, (2, 6), effective=True)
    opacity = axes.images[1].get_array()[..., 3]
    inside = np.zeros((12, 12), bool)
    inside[2:7, 6:11] = True
    assert opacity[inside].all()
    assert not opacity[~inside].any()
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_a_unit_of_a_connected_layer_sees_everything(network):
    axes = plots.receptive_field(network, "fc3", np.eye(28, dtype=np.float32)[None], effective=True)
    assert axes.patches[0].get_width() == 28
    assert axes.get_xlabel() == "columns: 0 to 27"


def test_receptive_fields_refuse_what_is_not_there(network):
    image = np.zeros((1, 28, 28), np.float32)
    with pytest.raises(ValueError, match="no layer 'conv9'; there are conv1, pool1"):
        plots.receptive_field(network, "conv9", image)
    with pytest.raises(IndexError, match=r"no unit \(10, 0\)"):
        plots.receptive_field(network, "conv2", image, (10, 0))
    with pytest.raises(fc.ShapeError, match=r"shape \(C, H, W\)"):
        plots.receptive_field(network, "conv2", image[0])
    with pytest.raises(fc.ShapeError, match="kernel size can't be greater"):
        plots.receptive_field(network, "conv2", image[:, :6, :6])


# Backends


def record(contestant, seconds, case="a", direction="forward", suite="small", **more):
    return Record(
        case, suite, 1, direction, 1, "nchw", "float32", 2, contestant, "timed", time_median=seconds, time_min=seconds,
        **more,
    )  # fmt: skip


def bars(axes):
    """Ends of the bars by their label's order."""
    return [round(bar.get_x() + bar.get_width(), 6) for bar in axes.patches]


def test_bars_are_speeds_over_the_slowest():
    run = Run({}, {}, (record("fastconv:numba", 0.5), record("torch", 1.0), record("fastconv:cython", 0.25)))
    axes = plots.backends(run)
    assert bars(axes) == [2.0, 1.0, 4.0]
    assert [text.get_text() for text in axes.texts] == ["2.00×", "1× (torch)", "4.00×"]
    assert axes.get_xscale() == "log"
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["fastconv:numba", "torch", "fastconv:cython"]
    peer = colors.to_rgb(axes.get_legend().legend_handles[1].get_facecolor())
    assert max(peer) - min(peer) < 0.1  # grey


def test_many_cases_become_geometric_means_over_what_all_have_timed():
    records = []
    for number in range(20):
        records.append(record("fastconv:numba", 1.0, case=str(number)))
        records.append(record("torch", 2.0 if number % 2 else 8.0, case=str(number)))
    records.append(record("fastconv:numba", 1e-9, case="alone"))
    records += [record("fastconv:numba", 3.0, direction="step"), record("torch", 6.0, direction="step")]
    axes = plots.backends(Run({}, {}, tuple(records)))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["forward", "step"]
    assert bars(axes) == [4.0, 1.0, 2.0, 1.0]


def test_groups_are_named_by_what_differs():
    few = (record("a", 1.0), record("b", 2.0), record("a", 1.0, case="c"), record("b", 2.0, case="c"))
    assert [label.get_text() for label in plots.backends(Run({}, {}, few)).get_yticklabels()] == ["a", "c"]


def test_backends_need_two_to_compare():
    for times in ({}, {"conv": {"numba": 1.0}}, Run({}, {}), Run({}, {}, (record("a", 1.0),))):
        with pytest.raises(ValueError, match="nothing to compare"):
            plots.backends(times)
    wrong = replace(record("b", 1.0), status="wrong")
    with pytest.raises(ValueError, match="nothing to compare"):
        plots.backends(Run({}, {}, (record("a", 1.0), wrong)))


# All of them


def test_importing_pictures_does_not_import_matplotlib():
    code = "import sys, fastconv.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_palette_can_be_told_apart_without_colours_for_red_and_green():
    """Linear RGB as deuteranopes and protanopes see it (H. Brettel et al., simplified by F. Vienot et al., 1999)."""
    simulated = {
        "protanope": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
        "deuteranope": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
    }
    linear = np.array([colors.to_rgb(colour) for colour in canvas.PALETTE]) ** 2.2
    for matrix in simulated.values():
        seen = np.clip(linear @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
        distances = np.linalg.norm(seen[:, None] - seen, axis=2)[np.triu_indices(len(seen), 1)]
        assert distances.min() > 0.12
