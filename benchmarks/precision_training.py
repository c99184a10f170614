"""Does training reach the same accuracy whatever the precision? ``python -P benchmarks/precision_training.py``.

Trains networks from several seeds, each of them once per precision, on the bundled digits: 1,437 to train with, 360
others to test. Nothing is downloaded: where a network wants larger images or colours, pixels are repeated, and each
digit gets two colours, the same ones every time. Prints a Markdown table. The status is 1 where a mean differs by more
than the seeds do.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np

import fastconv as fc
import fastconv.functional as F
from fastconv import datasets, models, nn, optim, training
from fastconv.cli import positive
from fastconv.precision import FAST, STRICT

BATCH = 64
SEEDS, EPOCHS = 5, 8


def enlarged(images: np.ndarray, times: int, margin: int = 0) -> np.ndarray:
    """(N, 1, H, W) -> (N, 1, times H + 2 margin, times W + 2 margin): pixels repeated, zeros around."""
    around = ((0, 0), (0, 0), (margin, margin), (margin, margin))
    return np.pad(images.repeat(times, axis=2).repeat(times, axis=3), around)


def coloured(images: np.ndarray) -> np.ndarray:
    """(N, 1, H, W) -> (N, 3, H, W): in a light colour on a dark one, two of its own for each image."""
    light, dark = np.random.default_rng(0).random((2, len(images), 3, 1, 1), np.float32) / 2
    return dark + (light + 0.5 - dark) * images


def large_digits_net() -> nn.Module:
    """The network of the digits for images of 32 x 32 pixels."""
    network = models.digits_net()
    network.fc = nn.Linear(64 * 16 * 16, 10)
    return network


def lenet_of_small_filters() -> nn.Module:
    """LeNet-5 with two 3 x 3 layers of 32 maps in the place of its first layer, and one of 64 in that of its second."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(64 * 7 * 7, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


@dataclass(frozen=True, slots=True)
class Task:
    """A network, what it makes of the digits, and how fast it learns."""

    title: str
    network: Callable[[], nn.Module]
    images: Callable[[np.ndarray], np.ndarray]
    learning_rate: float = 2e-3


TASKS = {
    "digits": Task("digits_net, 8x8", models.digits_net, lambda images: images, 3e-3),
    "digits-32": Task("digits_net, 32x32", large_digits_net, lambda images: enlarged(images, 4)),
    "lenet": Task("LeNet-5, 28x28", models.lenet5, lambda images: enlarged(images, 3, 2)),
    "lenet-3x3": Task("LeNet of 3x3 filters, 28x28", lenet_of_small_filters, lambda images: enlarged(images, 3, 2)),
    "cifar": Task("cifar_small, 32x32 in colour", models.cifar_small, lambda images: coloured(enlarged(images, 4))),
}


def accuracy(task: Task, precision: str, seed: int, epochs: int) -> float:
    """On the test images, after training at a precision."""
    (images, labels), (others, expected) = (datasets.load_digits(split) for split in ("train", "test"))
    with fc.use_precision(precision):
        fc.manual_seed(seed)
        network = task.network()
        optimizer = optim.AdamW(network.parameters(), lr=task.learning_rate, weight_decay=1e-2)
        training.fit(
            network,
            (task.images(images), labels),
            epochs=epochs,
            batch_size=BATCH,
            optimizer=optimizer,
            scheduler=optim.CosineAnnealingLR(optimizer, T_max=epochs),
            seed=seed,
            progress=False,
        )
        return training.evaluate(network, (task.images(others), expected)).accuracy


def kernels(task: Task, precision: str) -> Counter[str]:
    """The algorithms of the convolutions in a step of training at a precision, and how often each runs."""
    network, labels = task.network(), np.arange(BATCH) % 10

    def step(x):
        F.cross_entropy(network(x), labels).backward()

    images, _ = datasets.load_digits("train")
    with fc.use_precision(precision):
        steps = fc.explain(step, task.images(images[:BATCH])).steps
    return Counter(f"{step.variant} ({step.op.removeprefix('conv2d_')})" for step in steps if "conv2d" in step.op)


def is_within_spread(found: Mapping[str, Sequence[float]]) -> bool:
    """Whether the means at two precisions differ by no more than the seeds of the strict one do."""
    spread = max(found[STRICT]) - min(found[STRICT])
    return abs(mean(found[FAST]) - mean(found[STRICT])) <= spread


def row(task: Task, found: Mapping[str, Sequence[float]], extra: Counter[str]) -> str:
    """A line of the table: both accuracies, their difference, and what ran at the looser precision alone."""
    cells = [f"{mean(values):.2%} ({min(values):.2%} to {max(values):.2%})" for values in (found[STRICT], found[FAST])]
    difference = f"{100 * (mean(found[FAST]) - mean(found[STRICT])):+.2f} points"
    verdict = "yes" if is_within_spread(found) else "NO"
    ran = ", ".join(f"{count} x {name}" for name, count in extra.items()) or "none: the same kernels run"
    return f"| {' | '.join((task.title, *cells, difference, verdict, ran))} |"


def run(names: Sequence[str], seeds: int, epochs: int) -> int:
    """Print the table; 1 where an accuracy is not the same within the spread."""
    print(
        "| network | strict: mean, lowest to highest | fast | difference | within the spread | of fast alone, a step |"
    )
    print("|---|---|---|---:|---|---|", flush=True)
    are_within = []
    for task in (TASKS[name] for name in names):
        levels = (STRICT, FAST)
        found = {level: [accuracy(task, level, seed, epochs) for seed in range(seeds)] for level in levels}
        print(row(task, found, kernels(task, FAST) - kernels(task, STRICT)), flush=True)
        are_within.append(is_within_spread(found))
    return 0 if all(are_within) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=TASKS, default=list(TASKS), help="default: all")
    parser.add_argument("--seeds", type=positive, default=SEEDS, help=f"how many (default: {SEEDS})")
    parser.add_argument("--epochs", type=positive, default=EPOCHS, help=f"default: {EPOCHS}")
    options = parser.parse_args(arguments)
    return run(options.networks, options.seeds, options.epochs)


if __name__ == "__main__":
    sys.exit(main())
