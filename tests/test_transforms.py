"""What is done to images: preprocessing against PyTorch's resampling, augmentation against its own definition."""

import copy
import pickle

import numpy as np
import pytest
from support.pictures import picture

from fastconv.datasets import transforms
from fastconv.errors import DTypeError, ShapeError, UnsafeFileError

Image = pytest.importorskip("PIL.Image")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AUGMENTATIONS = {
    "shift": transforms.random_shift(3),
    "flip": transforms.random_flip(),
    "crop": transforms.random_crop(0.6),
    "scale": transforms.random_scale(1.5),
    "brightness": transforms.random_brightness(0.4, MEAN, STD),
    "occlusion": transforms.random_occlusion(0.5),
}
every_augmentation = pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)


@pytest.fixture
def images(rng):
    return rng.normal(size=(7, 3, 11, 13)).astype(np.float32)


@pytest.mark.oracle
@pytest.mark.parametrize("size", [(97, 64), (50, 120), (40, 41), (33, 32)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resizing_averages_as_torch_does_with_antialiasing(torch, rng, size, interpolation):
    image = picture(rng, (120, 90, 160), size)
    found = transforms.resize(32, interpolation)(image)
    short, long = min(size), max(size)
    expected_size = (32, int(32 * long / short)) if size[0] <= size[1] else (int(32 * long / short), 32)
    assert found.size == expected_size
    planes = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].double()
    options = {"mode": interpolation, "antialias": True, "align_corners": False}
    expected = torch.nn.functional.interpolate(planes, size=expected_size[::-1], **options).clamp(0, 255)
    # Pillow rounds to 8 bits after each of the two axes.
    assert np.abs(np.asarray(found, float).transpose(2, 0, 1) - expected[0].numpy()).max() <= 1.5


def test_preprocessing_is_its_steps(rng):
    image = picture(rng, (120, 90, 160), (70, 50))
    found = transforms.preprocess(40, 32, MEAN, STD)(image)
    assert (found.shape, found.dtype, found.flags.c_contiguous) == ((3, 32, 32), np.float32, True)
    resized = image.resize((56, 40), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized, np.float64)[4:36, 12:44] / 255
    np.testing.assert_allclose(found, ((pixels - MEAN) / STD).transpose(2, 0, 1), rtol=1e-5, atol=1e-6)
    steps = transforms.resize(40), transforms.center_crop(32), transforms.to_array(), transforms.normalize(MEAN, STD)
    np.testing.assert_array_equal(transforms.compose(*steps)(image), found)
    again = pickle.loads(pickle.dumps(transforms.preprocess(40, 32, MEAN, STD)))
    np.testing.assert_array_equal(again(image), found)


def test_one_mean_makes_grey_images(rng):
    image = picture(rng, (120, 90, 160), (20, 20))
    found = transforms.preprocess(8, 8, (0.0,), (1.0,))(image)
    assert found.shape == (1, 8, 8)
    grey = image.resize((8, 8), Image.Resampling.BILINEAR).convert("L")
    np.testing.assert_array_equal(found[0], np.asarray(grey, np.float32) / np.float32(255))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: transforms.preprocess(200, 224), ValueError, "crop of 224 pixels does not fit"),
        (lambda: transforms.preprocess(8, 8, (0.5,), (0.5, 0.5)), ValueError, "one number per channel, got 1 and 2"),
        (lambda: transforms.preprocess(8, 8, (0.5, 0.5), (0.5, 0.5)), ValueError, "channels must be 3 or 1, got 2"),
        (lambda: transforms.normalize((0.5,), (0.0,)), ValueError, "std must be positive"),
        (lambda: transforms.normalize((), ()), ValueError, "one number per channel"),
        (lambda: transforms.resize(8, "cubic"), ValueError, "interpolation must be one of nearest"),
        (lambda: transforms.resize(0), ValueError, "shorter must be a positive int"),
        (lambda: transforms.compose(transforms.resize(8), None), TypeError, "a step must be a function"),
        (lambda: transforms.center_crop(8)(Image.new("L", (7, 9))), ShapeError, "7x9 pixels has no square of 8"),
        (lambda: transforms.resize(4096)(Image.new("L", (1, 5000))), UnsafeFileError, "1x5000 pixels would have"),
        (lambda: transforms.random_shift(0), ValueError, "largest must be a positive int"),
        (lambda: transforms.random_flip(1.5), ValueError, r"p must lie in \[0, 1\], got 1.5"),
        (lambda: transforms.random_crop(0.0), ValueError, r"smallest must lie in \(0, 1\]"),
        (lambda: transforms.random_scale(0.5), ValueError, "largest must be at least 1"),
        (lambda: transforms.random_brightness(float("nan")), ValueError, "largest must be finite"),
        (lambda: transforms.random_occlusion(-0.1), ValueError, "largest must lie in"),
    ],
)
def test_what_cannot_be_done_is_said(make, error, words):
    with pytest.raises(error, match=words):
        make()


@every_augmentation
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_generator_draws_the_same_and_every_image_its_own(augment, dtype, images):
    images = np.repeat(images[:1], 40, axis=0).astype(dtype)
    before = images.copy()
    first, second = (augment(images, np.random.default_rng(3)) for _ in range(2))
    other = augment(images, np.random.default_rng(4))
    np.testing.assert_array_equal(first, second)
    assert (first.shape, first.dtype) == (images.shape, dtype)
    assert (first != other).any()
    assert len({image.tobytes() for image in first}) > 1
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_integers_are_moved_but_not_averaged(name, rng):
    images = rng.integers(0, 256, (5, 3, 11, 13), dtype=np.uint8)
    if name in ("crop", "scale", "brightness"):
        with pytest.raises(DTypeError, match="images must be floats to be averaged or scaled, got dtype uint8"):
            AUGMENTATIONS[name](images, rng)
    else:
        found = AUGMENTATIONS[name](images, np.random.default_rng(0))
        expected = AUGMENTATIONS[name](images.astype(np.float32), np.random.default_rng(0))
        np.testing.assert_array_equal(found, expected.astype(np.uint8), strict=True)


@every_augmentation
def test_augmentations_survive_copies_and_empty_batches(augment, images):
    for copied in (copy.deepcopy(augment), pickle.loads(pickle.dumps(augment))):
        np.testing.assert_array_equal(
            copied(images, np.random.default_rng(1)), augment(images, np.random.default_rng(1))
        )
    assert augment(images[:0], np.random.default_rng(0)).shape == (0, 3, 11, 13)


def test_chains_draw_in_order(images):
    both = transforms.compose(AUGMENTATIONS["flip"], AUGMENTATIONS["occlusion"])
    one, other = np.random.default_rng(5), np.random.default_rng(5)
    expected = AUGMENTATIONS["occlusion"](AUGMENTATIONS["flip"](images, other), other)
    np.testing.assert_array_equal(both(images, one), expected)


def test_flips_mirror_whole_images(images):
    flipped = transforms.random_flip(0.5)(np.repeat(images, 8, axis=0), np.random.default_rng(0))
    kinds = set()
    for found, image in zip(flipped, np.repeat(images, 8, axis=0), strict=True):
        is_mirrored = (found == image[..., ::-1]).all()
        assert is_mirrored or (found == image).all()
        kinds.add(bool(is_mirrored))
    assert kinds == {True, False}


def test_brightness_scales_the_light_itself(rng):
    light = rng.random((5, 3, 4, 6))
    mean, std = (np.reshape(values, (3, 1, 1)) for values in (MEAN, STD))
    found = transforms.random_brightness(0.4, MEAN, STD)((light - mean) / std, rng) * std + mean
    factors = (found / light).reshape(5, -1)
    np.testing.assert_allclose(factors, np.repeat(factors[:, :1], factors.shape[1], axis=1))
    assert ((factors > 0.6) & (factors < 1.4)).all()


def test_occlusion_hides_one_rectangle(rng):
    hidden = transforms.random_occlusion(0.5)(np.ones((50, 2, 11, 13), np.float32), rng) == 0
    areas = set()
    for mask in hidden:
        np.testing.assert_array_equal(mask[0], mask[1])
        rows, columns = mask[0].any(axis=1), mask[0].any(axis=0)
        np.testing.assert_array_equal(mask[0], rows[:, None] & columns)
        for line, extent in ((rows, 11), (columns, 13)):
            assert 1 <= line.sum() <= extent // 2
            assert np.ptp(np.flatnonzero(line)) + 1 == line.sum()
        areas.add(int(mask[0].sum()))
    assert len(areas) > 5


def test_crops_and_scales_resample_straight_lines_exactly(rng):
    """Bilinear interpolation of a ramp is a ramp: each view is an affine map of the coordinates."""
    H, W = 16, 20
    ramp = np.broadcast_to(np.arange(W, dtype=np.float64), (30, 1, H, W))
    cropped = transforms.random_crop(0.5)(ramp, rng)[:, 0]
    inner = cropped[:, :, 2:-2]
    steps = np.diff(inner, axis=2)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1, :1], steps.shape), atol=1e-9)
    assert ((steps >= 0.5 - 1e-9) & (steps <= 1 + 1e-9)).all()
    assert cropped.min() >= 0
    assert cropped.max() <= W - 1
    scaled = transforms.random_scale(1.5)(ramp + 1, rng)[:, 0]
    middle = scaled[:, H // 2, W // 2 - 2 : W // 2 + 2]
    # The middle stays where it is; what comes from outside is zero.
    np.testing.assert_allclose(middle.mean(axis=1), (W + 1) / 2)
    assert (scaled == 0).any()
    assert ((scaled == 0) | (scaled >= 1 - 1e-9)).all()


def test_a_view_of_the_whole_is_the_image(images):
    np.testing.assert_array_equal(transforms.random_crop(1.0)(images, np.random.default_rng(0)), images)
    np.testing.assert_allclose(transforms.random_scale(1.0)(images, np.random.default_rng(0)), images)
