"""Training beside other things: Python threads, a fork, torch in the process, an interrupt; the same numbers always."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fastconv as fc
from fastconv import nn, optim

STEPS, THREADS = 3, 8


def network():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def trained(state, x, target):
    """The parameters after some steps, and what the folded network says then."""
    model = network()
    model.load_state_dict(state)
    loss, optimizer = nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(model(x), target).backward()
        optimizer.step()
    with fc.no_grad():
        out = fc.fuse(model)(x).numpy()
    return [*(parameter.numpy().copy() for parameter in model.parameters()), out]


@pytest.fixture
def work():
    rng = np.random.default_rng(5)
    x, target = rng.standard_normal((16, 3, 20, 20)).astype(np.float32), rng.integers(0, 10, 16)
    state = {name: value.numpy().copy() for name, value in network().state_dict().items()}
    return state, x, target


def assert_equal(results, expected):
    for found, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("backend", ["cython", "numba"])
def test_python_threads_that_train_at_once_get_what_one_gets(backend, work):
    with fc.use_backend(backend):
        expected = trained(*work)
    results: list = [None] * THREADS

    def run(number):
        with fc.use_backend(backend):
            results[number] = trained(*work)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    for result in results:
        assert_equal(result, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_forked_child_trains_as_its_parent_does(work):
    expected = trained(*work)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert_equal(trained(*work), expected)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert_equal(trained(*work), expected)


@pytest.mark.oracle
def test_torch_trains_in_the_same_process(torch, work):
    expected = trained(*work)
    layer = torch.nn.Conv2d(3, 8, 3)
    for _ in range(STEPS):
        layer(torch.from_numpy(work[1])).sum().backward()
        assert_equal(trained(*work), expected)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_an_interrupt_ends_training_within_a_second():
    program = """
import numpy as np, fastconv as fc
from fastconv import models, nn, optim
model, loss = models.cifar_small(), nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
x, target = np.ones((64, 3, 32, 32), np.float32), np.zeros(64, int)
print("begun", flush=True)
while True:
    optimizer.zero_grad()
    loss(model(x), target).backward()
    optimizer.step()
"""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout.readline() == "begun\n"
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    finally:
        process.kill()
    assert "KeyboardInterrupt" in told
    assert process.returncode != 0


@pytest.mark.parametrize("backend", ["reference", "cython", "numba"])
@pytest.mark.parametrize("wild", [2**40, -(2**40), 2**63 - 1])
def test_targets_that_change_or_are_unsigned_lead_nowhere(backend, wild):
    with fc.use_backend(backend):
        logits = fc.tensor(np.ones((4, 5), np.float32), requires_grad=True)
        target = np.array([0, 1, 3, 2])
        loss = fc.functional.cross_entropy(logits, target)
        target[1] = wild
        loss.backward()
        expected = np.full((4, 5), 0.05, np.float32)
        expected[[0, 1, 2, 3], [0, 1, 3, 2]] -= 0.25
        np.testing.assert_allclose(logits.grad.numpy(), expected, rtol=1e-5)
        ignored = 2**64 - 2**40
        given = np.array([0, 1, ignored, 2], np.uint64)
        found = fc.functional.cross_entropy(np.ones((4, 5), np.float32), given, ignore_index=ignored)
        np.testing.assert_allclose(found, np.log(5), rtol=1e-6)
