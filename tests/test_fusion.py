"""Layers in one pass: the same numbers as layer by layer, in training and folded for inference."""

import numpy as np
import pytest
from support.backends import every_backend
from support.data import DTYPES, FORMATS, assert_same_bits, in_format, integers

import fastconv as fc
from fastconv import arrays, backends, models, nn
from fastconv import functional as F
from fastconv.errors import DTypeError, ShapeError
from fastconv.functional.flat_linear import flat_linear


def chain():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3),
        nn.ReLU(),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 1),
        nn.BatchNorm2d(5, affine=False),
    )


def trained(model, rng):
    """With running statistics, scales and shifts that are not those of the beginning."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            with fc.no_grad():
                module.running_mean.copy_(rng.standard_normal(module.num_features))
                module.running_var.copy_(rng.uniform(0.5, 2, module.num_features))
                for tensor in (item for item in (module.weight, module.bias) if item is not None):
                    tensor.copy_(rng.uniform(-1, 2, module.num_features))
    return model


def layer_by_layer(model, x):
    for module in model:
        x = module(x)
    return x


@every_backend
@pytest.mark.parametrize("wanted", FORMATS)
def test_a_chain_trains_as_its_layers_one_by_one(rng, backend, wanted):
    x = in_format(rng.standard_normal((4, 3, 9, 11)), wanted)
    fused, single = (trained(chain(), np.random.default_rng(3)).double() for _ in range(2))
    single.load_state_dict(fused.state_dict())
    with fc.use_backend(backend):
        results = []
        for model, forward in ((fused, fused), (single, lambda x: layer_by_layer(single, x))):
            leaf = fc.tensor(x, requires_grad=True)
            out = forward(leaf)
            (out * out).sum().backward()
            gradients = [parameter.grad.numpy() for parameter in model.parameters()]
            buffers = [buffer.numpy() for buffer in model.buffers()]
            results.append([out.numpy(), leaf.grad.numpy(), *gradients, *buffers])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@every_backend
def test_a_rectified_convolution_has_the_bits_of_both_passes(rng, backend):
    x, weight = (
        rng.standard_normal((2, 3, 8, 9)).astype(np.float32),
        rng.standard_normal((5, 3, 3, 3)).astype(np.float32),
    )
    x[0, 0, 0, 0], x[1, 1, 3, 3] = np.nan, -np.inf
    leaves = [[fc.tensor(array, requires_grad=True) for array in (x, weight, np.ones(5, np.float32))] for _ in range(2)]
    with fc.use_backend(backend):
        fused = F.conv2d(*leaves[0], padding=1, activation="relu")
        single = F.relu(F.conv2d(*leaves[1], padding=1))
        assert_same_bits(fused.numpy(), single.numpy())
        grad = rng.standard_normal(fused.shape).astype(np.float32)
        for out in (fused, single):
            out.backward(grad)
    for ours, expected in zip(*leaves, strict=True):
        assert_same_bits(ours.grad.numpy(), expected.grad.numpy())


@every_backend
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_a_rectified_linear_layer_has_the_bits_of_both_passes(rng, backend, rows):
    drawn = [rng.standard_normal(shape).astype(np.float32) for shape in ((rows, 33), (20, 33), (20,))]
    leaves = [[fc.tensor(array, requires_grad=True) for array in drawn] for _ in range(2)]
    fused = F.linear(*leaves[0], activation="relu", backend=backend)
    single = F.linear(*leaves[1], backend=backend)
    grad = rng.standard_normal(fused.shape).astype(np.float32)
    with fc.use_backend(backend):
        single = F.relu(single)
        assert_same_bits(fused.numpy(), single.numpy())
        for out in (fused, single):
            out.backward(grad)
    for ours, expected in zip(*leaves, strict=True):
        assert_same_bits(ours.grad.numpy(), expected.grad.numpy())


@every_backend
@pytest.mark.parametrize("window", [(2,), (3, 2, 1)], ids=["apart", "overlapping"])
def test_a_rectified_pooling_has_the_bits_of_the_pooled_rectified(rng, backend, window):
    x = rng.standard_normal((2, 3, 9, 8)).astype(np.float32)
    x[0, 0, 0, 0], x[1, 1, 3, 3], x[1, 2, :4, :4], x[0, 2] = np.nan, np.inf, -np.inf, -1
    leaves = [fc.tensor(x, requires_grad=True) for _ in range(2)]
    with fc.use_backend(backend):
        fused = F.max_pool2d(leaves[0], *window, activation="relu")
        single = F.max_pool2d(F.relu(leaves[1]), *window)
        assert_same_bits(fused.numpy(), single.numpy())
        grad = rng.standard_normal(fused.shape).astype(np.float32)
        for out in (fused, single):
            out.backward(grad)
    assert_same_bits(leaves[0].grad.numpy(), leaves[1].grad.numpy())


def test_positions_of_a_rectified_pooling_are_those_of_the_largest_inputs(rng):
    x = rng.integers(-4, 5, (2, 3, 6, 6)).astype(np.float32)
    values, positions = F.max_pool2d(x, 2, return_indices=True, activation="relu")
    expected = F.max_pool2d(x, 2, return_indices=True)
    assert_same_bits(values, F.relu(expected[0]))
    np.testing.assert_array_equal(positions, expected[1])


def rectifiers(model, x):
    """Shapes of the gradients that single passes rectify in a training step of a model."""
    with fc.backends.recording() as records:
        model(x).sum().backward()
    return [record.problem.geometry.x_shape for record in records if record.op == "relu_grad_input"]


def test_in_training_a_rectifier_before_a_pooling_runs_behind_it(rng):
    x = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2)
    model, single = nn.Sequential(*layers), layers[0]
    assert rectifiers(model, x) == [(2, 4, 3, 3)]
    gradient = single.weight.grad.numpy().copy()
    model.zero_grad()
    out = F.max_pool2d(F.relu(single(fc.tensor(x))), 2)
    np.testing.assert_array_equal(out.numpy(), model(x).numpy())
    out.sum().backward()
    np.testing.assert_array_equal(single.weight.grad.numpy(), gradient)


def test_a_rectifier_stays_before_a_pooling_that_nothing_asks_to_shrink(rng):
    x = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    conv = nn.Conv2d(3, 4, 3)
    assert rectifiers(nn.Sequential(conv, nn.ReLU(), nn.AvgPool2d(2)), x) == [(2, 4, 6, 6)]
    pooled = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2))
    with fc.no_grad(), fc.backends.recording() as records:
        pooled(x)
    assert [(record.op, record.problem.activation) for record in records] == [
        ("conv2d_forward", "relu"),
        ("max_pool2d_forward", None),
    ]
    assert rectifiers(nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(3, stride=1)), x) == [(2, 4, 6, 6)]
    with_indices = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2, return_indices=True))
    values, indices = with_indices(x)
    expected = F.max_pool2d(F.relu(conv(fc.tensor(x))), 2, return_indices=True)
    np.testing.assert_array_equal(values.numpy(), expected[0].numpy())
    np.testing.assert_array_equal(indices.numpy(), expected[1].numpy())


def test_a_single_image_is_rectified_too(rng):
    x, weight = (fc.tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((3, 6, 6), (4, 3, 3, 3)))
    out = F.conv2d(x, weight, activation="relu")
    out.backward(np.ones(out.shape))
    expected = F.relu(F.conv2d(x.numpy(), weight.numpy()))
    np.testing.assert_array_equal(out.numpy(), expected)
    assert x.grad.shape == (3, 6, 6)


@every_backend
@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("groups", [1, 20])
@pytest.mark.parametrize("dtype", DTYPES)
def test_relu6_runs_in_the_pass_of_its_convolution(backend, wanted, groups, dtype, rng):
    x = in_format(integers(rng, (2, 20, 9, 11), dtype), wanted)
    x[0, 0, 4, 4], x[1, 3, 5, 5] = np.nan, np.inf
    conv = nn.Conv2d(20, 20, 3, padding=1, groups=groups, bias=False, dtype=dtype)
    model = nn.Sequential(conv, nn.BatchNorm2d(20, dtype=dtype), nn.ReLU6(inplace=True)).eval()
    with fc.no_grad():
        for tensor in (*model.parameters(), model[1].running_mean):
            tensor.copy_(integers(rng, tensor.shape, dtype))
    fused = fc.fuse(model)
    with fc.use_backend(backend):
        expected = F.relu6(fused[0](x)).numpy()
        with backends.recording() as records:
            found = fused.forward(fc.tensor(x)).numpy()
    assert [(record.op, record.problem.activation) for record in records] == [("conv2d_forward", "relu6")]
    assert records[0].variant == "depthwise" or groups == 1 or backend == "reference"
    assert_same_bits(np.nan_to_num(found, nan=7), np.nan_to_num(expected, nan=7))
    assert np.nanmin(found) == 0
    assert np.nanmax(found) == 6


@pytest.mark.oracle
@every_backend
@pytest.mark.parametrize("wanted", FORMATS)
def test_gradients_pass_between_zero_and_six(torch, backend, wanted, rng):
    values = [integers(rng, shape) for shape in ((2, 6, 8, 7), (12, 3, 3, 3), (12,))]
    leaves = [fc.tensor(in_format(array, wanted), requires_grad=True) for array in values]
    others = [torch.from_numpy(array).requires_grad_() for array in values]
    out = F.conv2d(*leaves, padding=1, groups=2, activation="relu6", backend=backend)
    expected = torch.nn.functional.relu6(torch.nn.functional.conv2d(*others, padding=1, groups=2))
    grad = integers(rng, out.shape)
    out.backward(grad)
    expected.backward(torch.from_numpy(grad))
    np.testing.assert_array_equal(out.numpy(), expected.detach().numpy())
    for leaf, other in zip(leaves, others, strict=True):
        np.testing.assert_array_equal(leaf.grad.numpy(), other.grad.numpy())


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match=r"activation must be None or .relu. or .relu6., got .gelu."):
        F.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 1, 1)), activation="gelu")


@every_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_folding_changes_no_result(rng, backend, dtype):
    model = trained(chain(), rng).to(dtype).eval()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    fused = fc.fuse(model)
    assert [type(module).__name__ for module in fused][:3] == ["Conv2d", "Identity", "ReLU"]
    assert not any(parameter.requires_grad for parameter in fused.parameters())
    x = rng.standard_normal((2, 3, 9, 9)).astype(dtype)
    with fc.use_backend(backend), fc.no_grad():
        tolerance = 2e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(fused(x).numpy(), model(x).numpy(), rtol=tolerance, atol=tolerance)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_folding_runs_one_kernel_for_three_layers(rng):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    assert [step.op for step in fc.explain(model, (1, 3, 8, 8)).steps] == ["conv2d_forward", "batch_norm_forward"]
    assert [step.op for step in fc.explain(fc.fuse(model), (1, 3, 8, 8)).steps] == ["conv2d_forward"]


def test_what_is_used_elsewhere_too_is_not_folded():
    conv = nn.Conv2d(3, 3, 1)
    twice = nn.Sequential(conv, nn.BatchNorm2d(3), conv, nn.BatchNorm2d(3))
    assert sum(isinstance(module, nn.BatchNorm2d) for module in fc.fuse(twice)) == 2
    tied = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    tied[2].weight = tied[0].weight
    assert isinstance(fc.fuse(tied)[1], nn.BatchNorm2d)


def test_statistics_of_the_batch_are_not_folded():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False))
    assert isinstance(fc.fuse(model)[1], nn.BatchNorm2d)


def test_a_subclass_keeps_its_own_forward(rng):
    class Doubling(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * 2

    class Negative(nn.ReLU):
        def forward(self, x):
            return -super().forward(x)

    x = rng.standard_normal((1, 2, 5, 5)).astype(np.float32)
    for model in (nn.Sequential(Doubling(2, 2, 1), nn.ReLU()), nn.Sequential(nn.Conv2d(2, 2, 1), Negative())):
        np.testing.assert_array_equal(model(x).numpy(), layer_by_layer(model, fc.tensor(x)).numpy())


def test_only_modules_are_fused():
    with pytest.raises(TypeError, match="model must be a fastconv"):
        fc.fuse([nn.ReLU()])


@every_backend
@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("given", FORMATS)
@pytest.mark.parametrize(("channels", "filters", "groups"), [(3, 20, 1), (33, 5, 1), (32, 32, 32), (32, 32, 4)])
def test_a_convolution_writes_the_memory_format_that_is_asked_for(
    rng, backend, given, wanted, channels, filters, groups
):
    x = in_format(rng.integers(-3, 4, (2, channels, 9, 8)).astype(np.float32), given)
    weight = rng.integers(-3, 4, (filters, channels // groups, 3, 3)).astype(np.float32)
    options = {"groups": groups, "backend": backend}
    leaves = [fc.tensor(array, requires_grad=True) for array in (x, weight)]
    out = F.conv2d(*leaves, memory_format=wanted, **options)
    np.testing.assert_array_equal(out.numpy(), F.conv2d(x, weight, **options))
    assert arrays.memory_format(out.numpy()) == wanted
    out.backward(out.numpy())
    others = [fc.tensor(array, requires_grad=True) for array in (x, weight)]
    F.conv2d(*others, **options).backward(out.numpy())
    for leaf, other in zip(leaves, others, strict=True):
        np.testing.assert_array_equal(leaf.grad.numpy(), other.grad.numpy())


def test_layers_of_many_channels_hand_on_channels_last_and_reorder_nothing(rng):
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 24, 3))
    steps = fc.explain(model, (1, 3, 12, 12)).steps
    assert [step.layout for step in steps] == ["contiguous -> channels_last", *["channels_last"] * 3]
    steps = fc.explain(fc.fuse(model), (1, 3, 12, 12)).steps
    assert [step.layout for step in steps] == ["contiguous -> channels_last", *["channels_last"] * 2]


def test_an_unknown_memory_format_is_refused():
    with pytest.raises(ValueError, match="memory_format must be None, 'contiguous' or 'channels_last', got 'nhwc'"):
        F.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 1, 1)), memory_format="nhwc")


def test_explaining_changes_no_model(rng):
    model = trained(chain(), rng)
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    steps = fc.explain(model, (2, 3, 12, 12)).steps
    assert "batch_norm_statistics" in [step.op for step in steps]
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_models_are_explained_layer_by_layer():
    explanation = fc.explain(chain().eval(), (1, 3, 12, 12))
    told = [(step.layer, step.op, step.fused) for step in explanation.steps]
    assert told == [
        ("0", "conv2d_forward", ()),
        ("1", "batch_norm_forward", ("relu",)),
        ("3", "conv2d_forward", ("bias", "relu")),
        ("5", "relu_forward", ()),
        ("6", "max_pool2d_forward", ()),
        ("7", "conv2d_forward", ("bias",)),
        ("8", "batch_norm_forward", ()),
    ]
    assert explanation.steps[1].nbytes == 2 * 4 * 8 * 12 * 12
    header, *_ = str(explanation).splitlines()
    assert header.split()[:5] == ["layer", "operation", "shapes", "kernel", "fused"]


def test_explaining_leaves_a_model_as_it_was():
    model = chain()
    fc.explain(model, (2, 3, 12, 12))
    assert all("forward" not in vars(module) for module in model.modules())


def test_a_folded_block_adds_and_rectifies_in_one_pass(rng):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

        def folded_pairs(self):
            return [("conv", "norm")]

        def forward(self, x):
            out = nn.fusion.conv_norm(self.conv, self.norm, x, activation="relu")
            out = out + nn.fusion.conv_norm(self.conv, self.norm, x, residual=x)
            return nn.fusion.conv_norm(self.conv, self.norm, out, residual=x, activation="relu")

    model = trained(Block(), rng).eval()
    x = rng.standard_normal((2, 4, 6, 6)).astype(np.float32)
    fused = fc.fuse(model)
    np.testing.assert_allclose(fused(x).numpy(), model(x).numpy(), rtol=1e-4, atol=1e-4)
    assert [step.op for step in fc.explain(fused, x.shape).steps].count("batch_norm_forward") == 0


@pytest.mark.parametrize("pair", [("conv", "nrom"), ("cnv", "norm"), ("conv", "training")])
def test_pairs_of_what_a_module_does_not_have_are_named(pair):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)

        def folded_pairs(self):
            return [pair]

    with pytest.raises(ValueError, match=rf"folded_pairs of Block names \('{pair[0]}', '{pair[1]}'\)"):
        fc.fuse(nn.Sequential(Block()))


def test_pairs_of_other_layers_are_left_as_they_are():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.ReLU(), nn.BatchNorm2d(4)

        def folded_pairs(self):
            return [("first", "second")]

    assert type(fc.fuse(Block()).second) is nn.BatchNorm2d


def test_a_sequential_with_a_forward_of_its_own_is_not_folded(rng):
    class Skip(nn.Sequential):
        def forward(self, x):
            first = self[0](x)
            return self[1](first) + first

    model = trained(Skip(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)), rng).eval()
    x = rng.standard_normal((1, 3, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(fc.fuse(model)(x).numpy(), model(x).numpy())


def test_layers_that_were_given_another_forward_run_it(rng):
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.ReLU())
    model[0].forward = lambda x: x * -1
    model[3].forward = lambda x: x + 7
    x = rng.standard_normal((1, 3, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(model(x).numpy(), layer_by_layer(model, fc.tensor(x)).numpy())
    assert len(fc.explain(model, x.shape).steps) == 2
    assert "forward" in vars(model[0])


def test_a_normalisation_of_ones_own_can_stand_in_a_residual_block(rng):
    class Halved(nn.BatchNorm2d):
        def forward(self, x):
            return super().forward(x) * 0.5

    block = models.resnet18(10).layer1[0].eval()
    block.bn2 = Halved(64).eval()
    x = rng.standard_normal((1, 64, 5, 5)).astype(np.float32)
    expected = F.relu(block.bn2(block.conv2(F.relu(block.bn1(block.conv1(fc.tensor(x)))))) + fc.tensor(x))
    np.testing.assert_allclose(block(x).numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)


def test_pairs_that_do_not_fit_are_not_folded():
    assert isinstance(fc.fuse(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(1)))[1], nn.BatchNorm2d)


@every_backend
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_log_softmax_keeps_the_memory_format(rng, backend, axis):
    x = rng.standard_normal((3, 5, 4, 6))
    results = []
    for wanted in FORMATS:
        leaf = fc.tensor(in_format(x, wanted), requires_grad=True)
        with fc.use_backend(backend):
            out = F.log_softmax(leaf, axis)
            out.backward(out.numpy())
        assert arrays.memory_format(out.numpy()) == wanted
        results.append((out.numpy(), leaf.grad.numpy()))
    for found, expected in zip(*results, strict=True):
        # Gradients are differences: what is left of one may be small.
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(np.exp(results[0][0]).sum(axis=axis), 1, rtol=1e-12)


def head(outputs):
    return nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16 * 6, outputs), nn.ReLU()).eval()


class Copies(fc.backends.Listener):
    """Counts what operations other than kernels copy."""

    def __init__(self):
        self.count = 0

    def filled(self, call, sources, target):
        self.count += 1


@every_backend
@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("outputs", [5, 40, 300])
def test_a_layer_behind_flattened_maps_reads_them_where_they_are(rng, backend, wanted, outputs):
    """Integers: no order of summing changes them. Many outputs are worth a copy, as is what lies in order a view."""
    x = in_format(integers(rng, (3, 16, 4, 6)), wanted)
    model = head(outputs)
    with fc.no_grad():
        for parameter in model.parameters():
            parameter.copy_(integers(rng, parameter.shape))
    fused, copies = fc.fuse(model), Copies()
    with fc.use_backend(backend):
        expected = layer_by_layer(model, x).numpy()
        for _ in range(3):
            assert_same_bits(fused.forward(fc.tensor(x)).numpy(), expected)
        with fc.backends.listening(copies):
            fused.forward(fc.tensor(x))
        assert copies.count == (wanted == arrays.CHANNELS_LAST and outputs == 300)
        fused[3].weight.copy_(integers(rng, fused[3].weight.shape))
        single = layer_by_layer(fused, x).numpy()
        assert_same_bits(fused.forward(fc.tensor(x)).numpy(), single)


@every_backend
def test_a_layer_on_maps_gives_an_image_the_same_bits_in_every_batch(rng, backend):
    x = in_format(rng.standard_normal((37, 16, 4, 6)).astype(np.float32), arrays.CHANNELS_LAST)
    weight = rng.standard_normal((10, 16 * 24)).astype(np.float32)
    with fc.use_backend(backend):
        together = flat_linear(x, weight)
        for n in (0, 17, 36):
            assert_same_bits(flat_linear(x[n : n + 1], weight), together[n : n + 1])


@every_backend
@pytest.mark.parametrize("wanted", FORMATS)
def test_gradients_of_a_layer_on_maps_are_those_of_the_flattened(rng, backend, wanted):
    shapes = (3, 4, 2, 5), (6, 40), (6,)
    values = [in_format(integers(rng, shape), wanted) for shape in shapes]
    leaves = [[fc.tensor(value, requires_grad=True) for value in values] for _ in range(2)]
    grad = integers(rng, (3, 6))
    with fc.use_backend(backend):
        flat_linear(*leaves[0], activation="relu").backward(grad)
        F.linear(F.flatten(leaves[1][0], 1), *leaves[1][1:], activation="relu").backward(grad)
    for ours, expected in zip(*leaves, strict=True):
        assert_same_bits(ours.grad.numpy(), expected.grad.numpy())


def test_a_layer_on_maps_refuses_what_the_flattened_does(rng):
    x = in_format(rng.standard_normal((2, 3, 2, 2)).astype(np.float32), arrays.CHANNELS_LAST)
    with pytest.raises(ShapeError, match=r"linear expects .* got input \(2, 12\) and weight \(4, 13\)"):
        flat_linear(x, np.ones((4, 13), np.float32))
    with pytest.raises(DTypeError, match="float64"):
        flat_linear(x, np.ones((4, 12)))
