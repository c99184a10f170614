"""What the tape does when something goes wrong, or happens twice at once: nothing is lost, nothing is half done."""

import copy
import threading
import weakref

import numpy as np
import pytest

import fastconv as fc
from fastconv import arrays, backends
from fastconv.autograd import Function
from fastconv.errors import DTypeError


class Failing(Function):
    """The identity, whose gradient fails while ``broken``."""

    broken = True

    @staticmethod
    def forward(ctx, x):
        return x + 0

    @staticmethod
    def backward(ctx, grad):
        if Failing.broken:
            raise MemoryError("no room for the gradient")
        return grad + 0


class Saved(Function):
    """a * b with the saved array itself as the gradient of a."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save(b)
        return a * b

    @staticmethod
    def backward(ctx, grad):
        return ctx.saved[0], None


def test_a_failed_walk_changes_no_gradient_and_a_retained_tape_can_be_walked_again(monkeypatch):
    early, late = (fc.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    total = (Failing.apply(early) * late).sum()
    with pytest.raises(MemoryError, match="no room"):
        total.backward(retain_graph=True)
    assert early.grad is None
    assert late.grad is None
    monkeypatch.setattr(Failing, "broken", False)
    total.backward()
    assert late.grad.tolist() == early.grad.tolist() == [1.0, 2.0]
    with pytest.raises(RuntimeError, match="a second time"):
        total.backward()


def test_what_was_saved_is_freed_as_the_walk_passes_it():
    alive = []

    class Watched(Function):
        """The identity; its gradient counts the arrays that earlier nodes of the walk have saved and still hold."""

        @staticmethod
        def forward(ctx, x):
            ctx.save(x + 0)
            saved.append(weakref.ref(ctx.saved[0]))
            return x + 0

        @staticmethod
        def backward(ctx, grad):
            alive.append(sum(item() is not None for item in saved))
            return grad + 0

    for retain, expected in ((False, [3, 2, 1]), (True, [3, 3, 3])):
        saved: list = []
        alive.clear()
        leaf = fc.tensor([1.0], requires_grad=True)
        out = Watched.apply(Watched.apply(Watched.apply(leaf)))
        out.backward(retain_graph=retain)
        assert alive == expected


def test_a_saved_array_never_becomes_a_gradient_that_is_added_to():
    weight = np.array([3.0, 4.0])
    leaf = fc.tensor(np.ones(2), requires_grad=True)
    for _ in range(2):
        Saved.apply(leaf, weight).sum().backward()
    assert leaf.grad.tolist() == [6.0, 8.0]
    assert weight.tolist() == [3.0, 4.0]


def test_threads_that_walk_to_one_leaf_lose_nothing():
    leaf = fc.tensor(np.zeros(100_000), requires_grad=True)

    def work():
        for _ in range(25):
            (leaf * np.ones(100_000)).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(leaf.grad.numpy()) == {100.0}


@pytest.mark.parametrize("first_retains", [False, True])
def test_of_two_walks_at_once_over_one_tape_one_is_told_or_both_are_whole(first_retains):
    """The second one begins while the first is inside a node, and frees what it can."""
    inside, leave = threading.Barrier(2, timeout=60), threading.Barrier(2, timeout=60)
    meets = threading.Lock()

    class Slow(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save(x + 0)
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            if meets.acquire(blocking=False):
                inside.wait()
                leave.wait()
            return grad * ctx.saved[0]

    leaf = fc.tensor([3.0], requires_grad=True)
    out, failed = Slow.apply(Slow.apply(leaf)), []

    def walk():
        try:
            out.backward(retain_graph=first_retains)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=walk)
    thread.start()
    inside.wait()
    try:
        if first_retains:
            out.backward()
        else:
            with pytest.raises(RuntimeError, match="a second time"):
                out.backward()
    finally:
        leave.wait()
        thread.join()
    assert not failed
    assert leaf.grad.tolist() == [18.0 if first_retains else 9.0]
    with pytest.raises(RuntimeError, match="a second time"):
        out.backward()


def test_gradients_are_added_up_by_the_kernels_that_forward_recorded(rng):
    leaf = fc.tensor(rng.standard_normal((1, 4, 80, 80)).astype(np.float32), requires_grad=True)
    for _ in range(2):
        with fc.use_backend("reference"):
            out = (fc.functional.relu(leaf) + fc.functional.relu(leaf)).sum()
        with backends.recording() as records:
            out.backward()
    assert [record.op for record in records].count("accumulate_") == 2
    assert {record.backend for record in records} == {"reference"}


def test_positions_are_those_of_the_forward_call():
    positions = np.array([0, 1])
    leaf = fc.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    taken = leaf[positions]
    positions[:] = 3
    taken.sum().backward()
    assert leaf.grad.tolist() == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("wrong", [np.zeros(2), fc.tensor(np.zeros((3, 2)))])
def test_a_grad_that_does_not_fit_is_refused_before_any_change(wrong):
    first, second = (fc.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    second.grad = wrong
    with pytest.raises(fc.ShapeError, match="was set to"):
        (first * second).sum().backward()
    assert first.grad is None


def test_one_scope_object_serves_several_threads():
    scope = fc.use_backend("reference")
    inside, leave = threading.Barrier(2, timeout=60), threading.Barrier(2, timeout=60)
    seen = []

    def work():
        with scope:
            inside.wait()
            leave.wait()
            seen.append(fc.get_backend())
        seen.append(fc.get_backend())

    thread = threading.Thread(target=work)
    thread.start()
    with scope:
        inside.wait()
    leave.wait()
    thread.join()
    assert seen == ["reference", "auto"]
    assert fc.get_backend() == "auto"


def test_in_place_operators_write_where_nothing_is_recorded():
    leaf = fc.tensor([1.0, 2.0], requires_grad=True)
    same = leaf
    with pytest.raises(RuntimeError, match="in-place"):
        leaf -= 1.0
    with fc.no_grad():
        leaf -= 0.5
        leaf *= 2.0
    assert leaf is same
    assert leaf.tolist() == [1.0, 3.0]
    total = fc.tensor(0.0)
    total += (leaf * leaf).sum()
    total.backward()
    assert leaf.grad.tolist() == [2.0, 6.0]


def test_leaves_copy_deeply_and_results_do_not():
    leaf = fc.tensor([1.0], requires_grad=True)
    copied = copy.deepcopy(leaf)
    copied.detach().zero_()
    assert leaf.tolist() == [1.0]
    assert copied.requires_grad
    with pytest.raises(RuntimeError, match="leaves"):
        copy.deepcopy(leaf * 2)


def test_numbers_print_as_users_print_losses():
    assert f"{fc.tensor(1.23456):.3f}" == "1.235"


def test_an_empty_batch_goes_back_through_unpooling():
    leaf = fc.tensor(np.zeros((0, 2, 2, 2)), requires_grad=True)
    fc.functional.max_unpool2d(leaf, np.zeros((0, 2, 2, 2), int), 2).sum().backward()
    assert leaf.grad.shape == (0, 2, 2, 2)


@pytest.mark.parametrize("wrong", [None, "ab", [None, None], np.array([1j, 2j])])
def test_writes_pass_the_gate(wrong):
    leaf = fc.tensor([1.0, 2.0])
    with pytest.raises(TypeError):
        leaf.copy_(wrong)
    assert leaf.tolist() == [1.0, 2.0]


def test_tensor_refuses_what_would_change_the_numbers():
    with pytest.raises(TypeError, match="complex"):
        fc.tensor([1 + 2j])
    with pytest.raises(OverflowError):
        fc.tensor([300], dtype="int8")


def test_a_gradient_in_kept_memory_is_handed_on_without_a_copy():
    handed = []

    class Fresh(Function):
        """The identity, whose gradient is a new array in memory that is kept for others."""

        @staticmethod
        def forward(ctx, x):
            return x + 0

        @staticmethod
        def backward(ctx, grad):
            handed.append(arrays.empty(grad.shape, grad.dtype, arrays.CHANNELS_LAST))
            handed[-1][...] = grad
            return handed[-1]

    leaf = fc.tensor(np.ones((2, 16, 32, 32)), requires_grad=True)
    Fresh.apply(leaf).backward(np.ones(leaf.shape))
    assert handed[0].base is not None
    assert leaf.grad._array is handed[0]


def test_a_view_of_what_others_hold_is_copied():
    class Shown(Function):
        """The identity, whose gradients are views of the incoming one and of a saved array."""

        @staticmethod
        def forward(ctx, x, y):
            ctx.save(np.full(x.shape, 3.0))
            return x + y

        @staticmethod
        def backward(ctx, grad):
            return grad[:], ctx.saved[0][:]

    given = np.ones(4)
    first, second = (fc.tensor(np.ones(4), requires_grad=True) for _ in range(2))
    out = Shown.apply(first, second)
    for _ in range(2):
        out.backward(given, retain_graph=True)
    assert given.tolist() == [1.0] * 4
    assert (first.grad.tolist(), second.grad.tolist()) == ([2.0] * 4, [6.0] * 4)


MANY = 1 << 15


def test_a_read_only_gradient_is_never_added_to():
    held = np.ones(MANY, np.float32)
    held.flags.writeable = False
    first, second = (fc.tensor(np.ones(MANY, np.float32), requires_grad=True) for _ in range(2))
    second.grad = fc.Tensor(held)
    with pytest.raises(ValueError, match="read-only"):
        (first * second).backward(np.ones(MANY, np.float32))
    assert first.grad is None
    assert (held == 1).all()


def test_a_gradient_of_another_kind_changes_none():
    first, second = (fc.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    first.grad, second.grad = fc.tensor([1.0, 1.0]), fc.Tensor(np.array([1, 1]))
    with pytest.raises(DTypeError, match="was set to a Tensor of dtype int64"):
        (first * second).sum().backward()
    assert first.grad.tolist() == [1.0, 1.0]


def test_a_gradient_that_overlaps_what_is_added_is_right():
    memory = np.arange(MANY + 1, dtype=np.float32)
    leaf = fc.tensor(np.zeros(MANY, np.float32), requires_grad=True)
    expected = memory[1:] + memory[:-1]
    leaf.grad = fc.Tensor(memory[1:])
    leaf.backward(memory[:-1])
    np.testing.assert_array_equal(leaf.grad.numpy(), expected)


def test_two_results_in_one_memory_are_not_added_to_each_other():
    class Twice(Function):
        """a + b, whose gradients are one array and a view of it."""

        @staticmethod
        def forward(ctx, a, b):
            return a + b.reshape(a.shape)

        @staticmethod
        def backward(ctx, grad):
            copied = grad.copy()
            return copied, copied.reshape(4, 1)

    for first in (True, False):
        a, b = fc.tensor(np.ones(4), requires_grad=True), fc.tensor(np.ones((4, 1)), requires_grad=True)
        both = Twice.apply(a, b)
        ((a * 3) + both if first else both + (a * 3)).sum().backward()
        assert a.grad.tolist() == [4.0] * 4
        assert b.grad.tolist() == [[1.0]] * 4
