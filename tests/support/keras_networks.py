"""Run as a process: networks of Keras with random weights and statistics, saved with what they compute."""

import json
import sys
from pathlib import Path

import keras
import numpy as np


def randomise(model, rng):
    """Weights that let no activation grow, so that rounding stays small, and statistics and scales of all kinds."""
    for layer in model.layers:
        values = []
        for variable in layer.weights:
            name, shape = variable.path.rpartition("/")[2], tuple(variable.shape)
            if len(shape) > 1:
                inputs = np.prod(shape[:-1]) if shape[-1] > 1 else np.prod(shape[:2])
                values.append(rng.normal(0, np.sqrt(1 / inputs), shape))
            elif name in ("gamma", "moving_variance"):
                values.append(rng.uniform(0.5, 1.5, shape))
            else:
                values.append(rng.normal(0, 0.2, shape))
        layer.set_weights([value.astype(np.float32) for value in values])


def save(folder, name, kind, side, classes):
    """The network as a whole, and without its top, in every format; inputs, features and logits."""
    rng = np.random.default_rng(side)
    build = getattr(keras.applications, kind)
    shape = (side, side, 3)
    keras.layers.Conv2D(1, 1), keras.layers.BatchNormalization()  # numbers of layers begin anywhere
    options = {"weights": None, "input_shape": shape}
    model = build(include_top=True, classes=classes, classifier_activation=None, **options)
    randomise(model, rng)
    bare = build(include_top=False, **options)
    bare.set_weights(model.get_weights()[: len(bare.get_weights())])
    x = rng.normal(size=(2, *shape)).astype(np.float32)
    found = {"logits": model.predict(x, verbose=0), "features": bare.predict(x, verbose=0).transpose(0, 3, 1, 2)}
    np.savez(folder / f"{name}.npz", x=x.transpose(0, 3, 1, 2), **found)
    model.save(folder / f"{name}.keras")
    model.save(folder / f"{name}.h5")
    model.save_weights(folder / f"{name}.weights.h5")
    bare.save_weights(folder / f"{name}_notop.weights.h5")


def shapes(kind):
    """Those of all weights of a network, by layer and role."""
    model = getattr(keras.applications, kind)(weights=None, input_shape=(32, 32, 3), classes=1000)
    named = ((layer.name, variable) for layer in model.layers for variable in layer.weights)
    return {f"{layer}.{variable.path.rpartition('/')[2]}": tuple(variable.shape) for layer, variable in named}


def main():
    """Every network that the command line names, and the shapes of those that it names behind."""
    folder, networks, others = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
    for name, (kind, side, classes) in networks.items():
        save(folder, name, kind, side, classes)
    (folder / "shapes.json").write_text(json.dumps({name: shapes(kind) for name, kind in others.items()}))


main()
