"""``fastconv finetune``: a trained network learns other classes from a folder of images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from fastconv.cli import check_folder, check_suffix, device, positive, tell_of_preparation
from fastconv.cli.lists import names
from fastconv.cli.train import print_epoch

AUGMENTATIONS = ("shift", "flip", "crop", "scale", "brightness", "occlusion")
# For --until: everything is trained.
NOTHING = "none"


def register(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "finetune",
        help="train the head of a network with known weights on a folder of images",
        description="Put a new head on a network with known weights and train it on the images of a folder that has a "
        "sub-folder per class. What stays frozen computes its features once, unless every epoch has its own "
        "augmentation. Ctrl-C keeps what was learned.",
    )
    parser.add_argument("--model", metavar="NAME", help="a network of fastconv.models (default: what the file says)")
    parser.add_argument("--weights", metavar="FILE", required=True, help="its weights, or their name on the hub")
    parser.add_argument("--data", metavar="FOLDER", required=True, help="the images: FOLDER/class/any.jpg")
    parser.add_argument("--val", metavar="FOLDER", help="images to measure the accuracy on, in the same classes")
    parser.add_argument(
        "--val-fraction", type=fraction, default=0.2, help="without --val: this part of --data (default: 0.2; 0: none)"
    )
    parser.add_argument(
        "--until", metavar="LAYER", help="freeze all up to here (default: all but the head; 'none': nothing)"
    )
    parser.add_argument("--epochs", type=positive, default=20, help="passes over the images (default: 20)")
    parser.add_argument("--lr", type=float, default=1e-3, help="the learning rate at first (default: 0.001)")
    parser.add_argument("--batch", type=positive, default=32, help="images per step (default: 32)")
    known = ",".join(AUGMENTATIONS)
    parser.add_argument("--augment", type=names(AUGMENTATIONS), default=[], help=f"as flip,crop; of {known}, all")
    parser.add_argument("--passes", type=positive, help="draw so many augmented versions once, keep their features")
    parser.add_argument("--features", metavar="FOLDER", help="keep features in a file there (default: in memory)")
    parser.add_argument("--skip-damaged", action="store_true", help="leave out files that cannot be read, and say so")
    parser.add_argument("--out", metavar="FILE", default="finetuned.npz", help="the result (default: finetuned.npz)")
    parser.add_argument("--device", type=device, default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument("--threads", type=positive, help="threads of the kernels (default: all cores allowed)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same numbers (default: 0)")
    parser.set_defaults(run=run)


def run(options) -> int:
    """Train, report, save."""
    from fastconv import backends, models, nn, rng
    from fastconv.training import finetune, network_files

    check_suffix(options.out, ".npz", ".safetensors")
    check_folder(options.out)
    if options.threads is not None:
        backends.set_num_threads(options.threads)
    tell_of_preparation(options.weights)
    model, name, _ = network_files.load_network(options.weights, options.model)
    if options.until != NOTHING:
        nn.freeze(model, options.until)
    expected = models.preprocessing(name)
    data, validation = _data(options, expected)
    rng.manual_seed(options.seed)
    heads = nn.replace_head(model, len(data.classes))
    print(_describe(model, heads[0], data, validation))
    done: list = []
    keep = partial(network_files.save_network, options.out, model, name, data.classes)
    try:
        history = finetune(
            model.to(options.device),
            data,
            epochs=options.epochs,
            batch_size=options.batch,
            learning_rate=options.lr,
            validation=validation,
            augment=_augmentation(options.augment, expected),
            passes=options.passes,
            seed=options.seed,
            folder=options.features,
            callback=partial(_report, done),
        )
    except KeyboardInterrupt:
        if done:
            keep()
            print(f"{options.out} holds what was learned in {len(done)} epochs", file=sys.stderr)
        raise
    keep()
    last = history[-1]
    accuracy = last.accuracy if last.validation_accuracy is None else last.validation_accuracy
    print(f"{'training' if validation is None else 'validation'} accuracy {accuracy:.2%} after {len(history)} epochs")
    print(f"weights and names of classes written to {options.out}")
    return 0


def fraction(text: str) -> float:
    """A part of a whole, from nothing on."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to below 1, got {text!r}")
    return share


def _data(options, expected):
    """The images to train on and those to measure on, None for nothing."""
    from fastconv.datasets import ImageFolder, transforms

    read = partial(
        ImageFolder,
        transform=transforms.preprocess(**asdict(expected)),
        damaged="skip" if options.skip_damaged else "raise",
    )
    data = read(options.data)
    _report_skipped(data)
    if options.val:
        validation = read(options.val, classes=data.classes)
        _report_skipped(validation)
        return data, validation
    return data.split(options.val_fraction, options.seed) if options.val_fraction else (data, None)


def _report_skipped(data) -> None:
    for path, reason in data.skipped:
        print(f"left out {path}: {reason}", file=sys.stderr)


def _describe(model, head: str, data, validation) -> str:
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in model.parameters())
    layer = dict(model.named_modules())[head]
    measured = "nothing" if validation is None else f"{len(validation)} others"
    return (
        f"{len(data)} images of {len(data.classes)} classes, measured on {measured}; new head {head}: {layer}\n"
        f"training {trained:,} of {total:,} parameters"
    )


def _augmentation(chosen: list[str], expected):
    """Changes of the sizes that scenes have, for images that were prepared as ``expected``."""
    from fastconv.datasets import transforms

    makers: dict[str, Callable] = {
        "shift": partial(transforms.random_shift, max(1, expected.crop // 12)),
        "flip": transforms.random_flip,
        "crop": partial(transforms.random_crop, 0.7),
        "scale": partial(transforms.random_scale, 1.25),
        "brightness": partial(transforms.random_brightness, 0.3, expected.mean, expected.std),
        "occlusion": partial(transforms.random_occlusion, 0.3),
    }
    return transforms.compose(*(makers[name]() for name in chosen)) if chosen else None


def _report(done: list, epoch) -> None:
    done.append(epoch)
    print_epoch(epoch, "validation")
