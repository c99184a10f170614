"""Training: equal numbers for equal seeds, exact resumption from any batch, Ctrl-C, checkpoints that refuse damage."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import fastconv as fc
import fastconv.functional as F
from fastconv import nn, optim, rng, training, weights
from fastconv.errors import BackendUnavailableError, DTypeError, FormatError, ShapeError
from fastconv.training import checkpoint as checkpoints
from fastconv.training import progress, recipes

EPOCHS, BATCH, COUNT = 2, 8, 20
BATCHES = 3


def make_data(count=COUNT, seed=0):
    random = np.random.default_rng(seed)
    return random.random((count, 1, 6, 6), np.float32), random.integers(0, 3, count)


class Counting(nn.Module):
    """Counts in a buffer what it sees in training, as running statistics do."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", fc.tensor(np.zeros(1)))

    def forward(self, x):
        if self.training:
            self.seen.copy_(self.seen.numpy() + len(x))
        return x


class Job:
    """Everything of one run, built anew; ``init`` differs where the file must bring all the values."""

    def __init__(self, init=0, build=lambda p: optim.SGD(p, lr=0.05, momentum=0.9)):
        fc.manual_seed(init)
        self.model = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), Counting(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 3)
        )
        self.optimizer = build(self.model.parameters())
        self.scheduler = optim.StepLR(self.optimizer, 1, 0.5)
        self.calls = 0
        self.at = {}

    def augment(self, images, generator):
        self.calls += 1
        self.at.get(self.calls, lambda: None)()
        return training.random_shift(1)(images, generator)

    def fit(self, path=None, **options):
        options = {"epochs": EPOCHS, "batch_size": BATCH, "seed": 5, "validation": make_data(7, 1)} | options
        return training.fit(
            self.model,
            make_data(),
            optimizer=self.optimizer,
            scheduler=self.scheduler,
            augment=self.augment,
            checkpoint=path,
            progress=False,
            **options,
        )

    def everything(self):
        """All that a run leaves behind, comparable."""
        state = {name: tensor.numpy().copy() for name, tensor in self.model.state_dict().items()}
        for position, kept in self.optimizer.state_dict()["state"].items():
            state |= {f"{position}.{name}": np.array(item) for name, item in kept.items()}
        groups = [{**group, "params": len(group["params"])} for group in self.optimizer.param_groups]
        return state, groups, self.scheduler.state_dict(), rng.get_state()


def assert_same(found, expected):
    assert found[1:] == expected[1:]
    assert found[0].keys() == expected[0].keys()
    for name, array in expected[0].items():
        np.testing.assert_array_equal(found[0][name], array, err_msg=name, strict=True)


def interrupt():
    raise KeyboardInterrupt


def press():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.npz"


@pytest.fixture
def whole(tmp_path):
    """What the uninterrupted run gives."""
    job = Job()
    history = job.fit(tmp_path / "whole.npz")
    return history, job.everything()


def resume_and_compare(path, whole, job=None):
    job = Job(init=99) if job is None else job
    fc.manual_seed(123)
    history = job.fit(path, resume=True)
    assert history == whole[0]
    assert_same(job.everything(), whole[1])


def test_the_same_seed_gives_the_same_numbers():
    first, second, other = Job(), Job(), Job()
    histories = [job.fit(seed=seed) for job, seed in ((first, 5), (second, 5), (other, 6))]
    assert histories[0] == histories[1] != histories[2]
    assert_same(first.everything(), second.everything())
    # Without a seed everything follows the process's generator, which ``Job`` starts.
    assert Job(init=8).fit(seed=None) == Job(init=8).fit(seed=None)


def test_history_reports_every_epoch():
    job, reported = Job(), []
    modes = []
    history = job.fit(callback=lambda epoch: (reported.append(epoch), modes.append(job.model.training)))
    assert list(history) == reported
    assert modes == [True, True]
    assert [epoch.number for epoch in history] == [1, 2]
    assert [epoch.learning_rate for epoch in history] == [0.05, 0.025]
    assert job.optimizer.param_groups[0]["lr"] == 0.0125
    final = training.evaluate(job.model, make_data(7, 1))
    assert (history.validation_loss[-1], history.validation_accuracy[-1]) == final
    assert history.loss == [epoch.loss for epoch in history]
    assert history.accuracy == [epoch.accuracy for epoch in history]
    assert len(history) == 2
    assert job.model[3].seen.item() == EPOCHS * COUNT


def test_a_model_learns_with_the_defaults():
    images = np.eye(6, dtype=np.float32).reshape(6, 1, 2, 3)
    fc.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 6))
    history = training.fit(model, (images, np.arange(6)), epochs=400, batch_size=4, seed=1)
    assert history.loss[-1] < 0.7 * history.loss[0]
    assert training.evaluate(model, (images, np.arange(6))).accuracy == 1.0
    assert history[0].validation_loss is None


def test_auxiliary_classifiers_count_a_little():
    class Helped(nn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.aux1 = nn.Linear(36, 3), nn.Linear(36, 3)

        def forward(self, x):
            logits = self.main(x.reshape(len(x), -1))
            return (logits, self.aux1(x.reshape(len(x), -1)), None) if self.training else logits

    fc.manual_seed(0)
    model, data = Helped(), make_data()
    outputs = model(data[0])
    expected = [F.cross_entropy(logits, data[1]).item() for logits in outputs[:2]]
    before = model.aux1.weight.numpy().copy()
    history = training.fit(model, data, epochs=2, batch_size=COUNT, validation=data)
    assert history[0].loss == pytest.approx(expected[0] + 0.3 * expected[1], rel=1e-6)
    assert history[-1].loss < history[0].loss
    assert (model.aux1.weight.numpy() != before).any()


def test_every_module_gets_its_former_mode_back():
    job = Job()
    job.model[4].eval()
    former = [module.training for module in job.model.modules()]
    seen = []
    job.at = {1: lambda: seen.extend(module.training for module in job.model.modules()), 2: interrupt}
    with pytest.raises(KeyboardInterrupt):
        job.fit()
    assert all(seen)
    assert [module.training for module in job.model.modules()] == former
    training.predict(job.model, make_data()[0])
    assert [module.training for module in job.model.modules()] == former


def test_prediction_is_evaluation_without_gradients():
    job = Job()
    images, labels = make_data()
    logits = training.predict(job.model, images, batch_size=8)
    assert type(logits) is np.ndarray
    assert job.model[3].seen.item() == 0
    job.model.eval()
    np.testing.assert_array_equal(logits, np.concatenate([job.model(images[i : i + 8]).numpy() for i in (0, 8, 16)]))
    assert training.predict(job.model, images[:0]).shape == (0, 3)
    result = training.evaluate(job.model, (images, labels), batch_size=7)
    assert result.accuracy == (logits.argmax(axis=1) == labels).mean()
    assert result.loss == pytest.approx(float(fc.functional.cross_entropy(logits, labels)), rel=1e-6)
    assert training.evaluate(job.model, (images, labels), loss=lambda x, y: x.sum() * 0 + 2).loss == 2


@pytest.mark.parametrize("batch", range(1, EPOCHS * BATCHES + 1))
@pytest.mark.parametrize("how", [interrupt, press], ids=["raised", "pressed"])
def test_a_run_resumes_bit_for_bit_from_any_batch(path, whole, batch, how):
    job = Job()
    job.at = {batch: how}
    with pytest.raises(KeyboardInterrupt):
        job.fit(path)
    done = batch - (how is interrupt)
    assert job.calls == batch
    assert job.model[3].seen.item() == done // BATCHES * COUNT + done % BATCHES * BATCH
    if done:
        resume_and_compare(path, whole)
    else:
        assert not path.exists()


@pytest.mark.parametrize(
    "build", [lambda p: optim.Adam(p, amsgrad=True), lambda p: optim.AdamW(p), lambda p: optim.SGD(p)]
)
def test_every_optimizer_resumes(path, build):
    straight = Job(build=build)
    whole = straight.fit(), straight.everything()
    first = Job(build=build)
    first.at = {5: interrupt}
    with pytest.raises(KeyboardInterrupt):
        first.fit(path)
    resume_and_compare(path, whole, Job(init=3, build=build))


def test_a_run_may_be_interrupted_again_and_again(path, whole):
    for attempt in range(EPOCHS * BATCHES - 1):
        job = Job(init=attempt)
        job.at = {1: press}
        with pytest.raises(KeyboardInterrupt):
            job.fit(path, resume=path.exists())
    resume_and_compare(path, whole)


@pytest.mark.parametrize("where", ["loss", "validation", "callback", "step"])
def test_interrupts_outside_of_the_batch(path, whole, where):
    job, plain = Job(), nn.CrossEntropyLoss()
    calls = {"loss": 0, "validation": 0}

    def loss(logits, labels):
        kind = "loss" if job.model.training else "validation"
        calls[kind] += 1
        if where == kind and calls[kind] == 2:
            interrupt()
        return plain(logits, labels)

    def press_in_step():
        step = optim.SGD.step

        def pressed(self):
            for _ in range(5):
                press()
            step(self)

        return pressed

    with pytest.MonkeyPatch.context() as patch:
        if where == "step":
            patch.setattr(optim.SGD, "step", press_in_step())
        with pytest.raises(KeyboardInterrupt):
            job.fit(path, loss=loss, callback=lambda epoch: where == "callback" and interrupt())
    record = checkpoints._record(str(path))
    expected = {"loss": (0, 1), "validation": (1, 3), "callback": (1, 0), "step": (0, 1)}[where]
    assert (record["epoch"], record["position"]) == expected
    assert rng.get_state() == record["generators"]["process"]
    resume_and_compare(path, whole)


def test_the_second_press_does_not_wait_for_the_batch(path, whole):
    job = Job()
    job.at = {2: lambda: (press(), press(), pytest.fail("the second press was ignored"))}
    with pytest.raises(KeyboardInterrupt):
        job.fit(path)
    assert checkpoints._record(str(path))["position"] == 1
    resume_and_compare(path, whole)


def test_presses_while_writing_wait_for_the_file(path, whole, monkeypatch):
    job, save, calls = Job(), weights.save, []

    def pressed(*arguments):
        calls.append(arguments)
        press()
        save(*arguments)
        press()

    monkeypatch.setattr(weights, "save", pressed)
    with pytest.raises(KeyboardInterrupt):
        job.fit(path)
    monkeypatch.undo()
    assert len(calls) == 1
    assert checkpoints._record(str(path))["epoch"] == 1
    resume_and_compare(path, whole)


def test_a_failed_write_leaves_the_old_file(path, monkeypatch):
    Job().fit(path, epochs=1)
    old = path.read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        Job(init=1).fit(path, epochs=3)
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name]


def test_an_interrupt_before_the_first_batch_leaves_the_old_file(path):
    Job().fit(path)
    old = path.read_bytes()
    job = Job(init=1)
    job.at = {1: interrupt}
    with pytest.raises(KeyboardInterrupt):
        job.fit(path)
    assert path.read_bytes() == old


def test_handlers_are_put_back_and_called():
    calls = []

    def handler(number, frame):
        calls.append(number)

    before = signal.signal(signal.SIGINT, handler)
    try:
        job = Job()
        job.at = {2: press}
        assert len(job.fit()) == EPOCHS
        assert calls == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        job = Job()
        job.at = {2: press}
        assert len(job.fit()) == EPOCHS
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_works_outside_the_main_thread(whole):
    job, results = Job(), []
    thread = threading.Thread(target=lambda: results.append(job.fit()))
    thread.start()
    thread.join()
    assert results == [whole[0]]


def test_ctrl_c_in_a_process_of_its_own(path, tmp_path):
    script = tmp_path / "job.py"
    script.write_text(
        textwrap.dedent("""
            import sys
            from fastconv.training import recipes

            epochs, resume, path = int(sys.argv[1]), sys.argv[2] == "resume", sys.argv[3]
            report = lambda epoch: print("epoch", epoch.number, flush=True)
            result = recipes.train("digits", seed=4, epochs=epochs, checkpoint=path, resume=resume, callback=report)
            print(repr(result.result), sum(float(t.numpy().sum()) for t in result.model.state_dict().values()))
        """)
    )

    def run(mode, to):
        return [sys.executable, str(script), "3", mode, str(to)]

    expected = subprocess.run(run("fresh", tmp_path / "whole.npz"), capture_output=True, text=True, check=True).stdout
    with subprocess.Popen(run("fresh", path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "epoch 1\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert errors.strip().endswith("KeyboardInterrupt")
    resumed = subprocess.run(run("resume", path), capture_output=True, text=True, check=True).stdout
    assert resumed.splitlines()[-1] == expected.splitlines()[-1]


def test_checkpoints_are_written_when_asked_for(path):
    written = []
    Job().fit(
        path, epochs=5, checkpoint_every=2, callback=lambda epoch: written.append(path.exists() and epochs_in(path))
    )
    assert written == [False, 2, 2, 4, 5]


def epochs_in(path):
    return checkpoints._record(str(path))["epoch"]


def test_a_finished_run_resumes_to_itself_and_further(path, whole):
    Job().fit(path, epochs=1)
    resume_and_compare(path, whole)
    job = Job(init=4)
    assert job.fit(path, epochs=1, resume=True) == whole[0]
    assert job.calls == 0
    assert_same(job.everything(), whole[1])


def test_a_checkpoint_is_plain_arrays_and_json(path):
    job = Job()
    job.at = {2: press}
    with pytest.raises(KeyboardInterrupt):
        job.fit(path)
    with np.load(path, allow_pickle=False) as members:
        names = set(members)
        assert all(members[name].dtype != object for name in names)
    state = job.model.state_dict()
    slots = {f"optimizer/{position}/momentum_buffer" for position in range(4)}
    assert names == {f"model/{name}" for name in state} | slots | {"order", "__metadata__"}
    loaded = training.model_state(path)
    assert list(loaded) == list(state)
    fresh = Job(init=1).model
    fresh.load_state_dict(loaded)
    np.testing.assert_array_equal(fresh[0].weight.numpy(), job.model[0].weight.numpy())


def refuse(path, job, match, **options):
    fc.manual_seed(77)
    before = job.everything()
    with pytest.raises(FormatError, match=match):
        job.fit(path, resume=True, **options)
    assert_same(job.everything(), before)
    assert job.calls == 0


def rewritten(path, arrays=lambda arrays: None, record=lambda record: None):
    """Change the content of a good checkpoint."""
    values, text = weights.load(path), json.loads(weights.load_metadata(path)["checkpoint"])
    arrays(values)
    record(text)
    weights.save(values, path, {"checkpoint": json.dumps(text)})


@pytest.fixture
def saved(path):
    """A checkpoint in the middle of the second epoch."""
    job = Job()
    job.at = {5: press}
    with pytest.raises(KeyboardInterrupt):
        job.fit(path)
    return path


DAMAGE = [
    (lambda record: record.update(version=2), "not a checkpoint of version 1"),
    (lambda record: record.clear(), "not a checkpoint of version"),
    (lambda record: record.update(epoch=-1), "epoch"),
    (lambda record: record.update(epoch=7), "history"),
    (lambda record: record.update(epoch=1.0), "epoch"),
    (lambda record: record.update(position=4), "batch 4 of 3"),
    (lambda record: record.update(position=0), "order"),
    (lambda record: record.pop("position"), "position"),
    (lambda record: record.update(totals=[1.0, 2]), "values to unpack"),
    (lambda record: record.update(totals=["a", 2, 1.0]), "totals"),
    (lambda record: record.update(totals=[1.0, 2.5, 1.0]), "correct"),
    (lambda record: record.update(history=[]), "history"),
    (lambda record: record.update(history=[7]), "get"),
    (lambda record: record["history"][0].update(loss="low"), "loss"),
    (lambda record: record["history"][0].update(loss=None), "loss is missing"),
    (lambda record: record["history"][0].update(extra=1), "extra"),
    (lambda record: record["history"][0].update(number=2), "history"),
    (lambda record: record.update(generators={}), "shuffling"),
    (lambda record: record["generators"]["process"].update(bit_generator="MT19937"), "PCG64"),
    (lambda record: record["generators"]["shuffling"].update(state=None), "damaged checkpoint"),
    (lambda record: record["generators"]["shuffling"]["state"].update(state=-1), "damaged checkpoint"),
    (lambda record: record.update(optimizer=None), "damaged checkpoint"),
    (
        lambda record: record.update(optimizer=["Adam", *record["optimizer"][1:]]),
        "optimizer is 'Adam' there and SGD here",
    ),
    (lambda record: record["optimizer"][1][0].update(lr=-1), "invalid lr"),
    (lambda record: record["optimizer"][1].clear(), "groups"),
    (lambda record: record["optimizer"][2].update({"9": {}}), "number 9"),
    (lambda record: record["optimizer"][2].update({"0": {"step": 1}}), "does not remember 'step'"),
    (lambda record: record.update(scheduler=None), "schedule"),
    (lambda record: record["scheduler"][1].update(step_size=0), "step_size"),
    (lambda record: record.update(scheduler=["CosineAnnealingLR", {}]), "scheduler"),
    (lambda record: record.update(shape=[20, 1, 6, 7]), "shape"),
    (lambda record: record.update(seed="5"), "seed"),
]


@pytest.mark.parametrize(("change", "match"), DAMAGE)
def test_a_damaged_record_is_refused_and_changes_nothing(saved, change, match):
    rewritten(saved, record=change)
    refuse(saved, Job(init=1), match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda arrays: arrays.pop("model/0.weight"), "missing key '0.weight'"),
        (lambda arrays: arrays.update({"model/extra": np.ones(1)}), "unexpected key 'extra'"),
        (lambda arrays: arrays.update({"model/0.weight": np.ones(3)}), "size mismatch"),
        (lambda arrays: arrays.update({"optimizer/0/momentum_buffer": np.ones(3)}), "momentum_buffer has shape"),
        (lambda arrays: arrays.update({"optimizer/0/other": np.ones(3)}), "does not remember 'other'"),
        (lambda arrays: arrays.update({"optimizer/x/other": np.ones(3)}), "invalid literal"),
        (lambda arrays: arrays.update({"order": np.zeros(COUNT, np.int64)}), "permutation"),
        (lambda arrays: arrays.update({"order": np.arange(COUNT + 1)}), "permutation"),
        (lambda arrays: arrays.update({"order": np.arange(float(COUNT))}), "permutation"),
        (lambda arrays: arrays.pop("order"), "order"),
    ],
)
def test_damaged_arrays_are_refused_and_change_nothing(saved, change, match):
    rewritten(saved, arrays=change)
    refuse(saved, Job(init=1), match)


def test_foreign_and_broken_files_are_refused(saved):
    content = saved.read_bytes()
    for broken in (b"", b"text", content[: len(content) // 2], content[:-1], content[1:]):
        saved.write_bytes(broken)
        refuse(saved, Job(init=1), str(saved))
    weights.save({"a": np.ones(1)}, saved)
    refuse(saved, Job(init=1), "is not a checkpoint of a training run")
    weights.save({"a": np.ones(1)}, saved, {"checkpoint": "{"})
    refuse(saved, Job(init=1), "not valid JSON")
    with pytest.raises(FormatError, match="not valid JSON"):
        training.model_state(saved)


def test_random_damage_is_refused_or_harmless(saved, whole, rng):
    content = saved.read_bytes()
    for _ in range(40):
        broken = bytearray(content)
        broken[rng.integers(len(broken))] ^= 1 << rng.integers(8)
        saved.write_bytes(broken)
        job = Job(init=1)
        before = job.everything()
        try:
            history = job.fit(saved, resume=True)
        except FormatError:
            assert_same(job.everything(), before)
        else:
            assert history == whole[0]
            assert_same(job.everything(), whole[1])


def test_a_checkpoint_of_another_run_is_refused(saved):
    refuse(saved, Job(), "batch_size is 8 there and 4 here", batch_size=4)
    refuse(saved, Job(), "seed is 5 there and 6 here", seed=6)
    refuse(saved, Job(build=lambda p: optim.SGD(list(p)[:2], momentum=0.9)), "differ")
    other = Job()
    other.model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    refuse(saved, other, "missing key '1.weight'")
    without = Job()
    without.scheduler = None
    with pytest.raises(FormatError, match="a schedule is here or there"):
        without.fit(saved, resume=True)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"epochs": 0}, ValueError, "epochs"),
        ({"epochs": 1.5}, TypeError, "epochs"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every"),
        ({"resume": True}, ValueError, "needs a checkpoint"),
        ({"resume": "yes", "path": "a.npz"}, TypeError, "resume"),
        ({"path": "run.safetensors"}, ValueError, "a checkpoint is an .npz file"),
        ({"path": "no/such/folder/run.npz"}, FileNotFoundError, "folder"),
        ({"path": "none.npz", "resume": True}, FileNotFoundError, "none.npz"),
        ({"seed": -1}, ValueError, "non-negative"),
        ({"validation": make_data()[0]}, TypeError, "validation must be a pair"),
    ],
)
def test_bad_arguments_are_refused_and_change_nothing(options, error, match, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = Job()
    before = job.everything()
    with pytest.raises(error, match=match):
        job.fit(**options)
    assert_same(job.everything(), before)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        (None, TypeError, "data must be a pair"),
        ((np.ones((2, 1, 6, 6)),), TypeError, "data must be a pair"),
        ((np.ones((2, 1, 6, 6)), [0, 1]), TypeError, "labels of data must be an array"),
        ((np.ones((2, 1, 6, 6)), np.arange(3)), ShapeError, r"labels of shape \(3,\)"),
        ((np.ones((2, 1, 6, 6)), np.zeros((2, 1), int)), ShapeError, "labels of shape"),
        ((np.ones(2), np.arange(2)), ShapeError, "one sample per index"),
        ((np.ones((2, 1, 6, 6)), np.ones(2)), DTypeError, "integer classes, got dtype float64"),
        ((np.ones((0, 1, 6, 6)), np.arange(0)), ValueError, "data is empty"),
    ],
)
def test_bad_data_is_refused(data, error, match):
    model = Job().model
    with pytest.raises(error, match=match):
        training.fit(model, data, epochs=1)
    with pytest.raises(error, match=match):
        training.evaluate(model, data)


def test_shifting_moves_whole_images(rng):
    images = rng.random((60, 2, 4, 5), np.float32)
    before = images.copy()
    moved = training.random_shift(2)(images, np.random.default_rng(1))
    np.testing.assert_array_equal(images, before)
    assert moved.dtype == np.float32
    assert moved.flags.c_contiguous
    padded = np.pad(images, [(0, 0), (0, 0), (2, 2), (2, 2)])
    found = set()
    for sample, image in zip(padded, moved, strict=True):
        matches = [(i, j) for i in range(5) for j in range(5) if np.array_equal(sample[:, i : i + 4, j : j + 5], image)]
        assert len(matches) == 1
        found.update(matches)
    assert len(found) > 15
    np.testing.assert_array_equal(training.random_shift(2)(images, np.random.default_rng(1)), moved)
    with pytest.raises(ValueError, match="largest"):
        training.random_shift(0)


def test_bars_are_drawn_where_somebody_watches(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    Job().fit()
    assert capsys.readouterr().err == ""
    options = {"epochs": 1, "validation": make_data(7, 1)}
    training.fit(Job().model, make_data(), progress=True, **options)
    text = capsys.readouterr().err
    assert "epoch 1/1" in text
    assert "validation" in text
    assert not progress.is_shown(False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert progress.is_shown(None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not progress.is_shown(None)
    with pytest.raises(BackendUnavailableError, match="pip install"):
        progress.is_shown(True)


def test_the_digits_recipe_reaches_its_accuracy():
    lines = []
    model, history, result = recipes.train("digits", seed=0, callback=lines.append)
    assert result.accuracy >= 0.985
    assert list(history) == lines
    assert history.validation_accuracy[-1] == result.accuracy
    assert len(history) == recipes.RECIPES["digits"].epochs
    assert not any(parameter.grad is None for parameter in model.parameters())


def test_recipes_are_deterministic_and_resume(path):
    straight = recipes.train("digits", seed=1, epochs=2)
    stop = []

    def first(epoch):
        stop.append(epoch)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recipes.train("digits", seed=1, epochs=2, checkpoint=path, callback=first)
    resumed = recipes.train("digits", seed=1, epochs=2, checkpoint=path, resume=True)
    assert len(stop) == 1
    assert resumed.history == straight.history
    assert resumed.result == straight.result
    assert recipes.train("digits", seed=2, epochs=2).result != straight.result


@pytest.mark.parametrize(("name", "shape"), [("mnist", (1, 28, 28)), ("cifar10", (3, 32, 32))])
def test_the_other_recipes_run_on_stand_in_data(name, shape, monkeypatch):
    asked = []

    def load(split, root):
        asked.append((split, root))
        return np.random.default_rng(0).random((10, *shape), np.float32), np.arange(10)

    recipe = recipes.RECIPES[name]
    fields = {key: getattr(recipe, key) for key in recipe.__slots__}
    monkeypatch.setitem(recipes.RECIPES, name, recipes.Recipe(**fields | {"load": load}))
    trained = recipes.train(name, epochs=1, root="here")
    assert set(asked) == {("train", "here"), ("test", "here")}
    assert np.isfinite(trained.history.loss).all()
    assert recipes.describe(name) == recipe.title


def test_unknown_recipes_are_refused():
    for call in (recipes.train, recipes.describe):
        with pytest.raises(ValueError, match="dataset must be one of digits, mnist, cifar10, got 'faces'"):
            call("faces")
    with pytest.raises(ValueError, match="epochs must be a positive int"):
        recipes.train("digits", epochs=0)
