"""The network that learns on the live training page: its numbers, its thread, what is told of it, drawn digits."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from support.live import until

import fastconv as fc
from fastconv.datasets import load_digits
from fastconv.pages.live_training import drawing, messages
from fastconv.pages.live_training.lesson import Lesson
from fastconv.pages.live_training.settings import OFFERS, Settings
from fastconv.pages.live_training.trainer import INTERVAL, Trainer
from fastconv.training import predict, recipes


def weights(model):
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def assert_same(one, other):
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def taught(steps, seed=0, settings=Settings()):  # noqa: B008 - immutable
    lesson = Lesson(seed, settings)
    for _ in range(steps):
        lesson.step(settings)
    return lesson


def test_the_same_seed_gives_the_same_numbers_and_another_one_others():
    one, same, other = taught(30, 3), taught(30, 3), taught(30, 4)
    assert one.losses == same.losses
    assert_same(weights(one.model), weights(same.model))
    assert one.losses != other.losses


def test_an_epoch_is_the_recipe_s():
    lesson = taught(23)
    _, (epoch,), _ = recipes.train("digits", epochs=1, progress=False)
    sizes = np.full(23, 64)
    sizes[-1] = 1437 - 22 * 64
    assert np.average(lesson.losses, weights=sizes) == pytest.approx(epoch.loss, rel=1e-12)
    assert np.average(lesson.accuracies, weights=sizes) == pytest.approx(epoch.accuracy, rel=1e-12)
    assert (lesson.run.epoch, lesson.run.position, lesson.steps) == (1, 0, 23)


def test_a_look_changes_nothing_and_is_changed_by_nothing():
    settings = Settings()
    undisturbed = taught(10)  # not at the same time: dropout draws from the generator of the process
    lesson = taught(5)
    look = lesson.look()
    before = weights(look.model)
    assert_same(before, weights(lesson.model))
    for _ in range(5):
        lesson.look()
        lesson.step(settings)
    assert lesson.losses == undisturbed.losses
    assert_same(before, weights(look.model))
    images, labels = load_digits("test")
    np.testing.assert_allclose(predict(look.model, images), look.logits, rtol=1e-5, atol=1e-6)
    step, loss, accuracy = lesson.tests[0]
    assert (step, accuracy) == (5, np.mean(look.logits.argmax(axis=1) == labels))
    assert loss == pytest.approx(float(fc.functional.cross_entropy(look.logits, labels)))


def test_settings_hold_from_the_next_step_and_the_batch_size_from_the_next_epoch_on():
    still = Settings().changed({"learning_rate": OFFERS["learning_rate"][0], "batch_size": 128})
    lesson = taught(3)
    lesson.step(still)
    assert lesson._optimizer.param_groups[0]["lr"] == OFFERS["learning_rate"][0]
    while lesson.run.epoch == 0:
        lesson.step(still)
    assert lesson.steps == 23
    while lesson.run.epoch == 1:
        lesson.step(still)
    assert lesson.steps == 23 + 12


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch_size": 63}, "batch_size must be one of 16, 32, 64, 128, got 63"),
        ({"batch_size": True}, "got True"),
        ({"pace": "10"}, "got '10'"),
        ({"pace": float("nan")}, "got nan"),
        ({"pace": None}, "got None"),
        ({"pace": [10]}, r"got \[10\]"),
        ({"momentum": 1}, "there is no setting 'momentum'; there are learning_rate, batch_size, pace"),
        ({"x" * 99: 1}, "there is no setting 'xxx"),
    ],
)
def test_what_is_not_offered_is_refused_with_the_offers(values, words):
    with pytest.raises(ValueError, match=words):
        Settings().changed(values)


def test_the_default_settings_are_offered():
    for name, offers in OFFERS.items():
        assert getattr(Settings(), name) in offers


def test_pause_stops_the_steps_and_reset_begins_anew_with_the_same_numbers():
    with Trainer(seed=5) as trainer:
        assert trainer.snapshot.status == "ready"
        first = weights(trainer.snapshot.look.model)
        trainer.change({"pace": 0}).result()
        trainer.start().result()
        until(lambda: trainer.snapshot.step >= 10)
        paused = trainer.pause().result()
        assert (paused.status, paused.step) == ("paused", len(paused.losses))
        assert [trainer.change({}).result().step for _ in range(20)] == [paused.step] * 20
        trainer.start().result()
        until(lambda: trainer.snapshot.step > paused.step)
        begun = trainer.reset().result()  # in the midst of training
        assert (begun.status, begun.step, begun.lesson, begun.seconds) == ("ready", 0, 2, 0.0)
        assert_same(first, weights(begun.look.model))
        trainer.start().result()
        again = until(lambda: trainer.snapshot if trainer.snapshot.step >= paused.step else None)
        assert again.losses[: paused.step] == paused.losses


def test_training_ends_by_itself_and_a_reset_begins_anew():
    with Trainer(epochs=1) as trainer:
        trainer.change({"pace": 0}).result()
        trainer.start().result()
        over = until(lambda: trainer.snapshot if trainer.snapshot.status == "finished" else None)
        assert (over.epoch, over.step) == (1, 23)
        assert trainer.start().result().status == trainer.pause().result().status == "finished"
        assert trainer.snapshot.step == 23
        assert trainer.reset().result().status == "ready"


@pytest.mark.parametrize("work", ["step", "look"])
def test_a_failure_is_told_and_a_reset_begins_anew(monkeypatch, work):
    with Trainer() as trainer:
        with monkeypatch.context() as broken:
            broken.setattr(Lesson, work, lambda *given: 1 / 0)
            trainer.start().result()
            failed = until(lambda: trainer.snapshot if trainer.snapshot.status == "failed" else None)
        assert failed.reason == "ZeroDivisionError: division by zero"
        assert trainer.start().result().status == "failed"
        assert trainer.reset().result().status == "ready"
        assert trainer.start().result().status == "running"
        until(lambda: trainer.snapshot.step > 0)


def test_an_order_that_nobody_waits_for_any_more_is_still_done():
    with Trainer() as trainer:
        trainer.change({"pace": 2}).cancel()
        until(lambda: trainer.snapshot.settings.pace == 2)
        with pytest.raises(ValueError, match="pace"):
            trainer.change({"pace": 3}).result()
        assert trainer.pause().result().settings.pace == 2


def test_there_are_no_more_looks_than_the_interval_allows():
    with Trainer() as trainer:
        trainer.change({"pace": 0}).result()
        trainer.start().result()
        until(lambda: trainer.snapshot.step >= 60)
        last = trainer.pause().result()
    assert len(last.tests) <= last.seconds / INTERVAL + 4
    assert last.tests[-1][0] == last.step
    assert [step for step, _, _ in last.tests] == sorted({step for step, _, _ in last.tests})


def test_nothing_is_left_of_a_trainer_also_while_it_trains():
    before = threading.active_count()
    with Trainer() as trainer:
        assert threading.active_count() == before + 1
        trainer.start().result()
    assert threading.active_count() == before


def test_a_trainer_computes_with_the_backend_of_where_it_was_made(monkeypatch):
    seen = set()
    step = Lesson.step
    monkeypatch.setattr(Lesson, "step", lambda *given: (seen.add(fc.get_backend()), step(*given)))
    with fc.use_backend("reference"), Trainer() as trainer:
        trainer.start().result()
        until(lambda: seen)
    assert seen == {"reference"}


def test_updates_join_to_all_that_has_happened():
    with Trainer() as trainer:
        trainer.change({"pace": 0}).result()
        trainer.start().result()
        losses, tests, before = [], [], None
        for target in (0, 5, 20, 21):
            snapshot = until(lambda target=target: trainer.snapshot if trainer.snapshot.step >= target else None)
            message = messages.update(snapshot, 7, before)
            assert message["begin"] == {"steps": len(losses), "tests": len(tests)}
            losses += message["losses"]
            tests += message["tests"]
            before = snapshot
        assert losses == [round(loss, 5) for loss in before.losses]
        assert len(tests) == len(before.tests)
        begun = trainer.reset().result()
        assert messages.update(begun, 7, before)["begin"] == {"steps": 0, "tests": 0}


def test_an_update_shows_what_the_network_computes():
    snapshot = Trainer(seed=2).snapshot
    message = messages.update(snapshot, 13, None)
    images, labels, rows = messages.digits()
    model, image = snapshot.look.model, images[rows[13]][None]
    logits = predict(model, images[rows])
    np.testing.assert_allclose(message["probabilities"], fc.functional.softmax(logits, 1), atol=2e-5)
    assert message["right"] == np.sum(snapshot.look.logits.argmax(axis=1) == labels)
    with fc.no_grad():
        maps = model.relu1(model.conv1(fc.tensor(image))).numpy()[0]
    shown = message["layers"]["relu1"]
    values = np.frombuffer(messages.base64.b64decode(shown["values"]), np.uint8).reshape(maps.shape)
    np.testing.assert_allclose(values / 255 * shown["peak"], maps, atol=maps.max() / 400)
    assert {name: layer["maps"] for name, layer in message["layers"].items()} == {
        **{"relu1": 24, "relu2": 48, "pool": 48, "relu3": 64}
    }
    weight = model.conv1.weight.numpy().ravel()
    values = np.frombuffer(messages.base64.b64decode(message["filters"]["values"]), np.uint8).astype(float)
    np.testing.assert_allclose((values - 128) / 127 * message["filters"]["peak"], weight, atol=weight.max() / 100)


def test_what_is_not_finite_still_is_json():
    snapshot = Trainer().snapshot
    nan, inf = float("nan"), float("inf")
    logits = np.full_like(snapshot.look.logits, nan)
    model = snapshot.look.model
    with fc.no_grad():
        model.conv1.weight[0] = nan
        model.fc.weight[3] = inf
    wild = replace(
        snapshot,
        losses=(nan, 1.0),
        accuracies=(0.5, inf),
        tests=((2, nan, 0.1),),
        look=replace(snapshot.look, logits=logits),
    )
    text = messages.event("update", messages.update(wild, 0, None))
    message = json.loads(text.split("data: ")[1])
    assert message["losses"] == [None, 1.0]
    assert message["tests"] == [[2, None, 0.1]]
    assert message["probabilities"][0] == [None] * 10
    assert json.loads(
        messages.event("answer", messages.prediction(wild, np.ones((1, 1, 8, 8), np.float32))).split("data: ")[1]
    )


# Handwriting as points on a pad; y grows downwards.
DRAWN = {
    0: [
        [
            (0.5, 0.1),
            (0.3, 0.25),
            (0.25, 0.5),
            (0.3, 0.75),
            (0.5, 0.9),
            (0.7, 0.75),
            (0.75, 0.5),
            (0.7, 0.25),
            (0.5, 0.1),
        ]
    ],
    1: [[(0.5, 0.1), (0.5, 0.9)]],
    2: [[(0.3, 0.25), (0.5, 0.1), (0.7, 0.25), (0.65, 0.45), (0.45, 0.7), (0.25, 0.9), (0.75, 0.9)]],
    3: [[(0.3, 0.15), (0.6, 0.1), (0.7, 0.28), (0.45, 0.45), (0.7, 0.65), (0.65, 0.85), (0.3, 0.87)]],
    4: [[(0.6, 0.1), (0.25, 0.6), (0.8, 0.6)], [(0.62, 0.4), (0.6, 0.9)]],
    5: [[(0.72, 0.1), (0.32, 0.1), (0.3, 0.45), (0.55, 0.42), (0.72, 0.6), (0.65, 0.85), (0.3, 0.88)]],
    7: [[(0.25, 0.12), (0.75, 0.12), (0.45, 0.9)], [(0.35, 0.5), (0.68, 0.5)]],
}


@pytest.fixture(scope="module")
def trained():
    return recipes.train("digits", epochs=12, progress=False).model


@pytest.mark.parametrize("number", DRAWN)
def test_a_trained_network_reads_drawn_digits_of_any_size_at_any_place(trained, number):
    strokes = [np.array(stroke) for stroke in DRAWN[number]]
    for size, x, y in ((1.0, 0.0, 0.0), (0.5, 0.05, 0.4), (0.3, 0.65, 0.1)):
        image = drawing.digit(drawing.checked_strokes([(stroke * size + (x, y)).tolist() for stroke in strokes]))
        assert predict(trained, image).argmax() == number


def test_a_drawing_becomes_a_digit_like_those_of_the_data_set(rng):
    images, _ = load_digits("all")
    usual = images.sum(axis=(1, 2, 3))
    for strokes in DRAWN.values():
        dark = drawing.bitmap([np.array(stroke, np.float32) for stroke in strokes])
        image = drawing.digit([np.array(stroke, np.float32) for stroke in strokes])
        assert (image.dtype, image.shape) == (np.float32, (1, 1, 8, 8))
        counts = dark.reshape(8, 4, 8, 4).sum(axis=(1, 3))
        np.testing.assert_array_equal(image[0, 0] * 16, counts)
        assert dark.any(axis=1).sum() >= 28
        assert dark.any(axis=0).sum() <= 24
        assert usual.min() <= image.sum() <= usual.max()


def test_moving_and_scaling_a_drawing_changes_nothing():
    stroke = np.array(DRAWN[2][0], np.float32)
    expected = drawing.bitmap([stroke])
    for scale, shift in ((0.5, 0.25), (0.25, 0.5)):  # exact in binary
        assert (drawing.bitmap([stroke * np.float32(scale) + np.float32(shift)]) != expected).sum() <= 8


def test_a_dot_stays_a_dot_and_a_scribble_is_drawn_too(rng):
    dot = drawing.bitmap([np.array([[0.9, 0.1]], np.float32)])
    assert 40 < dot.sum() < 120
    rows, columns = np.nonzero(dot)
    assert (rows.mean(), columns.mean()) == (15.5, 15.5)
    scribble = drawing.checked_strokes([rng.random((drawing.MAX_POINTS, 2)).round(3).tolist()])
    assert drawing.bitmap(scribble).sum() > 313
    assert drawing.bitmap(drawing.checked_strokes([[[0, 0], [0, 0], [1, 1]], [[1, 0]]])).any()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "at least one stroke"),
        ([], "at least one stroke"),
        ({}, "at least one stroke"),
        ("drawn", "at least one stroke"),
        ([[]], "at least one point"),
        ([1], "at least one point"),
        ([[[0.1, 0.1]], []], "at least one point"),
        ([[0.1, 0.2]], r"points must be \[x, y\]"),
        ([[[0.1]]], "got"),
        ([[[0.1, 0.2, 0.3]]], "got"),
        ([[[0.1, "0.2"]]], "got"),
        ([[[0.1, True]]], "got"),
        ([[[0.1, None]]], "got"),
        ([[[0.1, 1.1]]], "0..1"),
        ([[[-0.1, 0.1]]], "0..1"),
        ([[[float("nan"), 0.1]]], "nan"),
        ([[[float("inf"), 0.1]]], "inf"),
        ([[[10**400, 0.1]]], "0..1"),
        ([[[0.1, 0.1]] * 501], "at most 500 points, got 501"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_drawing_is_refused(value, words):
    with pytest.raises(ValueError, match=words):
        drawing.checked_strokes(value)
