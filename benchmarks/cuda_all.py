"""Everything that is to be known of the CUDA backend on one machine with a GPU: ``python -P benchmarks/cuda_all.py``.

First come the tests on that GPU, and all kernels under NVIDIA's ``compute-sanitizer``. Then it measures with ``fastconv
bench``, one file for each question, in benchmarks/results or another FOLDER, and prints for each what is reached and
what should be. Runs for about two hours; what was measured already is not measured again.
"""

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastconv import cli
from fastconv.bench import records
from fastconv.bench.ratios import geometric_mean
from fastconv.bench.records import TIMED

RESULTS, TESTS = Path(__file__).parent / "results", Path(__file__).parents[1] / "tests"
SANITIZER, TOOLS = "compute-sanitizer", ("memcheck", "racecheck")
# Modules of checks, which print the names of theirs.
MODULES = ("support.cuda_check", "support.cuda_passes", "support.cuda_halves")
_LEFT_OUT = ("cases ", "rounding")
# Every array has memory of its own, from no pool: beyond its end there is nothing.
BARE = {"FASTCONV_TEST_BARE": "1"}
LAYER_BATCHES = "16,64"
# Floating-point operations of a layer that fills a GPU.
_LARGE = 4e9


@dataclass(frozen=True)
class Question:
    """A run of ``fastconv bench``, which of its cases count, and what the backend should reach in them.

    ``ratio`` is the geometric mean of the speed over the best float32 peer, ``fraction`` that of the share of the
    roofline: of large layers that of the multiply-add peak, of what does not multiply that of the copies' bandwidth.
    """

    name: str
    arguments: tuple[str, ...]
    counts: object
    ratio: float
    fraction: float | None = None


def _is_dense(record):
    """Layers of 3x3 and 1x1 taps that are no first layers."""
    return ("k3s" in record.case or "k1s" in record.case) and not _is_first(record) and "g" not in record.case


def _is_first(record):
    return record.case.startswith("3,")


def _is_maximum(record):
    return "average" not in record.case


LAYERS = ("--direction", "all", "--layout", "all", "--batch", LAYER_BATCHES)
QUESTIONS = (
    Question("dense", ("--suite", "resnet50,vgg16", *LAYERS), _is_dense, 0.85, 0.65),
    Question("first", ("--suite", "resnet50,vgg16,alexnet,mobilenet", "--case", "3,", *LAYERS), _is_first, 1.0),
    Question("depthwise", ("--suite", "mobilenet", "--case", "g", *LAYERS), lambda record: True, 1.0),
    Question("grouped", ("--suite", "alexnet,resnext50", "--case", "g", *LAYERS), lambda record: True, 1.0),
    Question("pooling", ("--suite", "pool", "--case", "k", *LAYERS), _is_maximum, 1.2, 0.8),
    Question("training", ("--suite", "training", "--case", "resnet18", "--batch", "64"), lambda record: True, 0.7),
)


def measure(question, folder):
    """The records of a question; from its file, where there is one."""
    path = folder / f"cuda-{question.name}.json"
    if not path.exists():
        arguments = (*question.arguments, "--backends", "cuda", "--peers", "torch", "--json", str(path))
        if status := cli.main(["bench", *arguments]):
            print(f"{question.name}: fastconv bench ended with status {status}", file=sys.stderr)
    return [record for record in records.load(path).records if record.is_ours] if path.exists() else []


def answers(question, found):
    """(what, reached, wanted) for each direction: the ratio, and the fraction where one is wanted."""
    timed = [record for record in found if record.status == TIMED and question.counts(record)]
    for direction in dict.fromkeys(record.direction for record in timed):
        own = [record for record in timed if record.direction == direction]
        what = f"{question.name} {direction}, {len(own)} cases"
        if ratios := [record.ratio_to_best_peer for record in own if record.ratio_to_best_peer]:
            yield f"{what}: over cuDNN, lowest {min(ratios):.2f}", geometric_mean(ratios), question.ratio
        large = [record for record in own if not record.peak_fraction or record.flops >= _LARGE]
        fractions = [record.roofline_fraction for record in large if record.roofline_fraction]
        if question.fraction and fractions:
            yield f"{what}: of the roofline, lowest {min(fractions):.2f}", geometric_mean(fractions), question.fraction


def are_same_bits():
    """Whether all results of a large layer are the same, bit for bit, in two runs."""
    import fastconv as fc
    import fastconv.functional as F

    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape, np.float32) for shape in ((64, 128, 28, 28), (128, 128, 3, 3)))
    runs = []
    for _ in range(2):
        leaves = [fc.tensor(array).cuda().requires_grad_() for array in (x, weight)]
        out = F.conv2d(leaves[0], leaves[1], padding=1)
        out.backward(out.detach())
        runs.append([tensor.cpu().numpy() for tensor in (out, leaves[0].grad, leaves[1].grad)])
    return all(np.array_equal(first, second) for first, second in zip(*runs, strict=True))


def checked():
    """(what, 1 where it went well or else 0, 1) of the tests, and of all kernels under each tool."""
    tests = sorted(map(str, TESTS.glob("test_cuda_*.py")))
    yield "tests of the CUDA backend", float(_passes([sys.executable, "-P", "-m", "pytest", "-q", *tests])), 1.0
    if shutil.which(SANITIZER) is None:
        print(f"{SANITIZER} is not there: it comes with the CUDA toolkit", file=sys.stderr)
        yield SANITIZER, 0.0, 1.0
        return
    for tool in TOOLS:
        watched = [SANITIZER, "--tool", tool, "--error-exitcode", "1", sys.executable, "-P", "-m"]
        failed = [name for module in MODULES for name in _names(module) if not _passes([*watched, module, name], BARE)]
        yield f"{SANITIZER} --tool {tool}{', which failed: ' if failed else ''}{', '.join(failed)}", not failed, 1.0


def _names(module):
    """The checks of a module that kernels run, but for whole lists of cases, which would take hours."""
    printed = subprocess.run([sys.executable, "-P", "-m", module], env=_environment(), capture_output=True, check=True)
    return [name for name in printed.stdout.decode().splitlines() if not name.startswith(_LEFT_OUT)]


def _passes(command, variables=()):
    return subprocess.run(command, env=_environment() | dict(variables), check=False).returncode == 0


def _environment():
    path = [str(TESTS), str(TESTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}


def main(arguments=None):
    """Status 0 where everything that was wanted is reached."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=RESULTS, help="where the files go")
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    cli.device("cuda")
    rows = list(checked())
    rows += [row for question in QUESTIONS for row in answers(question, measure(question, folder))]
    rows.append(("the same bits in two runs", float(are_same_bits()), 1.0))
    for what, reached, wanted in sorted(rows, key=lambda row: row[1] / row[2]):
        print(f"{'ok  ' if reached >= wanted else 'LOSS'} {reached:.2f} (wanted {wanted:.2f})  {what}")
    return 0 if all(reached >= wanted for _, reached, wanted in rows) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except argparse.ArgumentTypeError as error:  # no device
        print(error, file=sys.stderr)
        sys.exit(2)
