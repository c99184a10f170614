"""``fastconv predict``: what a network sees in images."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from fastconv.cli import positive, tell_of_preparation

BATCH = 16


def register(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "predict",
        help="say what a network sees in images",
        description="Print the most probable classes of each image. Exit code 1: some image could not be read.",
    )
    parser.add_argument("images", metavar="IMAGE", nargs="+")
    parser.add_argument("--model", metavar="NAME", help="a network of fastconv.models (default: what the file says)")
    parser.add_argument("--weights", metavar="FILE", required=True, help="its weights, or their name on the hub")
    parser.add_argument("--top", type=positive, default=5, help="how many classes (default: 5)")
    parser.add_argument("--labels", metavar="FILE", help="names of the classes: a line each, or a JSON list")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options) -> int:
    """Read, compute, print."""
    from fastconv import models
    from fastconv.datasets import transforms
    from fastconv.training import network_files

    tell_of_preparation(options.weights)
    model, name, classes = network_files.load_network(options.weights, options.model)
    if options.labels:
        classes = read_labels(options.labels)
    transform = transforms.preprocess(**asdict(models.preprocessing(name)))
    answers = []
    for begin in range(0, len(options.images), BATCH):
        found = _answers(model, options.images[begin : begin + BATCH], transform, classes, options.top)
        if not options.json:
            print(*map(_text, found), sep="\n")
        answers += found
    if options.json:
        print(json.dumps(answers, indent=1))
    return 1 if any("error" in answer for answer in answers) else 0


def read_labels(path: str) -> list[str]:
    """The names in a file, a line each or a JSON list; raises ValueError for anything else."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if not text.lstrip().startswith("["):
        return text.splitlines()
    names = json.loads(text)
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path}: the JSON list must hold names alone")
    return names


def _answers(model, paths: list[str], transform, classes: list[str] | None, top: int) -> list[dict]:
    """An answer for each image; those that cannot be read say why."""
    import numpy as np

    from fastconv import functional
    from fastconv.datasets import read_image
    from fastconv.errors import FormatError
    from fastconv.training import predict

    answers: list[dict] = [{"image": path} for path in paths]
    arrays = []
    for answer in answers:
        try:
            arrays.append(transform(read_image(answer["image"])))
        except (FormatError, OSError) as error:
            answer["error"] = str(error)
    if arrays:
        rows = iter(functional.softmax(predict(model, np.stack(arrays)), 1))
        for answer in answers:
            if "error" not in answer:
                answer["predictions"] = _best(next(rows), classes, top)
    return answers


def _best(probabilities, classes: list[str] | None, top: int) -> list[dict]:
    if classes is not None and len(classes) != len(probabilities):
        raise ValueError(f"there are {len(classes)} names for {len(probabilities)} classes")
    order = (-probabilities).argsort(kind="stable")[:top]
    return [
        {
            "class": int(label),
            "label": f"class {label}" if classes is None else classes[label],
            "probability": float(probabilities[label]),
        }
        for label in order
    ]


def _text(answer: dict) -> str:
    if "error" in answer:
        print(f"fastconv: {_printable(answer['error'])}", file=sys.stderr)
        return f"{_printable(answer['image'])}: not readable"
    lines = (f"  {found['probability']:7.2%}  {_printable(found['label'])}" for found in answer["predictions"])
    return "\n".join([_printable(answer["image"]), *lines])


def _printable(name: str) -> str:
    """A name from or of a file, without what would steer the terminal or has no encoding."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)
