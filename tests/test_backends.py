"""Which backend runs: precedence, scope, threads, what is imported when, and that nothing falls back silently."""

import contextvars
import threading

import numpy as np
import pytest
from support.backends import USABLE
from support.process import script

import fastconv as fc
import fastconv.functional as F
from fastconv import backends
from fastconv.errors import BackendUnavailableError

ONES = np.ones((1, 1, 4, 4), np.float32)
pytestmark = pytest.mark.usefixtures("_restore_settings")
two_backends = pytest.mark.skipif(len(USABLE) < 2, reason="only one backend is usable")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.delenv("FASTCONV_BACKEND", raising=False)


def used(backend=None):
    """The names of the backends that a forward and a backward pass run on, and why."""
    leaf = fc.tensor(ONES, requires_grad=True)
    with backends.recording() as launches:
        F.max_pool2d(F.conv2d(leaf, ONES, padding=1, backend=backend), 2, backend=backend).sum().backward()
    assert len(launches) == 4
    names = {record.backend for record in launches}
    assert len(names) == 1
    return names.pop(), launches[0].why


@two_backends
def test_precedence(monkeypatch):
    first, second = USABLE[0], "reference"
    assert used() == (first, f"auto: first usable of {', '.join(backends.AUTO_ORDER)}")
    monkeypatch.setenv("FASTCONV_BACKEND", second)
    assert used() == (second, "chosen by FASTCONV_BACKEND")
    assert fc.get_backend() == second
    fc.set_backend(first)
    assert used() == (first, "chosen by set_backend")
    with fc.use_backend(second):
        assert used() == (second, "chosen by use_backend")
        assert used(first) == (first, "chosen by argument")
        with fc.use_backend("auto"):
            assert used()[1].startswith("auto")
            assert fc.get_backend() == "auto"
        assert fc.get_backend() == second
    assert fc.get_backend() == first


@two_backends
def test_scopes_nest_and_end_with_an_exception():
    manager = fc.use_backend("reference")
    with manager, fc.use_backend(USABLE[0]), manager:
        assert fc.get_backend() == "reference"
    with pytest.raises(ZeroDivisionError), fc.use_backend("reference"):
        raise ZeroDivisionError
    assert fc.get_backend() == "auto"


def test_an_empty_variable_chooses_nothing(monkeypatch):
    monkeypatch.setenv("FASTCONV_BACKEND", "")
    assert fc.get_backend() == "auto"
    assert used()[0] == USABLE[0]


@pytest.mark.parametrize("name", ["cuda", "Reference", "", "torch", None, 3])
def test_unknown_names(name, monkeypatch):
    if name in fc.available_backends():
        pytest.skip("this build knows the name")
    calls = {"use_backend": fc.use_backend, "set_backend": fc.set_backend}
    if name is not None:
        calls["argument"] = used
    for source, call in calls.items():
        message = rf"no backend {name!r} \(chosen by {source}\); there are: auto, reference"
        with pytest.raises(BackendUnavailableError, match=message) as caught:
            call(name)
        assert isinstance(caught.value, ImportError)
    assert fc.get_backend() == "auto"
    if name and isinstance(name, str):
        monkeypatch.setenv("FASTCONV_BACKEND", name)
        with pytest.raises(BackendUnavailableError, match=rf"no backend {name!r} \(chosen by FASTCONV_BACKEND\)"):
            used()


@two_backends
def test_each_thread_has_its_own_choice():
    barrier, seen = threading.Barrier(2), {}

    def work(name):
        with fc.use_backend(name):
            barrier.wait()
            seen[name] = [used()[0] for _ in range(20)]
            barrier.wait()

    threads = [threading.Thread(target=work, args=(name,)) for name in (USABLE[0], "reference")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {name: [name] * 20 for name in (USABLE[0], "reference")}
    assert fc.get_backend() == "auto"


def test_a_new_thread_begins_with_the_choice_of_the_process():
    seen = []
    fc.set_backend("reference")
    with fc.use_backend(USABLE[0]):
        thread = threading.Thread(target=lambda: seen.append(fc.get_backend()))
        thread.start()
        thread.join()
    assert seen == ["reference"]
    fc.set_backend("auto")
    with fc.use_backend("reference"):
        assert contextvars.copy_context().run(fc.get_backend) == "reference"


@two_backends
def test_many_threads_compute_at_once(rng):
    x, weight = (rng.integers(-3, 4, shape).astype(np.float32) for shape in ((2, 8, 12, 11), (9, 8, 3, 3)))
    expected = F.conv2d(x, weight, padding=1, backend="reference")
    wrong = []

    def work(name):
        with fc.use_backend(name):
            for _ in range(30):
                if not np.array_equal(F.conv2d(x, weight, padding=1), expected):
                    wrong.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in USABLE * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_status_is_true_or_says_why():
    found = fc.available_backends()
    assert list(found) == list(backends._kernels.BACKENDS)
    for name, status in found.items():
        assert status.name == name
        assert bool(status) == (status.reason is None)
    assert found["reference"]


@pytest.mark.parametrize("name", USABLE)
def test_named_backends_load(name):
    fc.set_backend(name)
    assert used() == (name, "chosen by set_backend")


def test_threads_of_the_kernels():
    fc.set_num_threads(np.int64(3))
    assert fc.get_num_threads() == 3
    for wrong, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)):
        with pytest.raises(error, match="number of threads must be"):
            fc.set_num_threads(wrong)
    assert fc.get_num_threads() == 3
    assert script("import fastconv as fc; print(fc.get_num_threads())", FASTCONV_NUM_THREADS="5") == "5\n"


HEAVY = frozenset(
    "numba llvmlite cupy matplotlib scipy torch tensorflow keras h5py onnx onnxruntime sklearn safetensors PIL pandas "  # noqa: SIM905
    "mpi4py rich tqdm pytest hypothesis Cython".split()
)
LOADED = f"""
import sys
def loaded():
    print(sorted(name for name in sys.modules if name.split(".")[0] in {set(HEAVY)!r}))
def ours():
    print(sorted(name for name in sys.modules if name.startswith("fastconv._kernels.") and sys.modules[name]))
"""


def test_import_loads_no_backend_and_nothing_heavy():
    code = "import fastconv, fastconv.functional\nloaded(); ours()"
    modules, kernels = script(LOADED + code).splitlines()
    assert modules == "[]"
    assert "_cpu" not in kernels
    assert "reference" not in kernels
    assert "_native" not in kernels


def test_asking_what_is_there_loads_nothing_heavy():
    code = "import fastconv\nfastconv.available_backends(); fastconv.get_backend(); loaded(); ours()"
    modules, kernels = script(LOADED + code).splitlines()
    assert modules == "[]"
    assert "numba_cpu" not in kernels


def test_one_call_loads_one_backend():
    code = """
import numpy as np, fastconv.functional as F
F.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)), backend="reference"); loaded(); ours()
"""
    modules, kernels = script(LOADED + code).splitlines()
    assert modules == "[]"
    assert "reference" in kernels
    assert "_cpu" not in kernels


BLOCK = """
import sys, warnings
for name in {blocked}:
    sys.modules[name] = None
import numpy as np, fastconv as fc, fastconv.functional as F
x = np.ones((1, 1, 3, 3), np.float32)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        with fc.backends.recording() as launches:
            assert F.conv2d(x, x).item() == 9
        print(launches[0].backend)
    for warning in caught:
        print(warning.category.__name__, warning.message)
"""
CYTHON, NUMBA = "fastconv._kernels.cython_cpu.conv2d", "numba"


@pytest.mark.parametrize(
    ("blocked", "expected"), [([NUMBA], "cython"), ([CYTHON], "numba"), ([CYTHON, NUMBA], "reference")]
)
def test_auto_takes_the_first_that_works(blocked, expected):
    if expected not in USABLE:
        pytest.skip(f"{expected} is not usable here")
    printed = script(BLOCK.format(blocked=blocked)).splitlines()
    assert printed[:2] == [expected] * 2
    if expected != "reference":
        assert printed[2:] == []
        return
    assert len(printed) == 3  # one warning for the process
    assert "no compiled backend is usable, the slow reference runs instead" in printed[2]
    assert "cython:" in printed[2]
    assert "pip install 'fastconv[numba]'" in printed[2]


REFUSED = """
import sys
sys.modules["numba"] = None
import numpy as np, fastconv as fc, fastconv.functional as F
x = np.ones((1, 1, 3, 3), np.float32)
def attempt(call):
    try:
        call()
    except fc.BackendUnavailableError as error:
        print(error)
attempt(lambda: F.conv2d(x, x, backend="numba"))
attempt(lambda: fc.use_backend("numba"))
attempt(lambda: fc.set_backend("numba"))
print(fc.get_backend(), fc.available_backends()["numba"].reason)
import os
os.environ["FASTCONV_BACKEND"] = "numba"
attempt(lambda: F.conv2d(x, x))
"""


def test_a_named_backend_that_cannot_be_used_is_an_error_with_the_remedy():
    by_argument, by_scope, by_process, status, by_environment = script(REFUSED).splitlines()
    reason = status.removeprefix("auto ")
    assert "pip install 'fastconv[numba]'" in reason
    said = {
        "argument": by_argument,
        "use_backend": by_scope,
        "set_backend": by_process,
        "FASTCONV_BACKEND": by_environment,
    }
    for source, message in said.items():
        assert message == f"backend 'numba' (chosen by {source}) cannot be used: {reason}"


def test_what_backward_calls_is_explained():
    layer = fc.nn.Conv2d(4, 6, 3, padding=1)

    def train(x):
        layer(fc.tensor(x, requires_grad=True)).sum().backward()

    steps = {step.op: step for step in fc.explain(train, (2, 4, 7, 5)).steps}
    assert set(steps) == {"conv2d_forward", "conv2d_grad_input", "conv2d_grad_weight", "conv2d_grad_bias"}
    bias = steps["conv2d_grad_bias"]
    assert (bias.shapes, bias.flops, bias.nbytes) == ("2x6x7x5 6", 2 * 6 * 7 * 5, 4 * (2 * 6 * 7 * 5 + 6))
    assert steps["conv2d_grad_input"].flops == 2 * 2 * 6 * 7 * 5 * 4 * 9


SHAPES = {
    "adaptive_avg_pool2d": ((2, 3, 8, 8), (4, 2)),
    "adaptive_max_pool2d": ((3, 8, 8), (4, 2)),
    "add": ((2, 3), (3,)),
    "add_relu": ((2, 3), (2, 3)),
    "argmax": ((2, 3), 1),
    "avg_pool2d": ((1, 3, 8, 8), (2, 2), (2, 2)),
    "batch_norm": ((4, 3), (3,), (3,), (3,), (3,)),
    "cast": ((2, 3), np.float64),
    "cat": ([np.ones((2, 3)), np.ones((1, 3))],),
    "conv2d": ((1, 3, 8, 8), (4, 3, 3, 3), (4,), (2, 2), (1, 1)),
    "conv_transpose2d": ((1, 3, 4, 5), (3, 4, 3, 3), (4,)),
    "cross_entropy": ((8, 10), (8,), (10,)),
    "div": ((2, 3), ()),
    "dropout": ((7,), 0.5),
    "dropout2d": ((1, 2, 3, 3), 0.5),
    "flatten": ((2, 3, 4), 1),
    "getitem": ((2, 3), (1, 1)),
    "hardtanh": ((2, 3),),
    "leaky_relu": ((2, 3), 0.2),
    "linear": ((2, 3), (4, 3), (4,)),
    "local_response_norm": ((1, 6, 3, 3), 5),
    "locally_connected2d": ((1, 3, 4, 5), (2, 3, 4, 3, 3, 3), (2, 3, 4)),
    "log_softmax": ((2, 3), 1),
    "matmul": ((2, 3), (3, 4)),
    "max_pool2d": ((3, 8, 8), (2, 2)),
    "max_unpool2d": ((1, 1, 1, 1), (1, 1, 1, 1), (2, 2)),
    "mean": ((2, 3, 4), (0, 1, 2)),
    "mul": ((2, 3), (2, 1)),
    "neg": ((2,),),
    "pad": ((1, 2, 3, 3), (1, 1)),
    "permute": ((2, 3, 4), (2, 0, 1)),
    "pow": ((2, 3), 2),
    "relu": ((2, 3),),
    "relu6": ((2, 3),),
    "reshape": ((2, 3, 4), (4, 3, 2)),
    "sigmoid": ((2, 3),),
    "softmax": ((2, 3), 1),
    "sub": ((2, 3), (2, 3)),
    "sum": ((2, 3, 4), (0, 1, 2)),
    "tanh": ((),),
    "transpose": ((2, 3), 0, 1),
}


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", F.__all__)
def test_every_operation_is_explained_by_shapes(name):
    explanation = fc.explain(getattr(F, name), *SHAPES[name])
    assert all(step.backend == USABLE[0] for step in explanation.steps)


def test_shapes_by_name():
    (step,) = fc.explain(F.linear, (2, 3), weight=(4, 3), bias=(4,)).steps
    assert (step.flops, step.fused) == (2 * 2 * 3 * 4, ("bias",))
    assert str(fc.explain(F.mean, (2, 3, 4), axis=(0, 1, 2))) == "no kernel ran: these operations are plain NumPy"


def test_a_shape_has_the_dtype_of_the_model():
    layer = fc.nn.Conv2d(2, 3, 3, dtype=np.float64)
    assert {step.dtype for step in fc.explain(layer, (1, 2, 5, 5)).steps} == {"float64"}
