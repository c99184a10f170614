"""``fastconv demo``: a network learns real digits, then its layers race on every backend, or it learns new ones."""

from __future__ import annotations

import time
from pathlib import Path

from fastconv.cli import check_picture, device, positive, transfer, web
from fastconv.cli.train import print_epoch
from fastconv.tables import table

BATCH = 64


def register(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "demo",
        help="train on real digits, compare the backends, draw the filters",
        description="Train a small convolutional network on 1,437 handwritten digits, test it on 360 others, time its "
        "layers forward and backward on every usable backend, and draw the learned filters and the curves. With "
        "--transfer, compare how five digits are learned from few examples by a network that knows the other five, and "
        "from scratch. With --web, look on while it learns: a page on this machine shows loss, accuracy, filters and "
        "activations, and reads what one draws; Ctrl-C ends it, with status 130.",
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same numbers (default: 0)")
    parser.add_argument("--epochs", type=positive, help="passes over the data (default: the recipe's; --web: 100)")
    parser.add_argument("--backend", help="backend to train on: reference, numba, cython or auto (default: auto)")
    parser.add_argument("--device", type=device, default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument("--out", metavar="FILE.png", help="the picture (default: demo.png)")
    parser.add_argument("--transfer", action="store_true", help="learn new digits from few examples instead")
    parser.add_argument("--json", metavar="FILE.json", help="with --transfer: write the numbers there, too")
    parser.add_argument("--web", action="store_true", help="learn on a page in the browser instead")
    parser.add_argument("--port", type=web.port, help="with --web: where, 0 for any free port (default: 8642)")
    parser.add_argument("--no-browser", action="store_true", help="with --web: print the address, open no browser")
    parser.set_defaults(run=run)


def run(options) -> int:
    """Train, time, draw."""
    from fastconv import backends
    from fastconv.training import recipes

    if options.web:
        return web.run(options)
    if options.port is not None or options.no_browser:
        raise ValueError("--port and --no-browser go with --web")
    if options.transfer:
        if options.out:
            raise ValueError("--out goes without --transfer, which draws nothing")
        return transfer.run(options)
    if options.json:
        raise ValueError("--json goes with --transfer")
    out = options.out or "demo.png"
    check_picture(out)
    begin = time.perf_counter()
    with backends.use_backend(options.backend or backends.get_backend()):
        name = backends.select(device=options.device).name
        print(f"training on {recipes.describe('digits')} with backend {name} on {options.device}")
        model, history, result = recipes.train(
            "digits", seed=options.seed, epochs=options.epochs, device=options.device, callback=print_epoch
        )
    seconds = time.perf_counter() - begin
    print(f"test accuracy {result.accuracy:.2%} (seed {options.seed}) in {seconds:.1f} s\n")
    print(_race(model))
    _draw(model, history, out)
    return 0


def _race(model) -> str:
    from fastconv import backends, datasets
    from fastconv.bench.layers import layer_times

    images, _ = datasets.load_digits("test")
    names = [name for name, status in backends.available_backends().items() if status]
    rows = layer_times(model.cpu().eval(), images[:BATCH], names, seconds=0.5)
    header = ("layer", "direction", *(f"{name} ms" for name in names), *(f"{name} speed-up" for name in names[1:]))
    cells = []
    for row in rows:
        speedups = row.speedups(names[0])
        times = [f"{row.seconds[name] * 1e3:.3f}" for name in names]
        cells.append((row.layer, row.direction, *times, *(f"{speedups[name]:.1f}x" for name in names[1:])))
    missing = [f"{name}: {status.reason}" for name, status in backends.available_backends().items() if not status]
    title = f"median times for a batch of {BATCH}, {backends.get_num_threads()} threads; speed-ups over {names[0]}"
    return "\n".join([title, table(header, cells), *(f"not usable: {line}" for line in missing)])


def _draw(model, history, path) -> None:
    from fastconv import plots
    from fastconv.errors import BackendUnavailableError

    weight = model.state_dict()["conv1.weight"].cpu().numpy()
    accuracies = [epoch.validation_accuracy for epoch in history]
    try:
        saved = plots.training_summary(weight, [epoch.loss for epoch in history], accuracies, Path(path))
    except BackendUnavailableError as error:
        print(f"\nno picture: {error}")
    else:
        print(f"\nfilters and curves drawn in {saved}")
