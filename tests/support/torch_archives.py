"""Archives as torch.save writes them, around any pickle."""

import struct
import zipfile


def by_hand(path, program, storages=(), folder="archive/", byteorder=b"little", pack=zipfile.ZIP_STORED):
    """Write the members that matter; returns the path."""
    with zipfile.ZipFile(path, "w", pack) as archive:
        archive.writestr(f"{folder}data.pkl", program)
        if byteorder:
            archive.writestr(f"{folder}byteorder", byteorder)
        for key, content in enumerate(storages):
            archive.writestr(f"{folder}data/{key}", content)
        archive.writestr(f"{folder}version", b"3\n")
    return path


def tensor(storage="torch\nFloatStorage", length=6, offset=0, shape=(2, 3), strides=(3, 1), key="0", more=b""):
    """The instructions that make one tensor."""
    kind = b"c" + storage.encode() + b"\n"
    reference = b"(" + _text("storage") + kind + _text(key) + _text("cpu") + _number(length) + b"tQ"
    name = b"ctorch._utils\n_rebuild_tensor_v%d\n" % (3 if more else 2)
    arguments = reference + _number(offset) + _numbers(shape) + _numbers(strides) + b"\x89ccollections\nOrderedDict\n)R"
    return name + b"(" + arguments + more + b"tR"


def state(*tensors):
    """The program of a dict of tensors t0, t1 ..."""
    return b"\x80\x02}(" + b"".join(_text(f"t{i}") + made for i, made in enumerate(tensors)) + b"u."


def _text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _number(value):
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def _numbers(values):
    return b"(" + b"".join(map(_number, values)) + b"t"
