"""The command ``fastconv``: one sub-command per file."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

COMMANDS = (
    *("demo", "train", "finetune", "predict", "locate", "find", "summary", "sizes", "plot", "explain-conv"),
    *("bench", "compare", "warmup", "doctor"),
)
PICTURES = (".png", ".svg", ".pdf")


def main(argv: list[str] | None = None) -> int:
    """Parse and run; returns the exit code: 0 good, 1 failed, 2 wrong arguments, 130 after Ctrl-C, 141 closed pipe."""
    from fastconv.errors import FastconvError

    parser = _parser()
    options = parser.parse_args(argv)
    if options.run is None:
        parser.print_help()
        return 2
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has gone; nothing more can be written, not even at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (FastconvError, ValueError, OSError) as error:
        if os.environ.get("FASTCONV_DEBUG"):
            raise
        print(f"fastconv: {error}", file=sys.stderr)
        return 1


def positive(text: str) -> int:
    """An argument that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}")
    return int(text)


def digit(text: str) -> int:
    """An argument that is one of the ten."""
    if len(text) != 1 or text not in "0123456789":
        raise argparse.ArgumentTypeError(f"must be a digit, 0 to 9, got {text!r}")
    return int(text)


def device(text: str) -> str:
    """A device that can be computed on: cpu, cuda or cuda:N."""
    from fastconv import device_arrays
    from fastconv.errors import BackendUnavailableError

    try:
        named = device_arrays.named(text)
        if named is None:
            raise ValueError(f"expected cpu, cuda or cuda:N, got {text!r}")
        return device_arrays.checked(named)
    except (ValueError, BackendUnavailableError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def check_suffix(path: str, *suffixes: str) -> None:
    """Raise ValueError where the name of a file does not say one of the formats that can be written."""
    if not path.lower().endswith(suffixes):
        raise ValueError(f"the name of {path!r} must end in {' or '.join(suffixes)}")


def check_folder(path: str) -> None:
    """Raise OSError where a file at ``path`` could not be written."""
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path!r} is a folder; a file is to be written there")
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"the folder {folder!r} for {path!r} does not exist")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"the folder {folder!r} for {path!r} is not writable")


def check_picture(path: str) -> None:
    """Raise where a picture could not be drawn at ``path``, before there is anything to draw.

    ValueError for a format that cannot be written, OSError for a folder, ImportError without matplotlib.
    """
    from fastconv.plots import canvas

    check_suffix(path, *PICTURES)
    check_folder(path)
    canvas.matplotlib("pyplot")


def tell_of_preparation(path: str) -> None:
    """Say on stderr where weights were trained on images that are prepared in another way than here."""
    from fastconv import weights

    if weights.is_keras(path):
        print(
            f"{path}: Keras trains on images that its preprocess_input prepared; here they are prepared as torchvision "
            "does, which these weights may take for other colours (docs/weights.md)",
            file=sys.stderr,
        )


def _parser() -> argparse.ArgumentParser:
    from fastconv import __version__

    what = "Compiled convolution, pooling, normalisation and linear layers: train networks, measure kernels."
    parser = argparse.ArgumentParser(prog="fastconv", description=what)
    parser.add_argument("--version", action="version", version=f"fastconv {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"fastconv.cli.{name.replace('-', '_')}").register(commands)
    return parser
