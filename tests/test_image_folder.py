"""Images in files: what is read, how, in which order, and what hostile ones get; training and prediction on them."""

import os
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from support.pictures import picture, write_folder

import fastconv as fc
from fastconv import nn, training
from fastconv.datasets import ImageFolder, LazyImages, read_image, transforms
from fastconv.errors import FormatError, ShapeError, UnsafeFileError

Image = pytest.importorskip("PIL.Image")

PREPARE = transforms.preprocess(16, 16, (0.5,) * 3, (0.25,) * 3)
SIZE = (3, 16, 16)


@pytest.fixture
def folder(tmp_path, rng):
    return write_folder(tmp_path / "pictures", rng)


@pytest.fixture
def grey_ramp():
    return np.arange(0, 256, 16, dtype=np.uint8).reshape(4, 4)


def make_model():
    fc.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


def png(width, height, data=b"", bits=8, colour=2):
    """A PNG file with the header of any size and whatever data."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_classes_are_sub_folders_in_alphabetical_order(folder):
    data = ImageFolder(folder, PREPARE)
    assert data.classes == ["blue", "green", "red"]
    assert data.labels.dtype == np.int64
    assert data.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert data.images.paths == sorted(str(path) for path in folder.rglob("*.png"))
    assert (data.images.shape, data.images.dtype, len(data)) == ((18, *SIZE), np.float32, 18)
    assert repr(data) == f"ImageFolder({str(folder)!r}: 18 images of 3 classes)"


def test_only_images_count_at_every_depth_links_followed_once(folder, rng):
    (folder / "notes.txt").write_text("not a class")
    (folder / ".cache").mkdir()
    (folder / "red" / "notes.txt").write_text("not an image")
    picture(rng, (1, 2, 3)).save(folder / "red" / ".hidden.png")
    (folder / "red" / "deep" / "er").mkdir(parents=True)
    picture(rng, (1, 2, 3)).save(folder / "red" / "deep" / "er" / "A.JPEG")
    (folder / "red" / "deep" / "circle").symlink_to(folder / "red", target_is_directory=True)
    elsewhere = write_folder(folder.parent / "elsewhere", rng, 2, {"far": (9, 9, 9)})
    (folder / "linked").symlink_to(elsewhere / "far", target_is_directory=True)
    data = ImageFolder(folder, PREPARE)
    assert data.classes == ["blue", "green", "linked", "red"]
    assert np.bincount(data.labels).tolist() == [6, 6, 2, 7]


def test_a_folder_that_is_no_data_set(folder, tmp_path):
    with pytest.raises(FileNotFoundError):
        ImageFolder(tmp_path / "absent")
    with pytest.raises(NotADirectoryError):
        ImageFolder(folder / "red" / "00.png")
    with pytest.raises(FileNotFoundError, match="holds no folder"):
        ImageFolder(folder / "red")
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no images in empty; counted are files that end in .jpg"):
        ImageFolder(folder)
    with pytest.raises(ValueError, match="damaged must be 'raise' or 'skip'"):
        ImageFolder(folder, damaged="ignore")


def test_given_classes_fix_the_numbers(folder, rng):
    data = ImageFolder(folder, PREPARE, classes=["red", "violet", "green", "blue"])
    assert data.labels.tolist() == [0] * 6 + [2] * 6 + [3] * 6
    with pytest.raises(ValueError, match="green are not among the classes red, blue"):
        ImageFolder(folder, classes=["red", "blue"])
    for wrong in ("red", ["red", "red", "green", "blue"]):
        with pytest.raises(ValueError, match="classes must be different names"):
            ImageFolder(folder, classes=wrong)


def test_rows_are_those_of_the_files_whatever_is_asked_for(folder):
    images = ImageFolder(folder, PREPARE).images
    expected = np.stack([PREPARE(Image.open(path).convert("RGB")) for path in images.paths])
    np.testing.assert_array_equal(images[:], expected)
    np.testing.assert_array_equal(np.asarray(images), expected)
    np.testing.assert_array_equal(np.asarray(images, np.float64), expected)
    for rows in ([3, 1, 17, 3], slice(4, None, 5), np.arange(18) % 2 == 0, np.array([], int), slice(0, 0)):
        np.testing.assert_array_equal(images[rows], expected[rows], strict=True)
    np.testing.assert_array_equal(images[-1], expected[-1])
    with pytest.raises(IndexError):
        images[18]
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(images, copy=False)


@pytest.mark.parametrize("threads", [1, 3, 16])
def test_announced_rows_are_decoded_once_and_change_nothing(folder, threads):
    opened, lock = [], threading.Lock()

    def counting(image):
        with lock:
            opened.append(image)
        return PREPARE(image)

    paths = ImageFolder(folder, PREPARE).images.paths
    images = LazyImages(paths, counting, threads=threads)
    expected, parts = images[:], [[4, 2], [0, 1], [2, 9], [17], [4, 2]]
    opened.clear()
    for number, rows in enumerate(parts):
        np.testing.assert_array_equal(images.read(rows, parts[number + 1 : number + 3]), expected[rows])
    assert len(opened) == sum(map(len, parts))
    images.read([0], soon=[[5, 6]])
    np.testing.assert_array_equal(images.read([7]), expected[[7]])
    assert not images._pending


def test_what_is_announced_bounds_what_is_in_memory(folder):
    images = ImageFolder(folder, PREPARE, threads=2).images
    for first in range(14):
        images.read([first], soon=[[first + 1], [first + 2]])
        assert len(images._pending) == 2
    images.forget()
    assert not images._pending


@pytest.mark.parametrize("error", [FormatError, KeyboardInterrupt])
def test_an_image_that_fails_gives_up_those_behind_it(folder, error):
    failed, go_on, later = threading.Event(), threading.Event(), []

    def failing(image):
        if not failed.is_set():
            failed.set()
            raise error("no image")
        go_on.wait(10)
        later.append(image)
        return PREPARE(image)

    images = LazyImages(ImageFolder(folder, PREPARE).images.paths, PREPARE, threads=1)
    images.transform = failing
    with pytest.raises(error, match="no image"):
        images.read(slice(0, 10), soon=[[11, 12]])
    go_on.set()
    images._pool.submit(int).result()  # behind all that was queued
    assert len(later) <= 1


def test_transforms_must_make_all_images_alike(tmp_path, rng):
    paths = []
    for number, size in enumerate([(8, 8), (8, 8), (9, 8)]):
        paths.append(tmp_path / f"{number}.png")
        picture(rng, (1, 2, 3), size=(size[0] + 8, size[1])).save(paths[-1])
    images = LazyImages(paths, transforms.to_array())
    assert images[:2].shape == (2, 3, 8, 16)
    with pytest.raises(ShapeError, match=r"2.png: becomes float32 of shape \(3, 8, 17\), the first image"):
        images[1:]
    with pytest.raises(ShapeError, match=r"0.png: an image of 16x8 pixels has no square of 9"):
        LazyImages(paths, transforms.center_crop(9))
    with pytest.raises(ValueError, match="at least one image"):
        LazyImages([], PREPARE)
    with pytest.raises(ValueError, match="threads must be a positive int"):
        LazyImages(paths, PREPARE, threads=0)


def test_splits_are_disjoint_complete_and_fair_to_every_class(folder):
    data = ImageFolder(folder, PREPARE)
    rest, part = data.split(1 / 3, seed=4)
    assert np.bincount(part.labels).tolist() == [2, 2, 2]
    assert sorted(rest.images.paths + part.images.paths) == data.images.paths
    assert part.classes == data.classes
    assert data.split(1 / 3, seed=4)[1].images.paths == part.images.paths
    assert data.split(1 / 3, seed=5)[1].images.paths != part.images.paths
    assert np.bincount(data.split(0.01)[1].labels).tolist() == [1, 1, 1]
    assert np.bincount(data.split(0.99)[0].labels).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="fraction must lie between 0 and 1"):
        data.split(1.0)
    with pytest.raises(ValueError, match="class 'blue' has a single image"):
        data.subset([0, 6, 7]).split(0.5)


def test_training_on_files_is_training_on_the_arrays(folder, tmp_path):
    data = ImageFolder(folder, PREPARE)
    arrays = data.images[:], data.labels
    results = []
    for given in (data, arrays, (data.images, data.labels)):
        model = make_model()
        augment = transforms.random_flip()
        history = training.fit(model, given, epochs=3, batch_size=5, seed=2, validation=given, augment=augment)
        logits = training.predict(model, given.images if given is data else given[0], batch_size=7)
        results.append((history, training.evaluate(model, given, batch_size=4), logits.tobytes()))
    assert results[0] == results[1] == results[2]


def test_a_run_on_files_resumes_bit_for_bit(folder, tmp_path):
    data, path = ImageFolder(folder, PREPARE), tmp_path / "run.npz"
    whole = training.fit(make_model(), data, epochs=2, batch_size=5, seed=2)
    calls = []

    def interrupting(images, generator):
        calls.append(len(images))
        if len(calls) == 6:
            raise KeyboardInterrupt
        return images

    with pytest.raises(KeyboardInterrupt):
        training.fit(make_model(), data, epochs=2, batch_size=5, seed=2, checkpoint=path, augment=interrupting)
    again = ImageFolder(folder, PREPARE)
    assert training.fit(make_model(), again, epochs=2, batch_size=5, seed=2, checkpoint=path, resume=True) == whole


def test_a_damaged_file_is_an_error_with_its_path_or_skipped_with_a_report(folder):
    (folder / "green" / "03.png").write_bytes(b"not an image")
    whole = (folder / "red" / "02.png").read_bytes()
    (folder / "red" / "02.png").write_bytes(whole[: len(whole) // 2])
    data = ImageFolder(folder, PREPARE)
    assert len(data) == 18
    with pytest.raises(FormatError, match=r"green/03.png: no image of a known format"):
        training.predict(make_model(), data.images)
    with pytest.raises(FormatError, match=r"\.png: no"):
        training.fit(make_model(), data, epochs=1)
    with pytest.raises(FormatError, match=r"red/02.png: not a readable image"):
        data.images[14]
    left = ImageFolder(folder, PREPARE, damaged="skip")
    assert [os.path.relpath(path, folder) for path, _ in left.skipped] == ["green/03.png", "red/02.png"]
    assert left.skipped[0][1].startswith("no image of a known format")
    assert np.bincount(left.labels).tolist() == [6, 5, 5]
    assert left.images[:].shape == (16, *SIZE)


@pytest.mark.parametrize(
    ("suffix", "modes"),
    {
        "png": ["L", "LA", "RGBA", "P", "1"],
        "jpg": ["L", "CMYK", "YCbCr"],
        "tif": ["L", "LA", "RGBA", "CMYK", "P", "1"],
        "bmp": ["L", "P", "1"],
        "webp": ["L", "RGBA"],
    }.items(),
)
def test_every_mode_becomes_rgb(tmp_path, rng, suffix, modes):
    path = tmp_path / f"image.{suffix}"
    for mode in modes:
        picture(rng, (120, 90, 160)).convert(mode).save(path)
        found = read_image(path)
        assert found.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(found), np.asarray(Image.open(path).convert("RGB")), err_msg=mode)


def test_transparent_palettes_keep_their_colours_without_a_warning(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    image.save(tmp_path / "palette.png", transparency=b"\x00\x80")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_image(tmp_path / "palette.png")
    assert np.asarray(found)[0].tolist() == [[10, 20, 30], [200, 100, 50]]


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "grey.pgm"])
def test_sixteen_bits_keep_their_upper_half(tmp_path, grey_ramp, name):
    Image.fromarray(grey_ramp.astype(np.uint16) * 256 + 99).save(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / name))[..., 1], grey_ramp)


def test_floating_point_images_are_refused(tmp_path):
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(FormatError, match=r"float.tif: floating-point images are not supported"):
        read_image(tmp_path / "float.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_stand_upright(tmp_path, orientation, grey_ramp):
    """The eight orientations of EXIF: what the camera stored, turned as its note says, is the scene."""
    stored = np.repeat(np.repeat(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, 8, 0), 8, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "turned.png", exif=exif)
    turn = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.T,
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, 1),
    }
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "turned.png"))[..., 0], turn[orientation](stored))


@pytest.mark.parametrize(("width", "height"), [(1 << 14, 1 << 13), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_before_they_are_decoded(tmp_path, width, height):
    (tmp_path / "bomb.png").write_bytes(png(width, height))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UnsafeFileError, match=r"bomb.png: .*(larger max_pixels|MAX_IMAGE_PIXELS)"):
            read_image(tmp_path / "bomb.png")
    folder = tmp_path / "data"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "bomb.png").write_bytes(png(300, 300))
    with pytest.raises(UnsafeFileError, match=r"bomb.png: declares 300x300 pixels, above the limit of 1,000"):
        ImageFolder(folder, PREPARE, max_pixels=1000)


def test_pillows_warning_as_an_error_is_a_refusal(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(10_000, 9_500))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnsafeFileError, match="MAX_IMAGE_PIXELS"):
            read_image(tmp_path / "bomb.png", max_pixels=1 << 30)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x89PNG\r\n\x1a\n", png(0, 5), png(4, 4), png(4, 4, b"\0" * 7), b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GIF89a"],
    ids=["empty", "signature", "no width", "no data", "few data", "PostScript", "GIF"],
)
def test_files_that_are_no_image(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(FormatError, match=r"x.png: "):
        read_image(tmp_path / "x.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp", "ppm"])
def test_mutated_files_are_read_or_refused(tmp_path, rng, suffix):
    path = tmp_path / f"x.{suffix}"
    picture(rng, (120, 90, 160)).save(path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for attempt in range(60):
        content = whole[: rng.integers(1, len(whole))].copy() if attempt % 3 == 0 else whole.copy()
        reach = len(content) if attempt % 2 else min(len(content), 64)
        for place in rng.integers(0, reach, rng.integers(1, 6)):
            content[place] = rng.integers(256)
        path.write_bytes(content.tobytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                said = f"{path}: {read_image(path, max_pixels=1 << 22).mode}"
            except FormatError as error:
                said = str(error)
        assert said.startswith(f"{path}: ")


def test_what_is_no_regular_file(tmp_path):
    with pytest.raises(IsADirectoryError):
        read_image(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "absent.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(FormatError, match="not a regular file"):
        read_image(tmp_path / "pipe.png")
