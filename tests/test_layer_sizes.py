"""Sizes on paper: the lecture notes' numbers, the same arithmetic as layers have, explanations, and the command."""

import re

import pytest

import fastconv as fc
from fastconv import cli, nn


def last(volume, *layers):
    return fc.sizes(volume, *layers).sizes[-1]


def test_alexnets_first_layer():
    size = last("227x227x3", "conv:96,11,4,0")
    assert size.volume == (55, 55, 96)
    assert size.formula == "(227 - 11 + 2*0)/4 + 1 = 55"
    assert size.neurons == 290_400
    assert size.fan_in == 363
    assert size.fan_in_formula == "11*11*3"
    assert size.parameters == 96 * 363 + 96 == 34_944
    assert size.unshared == 290_400 * 364 == 105_705_600
    assert size.multiply_adds == 290_400 * 363
    assert size.note == ""


def test_one_neuron_and_one_filter_of_cifar_10():
    assert last("32x32x3", "fc:1").fan_in == 3_072
    neuron = last("32x32x3", "conv:1,5")
    assert (neuron.fan_in, neuron.parameters) == (75, 76)


def test_pooling_halves():
    size = last("224x224x64", "pool:2,2")
    assert size.volume == (112, 112, 64)
    assert size.formula == "(224 - 2)/2 + 1 = 112"
    assert (size.parameters, size.unshared, size.multiply_adds) == (0, 0, 0)
    assert last("224x224x64", "pool:2").volume == size.volume


def test_two_hundred_pixels_and_hidden_units_of_three_kinds():
    assert last("200x200x1", "fc:400000").multiply_adds == 16_000_000_000
    # 400,000 neurons in fields of 10 x 10: ten maps of the size of the image.
    size = last("209x209x1", "conv:10,10")
    assert size.neurons == 400_000
    assert size.neurons * size.fan_in == 40_000_000
    assert size.parameters == 1_010


@pytest.mark.parametrize(
    ("volume", "words", "layers"),
    [
        ("227x227x3", ["conv:96,11,4", "pool:3,2"], [nn.Conv2d(3, 96, 11, 4), nn.MaxPool2d(3, 2)]),
        ("13x20x4", ["conv:6,4,1,same", "pool:3,2,1"], [nn.Conv2d(4, 6, 4, padding="same"), nn.MaxPool2d(3, 2, 1)]),
        ("14x14x2", ["conv:3,3,2,1", "flatten", "fc:5"], [nn.Conv2d(2, 3, 3, 2, 1), nn.Flatten(), nn.Linear(147, 5)]),
        ("9x8x2", ["avgpool:2", "avgpool"], [nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)]),
    ],
)
def test_volumes_and_counts_are_those_of_layers(volume, words, layers):
    height, width, depth = map(int, volume.split("x"))
    found, expected = fc.sizes(volume, *words), fc.summary(nn.Sequential(*layers), (depth, height, width))
    assert found.parameters == expected.parameters
    assert found.multiply_adds == expected.multiply_adds
    for size, layer in zip(found.sizes[1:], expected.layers, strict=True):
        _, *extents = layer.volume
        assert size.volume == ((*extents[1:], extents[0]) if len(extents) == 3 else tuple(extents))


def test_layers_without_weights_keep_the_volume():
    found = fc.sizes("5x6x7", "relu", "lrn:5", "dropout", "flatten", "softmax")
    assert [size.volume for size in found.sizes] == [(5, 6, 7)] * 4 + [(210,)] * 2


def test_a_stride_that_does_not_divide_is_explained():
    note = last("10x10x1", "conv:1,3,2,0").note
    assert note.startswith("(10 - 3 + 2*0)/2 + 1 = 4.5: the last row and the last column would never be read;")
    assert "round down to 4 and ignore 1 row and 1 column" in note
    assert "S=1, or an input of 9 or 11" in note
    assert last("10x10x1", "conv:1,3,2,0").formula == "(10 - 3 + 2*0)/2 + 1 = 4.5, so 4"
    assert "ignore 1 column;" in last("9x10x1", "conv:1,3,2").note
    assert "the last 2 rows and the last 2 columns" in last("12x12x1", "conv:1,4,3").note


def test_zeros_that_are_left_out_are_no_loss():
    note = last("224x224x3", "conv:64,7,2,3").note
    assert "112.5: all pixels are read, but not all zeros behind them" in note


@pytest.mark.parametrize("volume", ["10x10x1", "12x12x2", "224x224x3", "11x14x1"])
@pytest.mark.parametrize("layer", ["conv:1,3,2", "conv:1,4,3,1", "conv:8,11,4,2", "pool:3,2", "pool:3,2,1", "pool:4,3"])
def test_settings_that_are_said_to_fit_do(volume, layer):
    name, numbers = layer.split(":")
    words = numbers.split(",") + ["0"] * (
        3 - len(numbers.split(",")) if name == "pool" else 4 - len(numbers.split(","))
    )
    try:
        note = last(volume, layer).note
    except fc.ShapeError:
        assert min(map(int, volume.split("x")[:2])) < 11
        return
    for letter, place in (("P", -1), ("S", -2)):
        found = re.search(rf"{letter}=([\d or]+)", note)
        for value in re.findall(r"\d+", found[1]) if found else ():
            changed = [*words]
            changed[place] = value
            assert last(volume, f"{name}:{','.join(changed)}").note == ""
    for extent in re.findall(r"\d+", (re.search(r"an input of (\d+ or \d+)", note) or [""])[0]):
        assert last(f"{extent}x{extent}x{volume.split('x')[2]}", layer).note == ""


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (("5x5x3", "conv:1,7"), fc.ShapeError, r"conv:1,7 on 5x5x3: kernel size can't be greater .* \(7 x 7\)"),
        (("5x5x3", "pool:3,1,2"), fc.ShapeError, "half of kernel size"),
        (("5x5x3", "fc:2", "conv:1,1"), fc.ShapeError, "conv:1,1 on 2: needs a volume"),
        (("5x5", "relu"), ValueError, "a volume is HxWxD"),
        (("5x0x3", "relu"), ValueError, "a volume is HxWxD"),
        (((5, 5, 3), "relu"), TypeError, "a volume is a text"),
        (("5x5x3", 7), TypeError, "a layer is a text, such as 'conv:96,11,4,0', got 7"),
        (("5x5x3", "cnv:1"), ValueError, r"no layer 'cnv:1': expected conv:K,F\[,S\[,P\]\], pool"),
        (("5x5x3", "conv:1"), ValueError, r"conv:1: expected conv:K,F\[,S\[,P\]\]"),
        (("5x5x3", "conv:1,3,1,0,0"), ValueError, "expected conv:K"),
        (("5x5x3", "conv:0,3"), ValueError, "K must be an integer of at least 1, got '0'"),
        (("5x5x3", "conv:1,-3"), ValueError, "F must be"),
        (("5x5x3", "conv:1,3,2,same"), ValueError, "padding='same' is not supported for strided"),
        (("5x5x3", "pool:2,2,same"), ValueError, "P must be an integer of at least 0, got 'same'"),
    ],
)
def test_bad_layers_are_named(words, error, text):
    with pytest.raises(error, match=text):
        fc.sizes(*words)


def test_the_command_prints_formula_numbers_and_explanation(capsys):
    assert cli.main(["sizes", "224x224x3", "conv:96,11,4,0", "relu", "pool:3,2"]) == 0
    printed = capsys.readouterr().out
    assert "(224 - 11 + 2*0)/4 + 1 = 54.25, so 54" in printed
    assert "54x54x96" in printed
    assert "11*11*3 = 363" in printed
    assert "ignore 1 row and 1 column" in printed
    assert "34,944 parameters with shared weights, 101,896,704 without" in printed


def test_the_command_refuses_what_does_not_fit(capsys):
    assert cli.main(["sizes", "5x5x3", "conv:1,7"]) == 1
    assert "fastconv: conv:1,7 on 5x5x3: kernel size can't be greater" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main(["sizes", "5x5x3"])
