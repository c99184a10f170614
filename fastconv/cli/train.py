"""``fastconv train``: train a small network on one of the data sets."""

from __future__ import annotations

import os
import sys

from fastconv.cli import check_folder, check_suffix, device, positive

DATASETS = ("digits", "mnist", "cifar10")


def register(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "train",
        help="train a small network on digits, mnist or cifar10",
        description="Train a small convolutional network and print its accuracy on the test split. With --checkpoint, "
        "Ctrl-C keeps what was learned, and --resume continues bit for bit.",
    )
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--epochs", type=positive, help="passes over the training data in all (default: the recipe's)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same numbers (default: 0)")
    parser.add_argument("--backend", help="reference, numba, cython or auto (default: auto)")
    parser.add_argument("--device", type=device, default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument("--threads", type=positive, help="threads of the kernels (default: all cores allowed)")
    parser.add_argument("--checkpoint", metavar="FILE.npz", help="where to save, every epoch and on Ctrl-C")
    parser.add_argument("--resume", action="store_true", help="continue from --checkpoint")
    parser.add_argument("--save", metavar="FILE", help="write the trained weights (.npz or .safetensors)")
    parser.add_argument("--root", metavar="FOLDER", help="where mnist or cifar10 lie (default: under FASTCONV_HOME)")
    parser.set_defaults(run=run)


def run(options) -> int:
    """Train and report; 1 where the data or the checkpoint cannot be used."""
    from fastconv import backends, weights
    from fastconv.training import recipes

    check_targets(options)
    trained = []

    def print_and_count(epoch):
        print_epoch(epoch)
        trained.append(epoch)

    if options.threads is not None:
        backends.set_num_threads(options.threads)
    with backends.use_backend(options.backend or backends.get_backend()):
        try:
            model, history, result = recipes.train(
                options.dataset,
                seed=options.seed,
                epochs=options.epochs,
                root=options.root,
                checkpoint=options.checkpoint,
                resume=options.resume,
                device=options.device,
                callback=print_and_count,
            )
        except KeyboardInterrupt:
            if options.checkpoint and os.path.exists(options.checkpoint):
                print(f"{options.checkpoint} holds what was learned; --resume continues from it", file=sys.stderr)
            raise
    if not trained:
        asked = options.epochs or recipes.RECIPES[options.dataset].epochs
        done = f"{options.checkpoint} holds {len(history)} epochs"
        print(f"nothing was left to train: {done}, {asked} were asked for in all")
    print(f"test accuracy {result.accuracy:.2%} after {len(history)} epochs (seed {options.seed})")
    if options.save:
        weights.save(model.state_dict(), options.save)
        print(f"weights written to {options.save}")
    return 0


def check_targets(options) -> None:
    """Find out before hours of work what could not be written after them."""
    if options.resume and not options.checkpoint:
        raise ValueError("--resume needs --checkpoint FILE.npz to continue from")
    if options.checkpoint and not options.resume and os.path.exists(options.checkpoint):
        raise FileExistsError(f"{options.checkpoint} exists already: continue it with --resume, or remove it")
    if options.save and options.checkpoint and os.path.abspath(options.save) == os.path.abspath(options.checkpoint):
        raise ValueError("--save and --checkpoint must be different files")
    if options.save:
        check_suffix(options.save, ".npz", ".safetensors")
        check_folder(options.save)


def print_epoch(epoch, name: str = "test") -> None:
    """One line per epoch, so that a log file shows what a progress bar would."""
    line = f"epoch {epoch.number:3d}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.2%}"
    if epoch.validation_accuracy is not None:
        line += f"  {name} {epoch.validation_accuracy:.2%}"
    print(line, file=sys.stdout, flush=True)
