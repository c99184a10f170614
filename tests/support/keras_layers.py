"""HDF5 files as both generations of Keras lay them out, through h5py."""


def positional(file, layers):
    """Layers as Keras 3 writes them: group name -> (layer name, variables)."""
    for key, (name, variables) in layers.items():
        group = file.create_group(f"layers/{key}/vars")
        group.attrs["name"] = name
        for position, values in enumerate(variables):
            group.create_dataset(str(position), data=values)


def named(file, layers, form=list):
    """Layers as Keras 2 writes them: layer name -> {weight name: values}."""
    file.attrs["layer_names"] = form(layer.encode() for layer in layers)
    for layer, variables in layers.items():
        group = file.create_group(layer)
        group.attrs["weight_names"] = form(name.encode() for name in variables)
        for name, values in variables.items():
            group.create_dataset(name, data=values)
