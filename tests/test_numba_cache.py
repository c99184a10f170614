"""Code compiled by Numba and kept on the disk: found by the next process, harmless whatever becomes of the files."""

import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from support.process import CACHE, script

import fastconv as fc
from fastconv import cli
from fastconv._kernels.contract import OK, OUT_OF_MEMORY

pytest.importorskip("numba")
from support import tiny_kernels

from fastconv._kernels import numba_cpu
from fastconv._kernels.numba_cpu import object_cache
from fastconv._kernels.numba_cpu.arguments import fill, structure
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.ranges import SCRATCH, RangeKernel
from fastconv._kernels.numba_cpu.settings import MAX_VECTORS

POSIX = hasattr(os, "geteuid")
SCALED = [0, 3, 6, 9]
# The C library and the mathematical one are in every process; nothing else is.
RESOLVED_ANYWHERE = {"memset", "memcpy", "memmove", "fma", "fmaf", "expf", "log", "pow"}
EVERYTHING = """
import sys
import numpy as np, fastconv as fc, fastconv.functional as F
generator = np.random.default_rng(0)
x, w = (generator.integers(-4, 5, s).astype(np.float32) for s in ((2, 5, 300, 9), (7, 5, 3, 3)))
def results(backend):
    with fc.use_backend(backend):
        leaves = [fc.tensor(a, requires_grad=True) for a in (x, w, w[:, 0, 0, 0].copy())]
        conv = F.conv2d(*leaves, padding=1)
        pools = [F.max_pool2d(conv, 2), F.max_pool2d(conv, (280, 9)), F.max_pool2d(conv, 2, return_indices=True)[0]]
        for out in pools:
            out.sum().backward(retain_graph=True)
        return [out.numpy() for out in (conv, *pools)] + [leaf.grad.numpy() for leaf in leaves]
found = results("numba")
print("numba" in sys.modules)
assert all(np.array_equal(a, b) for a, b in zip(found, results("reference"), strict=True))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of an empty cache."""
    monkeypatch.setenv(CACHE, str(tmp_path))
    return tmp_path / "numba"


@pytest.fixture
def warm(tmp_path, monkeypatch):
    """The folder of a cache of this test alone, with every float32 kernel.

    In the cache that all tests share, another process may store a kernel a second time while this one looks.
    """
    functions = numba_cpu.native_functions("float32")
    assert all(function.keep() for function in functions)
    folder = tmp_path / "numba"
    folder.mkdir(mode=0o700)
    for function in functions:
        shutil.copy2(file_of(function), folder)
    monkeypatch.setenv(CACHE, str(tmp_path))
    return folder


def files_of(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def file_of(function):
    return Path(object_cache.status().folder) / f"{function.key}.object"


def test_the_next_process_finds_the_code_and_does_not_import_numba(warm):
    before = files_of(warm)
    assert script(EVERYTHING, **{CACHE: str(warm.parent)}) == "False\n"
    assert files_of(warm) == before


def test_warmup_compiles_what_is_missing_and_nothing_twice(warm, capsys):
    missing = numba_cpu.native_functions("float32")[1]
    file_of(missing).unlink()
    arguments = ["warmup", "--backends", "numba", "--dtype", "float32"]
    assert cli.main(arguments) == 0
    first, before = capsys.readouterr().out, files_of(warm)
    assert first.count("is there") == len(numba_cpu.native_functions("float32")) - 1
    assert re.search(rf"\[2/\d+\] {re.escape(repr(missing))}: \d+\.\d s", first)
    assert str(warm) in first
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out.count("is there") == len(numba_cpu.native_functions("float32"))
    assert files_of(warm) == before


def test_warmup_covers_both_dtypes():
    float32, float64 = ({*map(str, numba_cpu.native_functions(dtype))} for dtype in ("float32", "float64"))
    # Sizes in bytes are all that tells dtypes apart there.
    assert float32 & float64 == {
        "pointwise",
        "sum",
        "pack",
        "interleave",
        "pixel_sum",
        "sweep_items",
        "images",
        "parts",
    }
    # Minimal filtering is for float32 alone.
    shared = {name for name in float32 if not name.startswith("winograd")}
    assert {name.replace("float32", "float64") for name in shared} == float64
    assert {
        f"winograd_tile float32 {kind} {size}"
        for kind in ("source", "gradient", "target", "weight", "taps")
        for size in (2, 4)
    } < float32
    assert {f"{kind} float32 {vectors + 1}" for kind in ("panel", "dots") for vectors in range(MAX_VECTORS)} < float32


def test_warmup_without_numba_says_how_to_get_it():
    code = """
import sys
sys.modules["numba"] = None
from fastconv import cli
for arguments in (["warmup"], ["warmup", "--backends", "numba"]):
    sys.stderr = sys.stdout
    print(cli.main(arguments))
"""
    lines = script(code).splitlines()
    assert lines[1::2] == ["1", "1"]
    assert lines[0] == lines[2]
    assert "backend 'numba' (chosen by argument) cannot be used: package numba is not installed" in lines[0]
    assert "pip install 'fastconv[numba]'" in lines[0]


def test_warmup_of_backends_that_compile_nothing(capsys):
    assert cli.main(["warmup", "--backends", "reference"]) == 0
    assert "nothing to compile" in capsys.readouterr().out


def test_doctor_says_where_the_cache_is(warm, capsys):
    from fastconv.cli import doctor

    (said,) = doctor._caches().values()
    assert said.startswith(f"{warm}: ")
    assert re.search(r"\d+ files, [\d,]+ bytes", said)


def test_damaged_files_count_as_absent(folder, rng):
    function = tiny_kernels.scale()
    assert function.keep()
    good = file_of(function).read_bytes()
    assert object_cache.load(function.key) == good[-len(object_cache.load(function.key)) :]
    for content in [*(damaged(good, rng) for _ in range(400)), b"", good + b"\0", os.urandom(len(good))]:
        file_of(function).write_bytes(content)
        assert object_cache.load(function.key) is None


def damaged(content, rng):
    """Cut short, or one to three bits changed."""
    if rng.random() < 0.5:
        return content[: rng.integers(len(content))]
    changed = bytearray(content)
    for place in set(rng.integers(8 * len(content), size=rng.integers(1, 4)).tolist()):
        changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def test_kernels_over_damaged_files_are_right_and_repair_them(folder, rng):
    seed = int(rng.integers(2**31))
    code = f"""
import numpy as np
from pathlib import Path
from support import tiny_kernels
from test_numba_cache import damaged, file_of
rng = np.random.default_rng({seed})
for trial in range(30):
    function = tiny_kernels.scale()
    assert tiny_kernels.scaled(function) == {SCALED}, trial
    assert function.is_cached(), trial
    file_of(function).write_bytes(damaged(file_of(function).read_bytes(), rng))
print("done")
"""
    assert script(code, **{CACHE: str(folder.parent)}) == "done\n", f"seed {seed}"


@pytest.mark.parametrize("payload", [b"", b"not code", b"\x7fELF" + bytes(60)])
def test_what_cannot_be_linked_is_compiled_anew(folder, payload):
    function = tiny_kernels.scale()
    object_cache.store(function.key, payload)
    assert object_cache.load(function.key) == payload
    assert tiny_kernels.scaled(function) == SCALED
    assert object_cache.load(function.key) != payload


def test_a_file_of_another_kernel_is_not_loaded(folder):
    one, other = tiny_kernels.scale(3), tiny_kernels.scale(5)
    assert one.keep()
    assert other.keep()
    shutil.copy(file_of(one), file_of(other))
    assert object_cache.load(other.key) is None
    assert tiny_kernels.scaled(other) == [0, 5, 10, 15]


def _file(folder):
    folder.parent.rmdir()
    folder.parent.write_text("a file")


def _file_inside(folder):
    folder.write_text("a file")


def _writable_by_all(folder):
    folder.mkdir()
    folder.chmod(0o777)


def _writable_by_the_group(folder):
    folder.mkdir()
    folder.chmod(0o770)


def _link_to_a_folder_of_all(folder):
    elsewhere = folder.parent / "elsewhere"
    _writable_by_all(elsewhere)
    folder.symlink_to(elsewhere)


def _link_to_nowhere(folder):
    folder.symlink_to(folder.parent / "nowhere")


UNUSABLE = {
    _file: "cannot be made",
    _file_inside: "cannot be made",
    _link_to_nowhere: "cannot be made",
    **(
        {
            _writable_by_all: "can be written by other users",
            _writable_by_the_group: "can be written by other users",
            _link_to_a_folder_of_all: "can be written by other users",
        }
        if POSIX
        else {}
    ),
}


@pytest.mark.parametrize(("spoil", "problem"), UNUSABLE.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_without_a_fit_folder_there_is_no_cache_and_no_error(folder, spoil, problem, capsys):
    spoil(folder)
    before = sorted(folder.parent.rglob("*")) if folder.parent.is_dir() else []
    function = tiny_kernels.scale()
    assert tiny_kernels.scaled(function) == SCALED
    assert not function.is_cached()
    assert not function.keep()
    assert problem in object_cache.status().problem
    assert cli.main(["warmup", "--dtype", "float32"]) == 1
    assert problem in capsys.readouterr().out
    assert (sorted(folder.parent.rglob("*")) if folder.parent.is_dir() else []) == before


@pytest.mark.skipif(not POSIX, reason="users are kept apart by other means")
def test_folders_and_files_of_another_user_are_left_alone(folder, monkeypatch):
    function = tiny_kernels.scale()
    assert function.keep()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    before, mine = files_of(folder), os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    assert object_cache.status().problem == "the folder belongs to another user"
    assert object_cache.load(function.key) is None
    assert tiny_kernels.scaled(tiny_kernels.scale(salt=1)) == SCALED
    assert files_of(folder) == before
    monkeypatch.undo()
    monkeypatch.setenv(CACHE, str(folder.parent))
    file_of(function).chmod(0o666)
    assert object_cache.load(function.key) is None


@pytest.mark.skipif(not POSIX, reason="no named pipes, and links need a privilege")
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink(__file__, path)])
def test_what_is_no_file_is_not_read(folder, make):
    function = tiny_kernels.scale()
    assert object_cache.status().problem is None
    make(file_of(function))
    assert object_cache.load(function.key) is None
    assert tiny_kernels.scaled(function) == SCALED


@pytest.mark.parametrize("failing", ["mkstemp", "replace"])
def test_a_disk_that_takes_nothing_stops_no_call(folder, monkeypatch, failing):
    def refuse(*_args, **_options):
        raise OSError(28, "No space left on device")

    owner = object_cache.tempfile if failing == "mkstemp" else object_cache.os
    monkeypatch.setattr(owner, failing, refuse)
    function = tiny_kernels.scale()
    assert tiny_kernels.scaled(function) == SCALED
    assert not function.is_cached()
    assert files_of(folder) == {}


def test_a_read_only_folder_is_read(folder, monkeypatch):
    function = tiny_kernels.scale()
    assert function.keep()
    folder.chmod(0o500)
    monkeypatch.setattr(os, "access", lambda *_: False)  # the superuser may write anywhere
    assert "not writable" in object_cache.status().problem
    assert function.is_cached()
    assert tiny_kernels.scaled(function) == SCALED
    folder.chmod(0o700)


def test_without_a_home_there_is_no_cache(monkeypatch):
    def no_home(_path):
        raise RuntimeError("Could not determine home directory.")

    for name in (CACHE, "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", no_home)
    assert object_cache.status().problem == "Could not determine home directory."
    assert tiny_kernels.scaled(tiny_kernels.scale(salt=1)) == SCALED


def test_the_folder_is_the_one_for_caches(tmp_path, monkeypatch):
    if sys.platform in ("win32", "darwin"):
        pytest.skip("macOS and Windows keep caches in folders of their own")
    monkeypatch.delenv(CACHE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert object_cache.status().folder == str(tmp_path / ".cache" / "fastconv" / "numba")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert object_cache.status().folder == str(tmp_path / "other" / "fastconv" / "numba")


def test_two_processes_at_once(folder):
    code = f"""
from support import tiny_kernels
input()
for salt in range(8):
    assert tiny_kernels.scaled(tiny_kernels.scale(salt=salt)) == {SCALED}
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    both = [subprocess.Popen([sys.executable, "-P", "-c", code], env=env, text=True, **pipes) for _ in range(2)]
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    functions = [tiny_kernels.scale(salt=salt) for salt in range(8)]
    assert set(files_of(folder)) == {file_of(function).name for function in functions}
    assert all(function.is_cached() for function in functions)


def test_threads_compile_once(folder, monkeypatch):
    built = []

    def counted(factor, salt):
        built.append(factor)
        return tiny_kernels._build_scale(factor, salt)

    function = NativeFunction(counted, (3, 0))
    addresses = []
    threads = [threading.Thread(target=lambda: addresses.append(function.address)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(addresses)) == 1
    assert built == [3]


def test_the_oldest_files_go_first(folder, monkeypatch):
    monkeypatch.setattr(object_cache, "MAX_BYTES", 3500)
    keys = [f"{number:064x}" for number in range(5)]
    for age, key in enumerate(keys):
        object_cache.store(key, bytes(1000))
        os.utime(folder / f"{key}.object", (1000 + age, 1000 + age))
    assert set(files_of(folder)) == {f"{key}.object" for key in keys[2:]}


def test_the_key_is_that_of_what_the_code_depends_on(tmp_path):
    keys = {tiny_kernels.scale(*literals).key for literals in ((3, 0), (4, 0), (3.0, 0), ("3", 0), (3, 1))}
    assert len(keys) == 5
    assert tiny_kernels.add_to().key != tiny_kernels.calling().key
    assert tiny_kernels.scale().key == tiny_kernels.scale().key
    functions = [*numba_cpu.native_functions("float32"), *numba_cpu.native_functions("float64")]
    assert len({function.key for function in functions}) == len({*map(str, functions)})


def test_the_key_is_the_same_in_another_process_unless_a_source_or_the_compiler_changes(tmp_path):
    package = Path(fc.__file__).parent
    shutil.copytree(package, tmp_path / "fastconv", ignore=shutil.ignore_patterns("__pycache__", "bench", "datasets"))
    code = "from support import tiny_kernels; print(tiny_kernels.scale().key)"
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent), *filter(None, sys.path)])

    def key(**environment):
        return script(code, PYTHONPATH=path, **environment).strip()

    original = key()
    assert original == tiny_kernels.scale().key
    assert key(NUMBA_OPT="1") != original
    for name in ("numba_cpu/vectors.py", "plan/axes.py", "contract.py"):
        source = tmp_path / "fastconv" / "_kernels" / name
        kept = source.read_text()
        source.write_text(kept + "# changed\n")
        assert key() != original, name
        source.write_text(kept)
    assert key() == original


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads ELF")
def test_kernels_need_nothing_that_a_bare_process_lacks(warm):
    for function in numba_cpu.native_functions("float32"):
        defined, undefined = global_symbols(object_cache.load(function.key))
        assert defined == {"fastconv_entry"}, function
        assert undefined <= RESOLVED_ANYWHERE, function


def global_symbols(code):
    """The names of the global symbols of 64-bit ELF object code: defined, undefined."""
    assert code[:6] == b"\x7fELF\x02\x01"
    table, entry_size, count = struct.unpack_from("<Q10xHH", code, 0x28)
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, table + i * entry_size) for i in range(count)]
    names = {True: set(), False: set()}
    for _, kind, _, _, offset, size, link, *_ in sections:
        if kind != 2:  # SHT_SYMTAB
            continue
        for at in range(offset, offset + size, 24):
            name, info, _, section = struct.unpack_from("<IBBH", code, at)
            start = sections[link][4] + name
            if info >> 4:  # not local
                names[section != 0].add(code[start : code.index(b"\0", start)].decode())
    return names[True], names[False]


def test_a_kernel_that_allocates_is_refused(folder, capfd):
    function = tiny_kernels.allocating()
    with pytest.raises(RuntimeError, match="fastconv_entry"):
        assert function.address
    assert "NRT_" in capfd.readouterr().err
    assert not function.is_cached()


def test_kernels_call_others_by_their_address(folder):
    context = np.array([tiny_kernels.add_to().address, 100])
    tiny_kernels.invoke(tiny_kernels.calling(), context, 0, 5, 0)
    assert context[1] == 100 + 0 + 1 + 2 + 3 + 4


def test_assembly_is_readable():
    assert re.search(r"^_?fastconv_entry:", tiny_kernels.scale().assembly(), re.MULTILINE)


def _build_marking():
    from numba import carray, int64

    from fastconv._kernels.numba_cpu.addresses import pointer

    def marking(context, lo, hi, slot):
        a = carray(pointer(context), 1, MARKING)[0]
        scratch = carray(pointer(a.scratch + slot * a.scratch_step), 100, int64)
        marks = carray(pointer(a.marks), hi, int64)
        for i in range(100):
            scratch[i] = lo
        for i in range(lo, hi):
            marks[i] = scratch[99] - lo + a.scratch % 128 + a.scratch_step % 128 + 1

    return marking


MARKING = structure("marks", *SCRATCH)


@pytest.mark.usefixtures("_restore_settings")
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_every_slot_has_scratch_of_its_own(threads):
    fc.set_num_threads(threads)
    marks = np.zeros(10_000, np.int64)
    run = RangeKernel(_build_marking).bound(fill(MARKING), ("marks",), len(marks), 8, scratch_bytes=800)
    assert run(marks) == OK
    assert np.all(marks == 1)


def test_missing_memory_is_reported():
    run = RangeKernel(_build_marking).bound(fill(MARKING), ("marks",), 10, 1, scratch_bytes=1 << 55)
    assert run(np.zeros(10, np.int64)) == OUT_OF_MEMORY


def test_a_kernel_may_run_while_the_interpreter_ends(warm):
    code = """
import threading, numpy as np, fastconv.functional as F
x, w = np.ones((4, 16, 64, 64), np.float32), np.ones((32, 16, 3, 3), np.float32)
def forever():
    while True:
        F.conv2d(x, w, backend="numba")
F.conv2d(x, w, backend="numba")
threading.Thread(target=forever, daemon=True).start()
print("ends")
"""
    for _ in range(3):
        assert script(code, **{CACHE: str(warm.parent)}) == "ends\n"
