"""fastnn.callbacks: which hooks are called, and what the progress bar leaves on a terminal, in a pipe, in a log."""

import csv
import importlib
import io
import itertools
import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest

import fastnn
from fastnn import callbacks, layers, metrics, models, optimizers, utils
from fastnn.callbacks import Callback, History, ProgressBar

LOGS = {"loss": 0.25634, "accuracy": 0.92591}
VAL_LOGS = {**LOGS, "val_loss": 0.1, "val_accuracy": 0.96}
NUMBERS = "loss: 0.2563 - accuracy: 0.9259"


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def screen(self):
        """The rows a terminal would show now: a carriage return goes back, what follows overwrites."""
        rows = []
        for line in self.getvalue().split("\n"):
            row = ""
            for piece in line.split("\r"):
                row = piece + row[len(piece):]
            rows.append(row.rstrip())
        return rows


@pytest.fixture
def clock(monkeypatch):
    """Time stands still unless a test moves ``clock.now``, in seconds."""
    clock = types.SimpleNamespace(now=100.0)
    monkeypatch.setattr(callbacks.progress, "time", types.SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


@pytest.fixture(params=["tqdm", "no tqdm"])
def terminal(request, monkeypatch, clock):
    if request.param == "tqdm":
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)  # importing it raises ImportError
    stream = Terminal()
    monkeypatch.setattr(callbacks.progress, "sys", types.SimpleNamespace(stdout=stream))  # not pytest's
    set_columns(monkeypatch, 120)
    return stream


def set_columns(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", "24")


def make_bar(**options):
    bar = ProgressBar(**options)
    bar.set_params({"epochs": 5, "steps": 469})
    bar.on_train_begin()
    return bar


def run_epoch(bar, clock, logs=LOGS, epoch=0, step=600e-6, validation=0.0):
    """One epoch as fit reports it: progress, the last step, validation, the end."""
    bar.on_epoch_begin(epoch)
    for done in (100, 200, 469):
        clock.now += (done - bar.done) * step
        bar.on_progress(done, 469, {"loss": 1.0})
    clock.now += validation
    bar.on_epoch_end(epoch, logs)


# Callback, History


def test_every_hook_of_the_base_does_nothing():
    callback = Callback()
    callback.set_model("model")
    callback.set_params({"epochs": 2})
    assert (callback.model, callback.params) == ("model", {"epochs": 2})
    for when in ("begin", "end"):
        assert getattr(callback, f"on_train_{when}")() is None
        assert getattr(callback, f"on_test_{when}")(logs={}) is None
        assert getattr(callback, f"on_epoch_{when}")(0) is None
        assert getattr(callback, f"on_train_batch_{when}")(0, logs={}) is None


@pytest.mark.parametrize(("hook", "wanted"), [
    ("on_train_batch_begin", True), ("on_train_batch_end", True), ("on_epoch_end", False), ("on_test_end", False),
])
def test_wants_batches_tells_whether_a_batch_hook_is_overridden(hook, wanted):
    own = type("Own", (Callback,), {hook: lambda self, number=0, logs=None: None})
    assert own().wants_batches is wanted
    assert type("Heir", (own,), {})().wants_batches is wanted
    assert not any(base().wants_batches for base in (Callback, History, ProgressBar))


def test_history_keeps_a_list_for_each_name():
    history = History()
    history.on_train_begin()
    history.on_epoch_end(3, {"loss": 2.0, "accuracy": 0.5})
    history.on_epoch_end(4, {"loss": 1.0, "accuracy": 0.75})
    assert history.history == {"loss": [2.0, 1.0], "accuracy": [0.5, 0.75]}
    assert history.epoch == [3, 4]
    history.on_train_begin()
    assert (history.history, history.epoch) == ({}, [])


# The bar in a pipe, a file, a notebook


def test_one_line_an_epoch_where_there_is_no_terminal(capsys, clock):
    bar = make_bar()
    run_epoch(bar, clock)
    run_epoch(bar, clock, VAL_LOGS, epoch=1)
    assert capsys.readouterr().out == (
        f"Epoch 1/5 - 0s 600us/step - {NUMBERS}\n"
        f"Epoch 2/5 - 0s 600us/step - {NUMBERS} - val_loss: 0.1000 - val_accuracy: 0.9600\n"
    )


def test_verbose_2_is_one_line_an_epoch_on_a_terminal_too(terminal, clock):
    run_epoch(make_bar(verbose=2), clock)
    assert terminal.getvalue() == f"Epoch 1/5 - 0s 600us/step - {NUMBERS}\n"


def test_the_time_per_step_leaves_out_the_validation(capsys, clock):
    run_epoch(make_bar(), clock, step=0.01, validation=3.0)
    assert "Epoch 1/5 - 8s 10ms/step - " in capsys.readouterr().out


@pytest.mark.parametrize(("seconds", "text"), [(0, "0us"), (4.6e-6, "5us"), (0.0012, "1ms"), (0.2, "200ms"), (2, "2s")])
def test_the_unit_of_time_fits_the_step(capsys, clock, seconds, text):
    run_epoch(make_bar(), clock, step=seconds)
    assert f" {text}/step" in capsys.readouterr().out


@pytest.mark.parametrize(("value", "text"), [(0, "0.0000"), (1.23456, "1.2346"), (2e-4, "2.0000e-04"), (-3, "-3.0000")])
def test_small_values_keep_their_digits(capsys, clock, value, text):
    run_epoch(make_bar(), clock, {"loss": value})
    assert capsys.readouterr().out.endswith(f"loss: {text}\n")


def test_evaluate_leaves_one_line(capsys, clock):
    bar = ProgressBar(verbose=1)
    clock.now += 0.25
    bar.on_test_result(250, LOGS)
    assert capsys.readouterr().out == f"250/250 - 0s 1ms/step - {NUMBERS}\n"


# The bar on a terminal


def test_the_live_line_is_rewritten_and_keras_line_remains(terminal, clock):
    bar = make_bar()
    bar.on_epoch_begin(0)
    clock.now += 0.06
    bar.on_progress(100, 469, {"loss": 123456.0, "accuracy": 0.5})
    assert terminal.screen() == [
        "Epoch 1/5", "100/469 [=====>........................] - 0s 600us/step - loss: 123456.0000 - accuracy: 0.5000"
    ]
    clock.now += 0.2214
    bar.on_progress(469, 469, LOGS)
    bar.on_epoch_end(0, LOGS)
    assert terminal.screen() == ["Epoch 1/5", f"469/469 [{'=' * 30}] - 0s 600us/step - {NUMBERS}", ""]
    run_epoch(bar, clock, epoch=1)
    assert terminal.screen()[2:] == ["Epoch 2/5", f"469/469 [{'=' * 30}] - 0s 600us/step - {NUMBERS}", ""]


@pytest.mark.parametrize("columns", [10, 40, 50, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("logs", [LOGS, VAL_LOGS], ids=["training", "validation"])
def test_no_row_is_wider_than_the_terminal_and_no_number_is_lost(terminal, clock, monkeypatch, columns, logs):
    set_columns(monkeypatch, columns)
    run_epoch(make_bar(), clock, logs)
    rows = terminal.getvalue().replace("\n", "\r").split("\r")
    fields = ["469/469", "0s 600us/step"] + [f"{name}: {value:.4f}" for name, value in logs.items()]
    if columns > 25:  # the widest field
        assert max(map(len, rows)) < columns
    shown = " ".join(terminal.screen())
    assert [field for field in fields if field not in shown] == []


def test_the_bar_gives_way_to_the_numbers(terminal, clock, monkeypatch):
    for columns, bar in ((80, f"469/469 [{'=' * 19}] - "), (66, f"469/469 [{'=' * 5}] - "), (65, "469/469 - ")):
        set_columns(monkeypatch, columns)
        run_epoch(make_bar(), clock)
        assert terminal.screen()[-2] == f"{bar}0s 600us/step - {NUMBERS}"
    set_columns(monkeypatch, 40)
    run_epoch(make_bar(), clock)
    assert terminal.screen()[-3:-1] == ["469/469 - 0s 600us/step - loss: 0.2563", "  - accuracy: 0.9259"]


def test_chinese_names_count_two_columns_a_character(terminal, clock, monkeypatch):
    set_columns(monkeypatch, 66)
    run_epoch(make_bar(), clock, {"loss": 0.25, "準確率": 0.5})
    assert terminal.screen()[-2] == "469/469 [=======] - 0s 600us/step - loss: 0.2500 - 準確率: 0.5000"


def test_an_unfinished_line_is_ended(terminal, clock):
    bar = make_bar()
    bar.on_epoch_begin(0)
    bar.on_progress(100, 469, {"loss": 1.0})
    bar.on_train_end()
    terminal.write("Traceback")
    title, line, after = terminal.screen()
    assert (title, after) == ("Epoch 1/5", "Traceback")
    assert line.startswith("100/469 [")


def test_a_tqdm_loop_around_fit_keeps_its_bar(monkeypatch, clock):
    tqdm = pytest.importorskip("tqdm").tqdm
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    set_columns(monkeypatch, 120)
    threads = tqdm.monitor
    for _ in tqdm(range(2), desc="seeds", ncols=60, file=stream):
        run_epoch(make_bar(), clock)
    up = "\x1b[A"
    rows = [row.replace(up, "") for row in stream.screen()]
    assert rows[-2].startswith("seeds: 100%")
    assert sum(row == f"469/469 [{'=' * 30}] - 0s 600us/step - {NUMBERS}" for row in rows) == 2
    assert threads is None or tqdm.monitor is threads


# Streams that cannot


@pytest.mark.parametrize("encoding", ["cp950", "ascii", "utf-8"])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_name_that_cannot_be_encoded_is_replaced(monkeypatch, clock, encoding, is_terminal):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    stream.isatty = lambda: is_terminal
    monkeypatch.setattr(sys, "stdout", stream)
    set_columns(monkeypatch, 120)
    run_epoch(make_bar(), clock, {"loss": 0.25, "準確率": 0.5, "ἀ\udc80": 1.0})
    text = raw.getvalue().decode(encoding)
    assert ("準確率: 0.5000" if encoding != "ascii" else "???: 0.5000") in text
    assert ("ἀ?: 1.0000" if encoding == "utf-8" else "??: 1.0000") in text


class Broken(Terminal):
    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


class Full(Terminal):
    def write(self, text):
        raise OSError(28, "No space left on device")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("make_stream", [Broken, Full, closed, lambda: None])
@pytest.mark.parametrize("tqdm", [True, False])
def test_training_goes_on_when_nobody_can_read(monkeypatch, clock, make_stream, tqdm):
    if not tqdm:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys, "stdout", make_stream())
    for verbose in (1, 2):
        bar = make_bar(verbose=verbose)
        run_epoch(bar, clock)
        bar.on_train_end()
        bar.on_test_result(3, LOGS)


# With a model


class Recorder(Callback):
    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_begin(self, logs=None):
        self.calls.append("train")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch}")

    def on_test_end(self, logs=None):
        self.calls.append("test")

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(sorted(logs))

    def on_train_end(self, logs=None):
        self.calls.append("end")


class Batches(Callback):
    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append((batch, logs["loss"]))


def fit(**options):
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 6), np.float32), np.arange(40) % 3
    model = models.Sequential([layers.Dense(3, activation="softmax", input_shape=(6,))])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, model.fit(x, y, batch_size=16, **options)


def test_fit_calls_the_hooks_in_keras_order(capsys):
    recorder = Recorder()
    model, history = fit(epochs=2, validation_split=0.25, callbacks=[recorder], verbose=0)
    names = ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert recorder.calls == ["train", "epoch 0", "test", names, "epoch 1", "test", names, "end"]
    assert recorder.model is model
    assert (recorder.params["epochs"], recorder.params["steps"]) == (2, 2)
    assert isinstance(history, History)
    assert [len(values) for values in history.history.values()] == [2, 2, 2, 2]
    assert capsys.readouterr().out == ""


def test_fit_calls_the_batch_hooks_where_they_are_wanted():
    batches = Batches()
    _, history = fit(epochs=1, callbacks=[batches], verbose=0)
    assert [batch for batch, _ in batches.losses] == [0, 1, 2]
    assert batches.losses[-1][1] == history.history["loss"][0]


def test_fit_shows_its_progress_in_a_log(capsys):
    fit(epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in lines] == ["Epoch 1/2", "Epoch 2/2"]


def test_fit_shows_its_progress_on_a_terminal(terminal):
    fit(epochs=1)
    title, line, _ = terminal.screen()
    assert title == "Epoch 1/1"
    assert line.startswith(f"3/3 [{'=' * 30}] - 0s ")


# Callbacks that watch a number


def trained(*given, logs=None, epochs=None, **options):
    """A model whose epochs report `logs`, a list of dicts, which its callbacks see in their order."""
    class Script(Callback):
        def on_epoch_end(self, epoch, values=None):
            values.clear()
            values.update(logs[epoch])

    model = small_model(**options)
    history = model.fit(X, Y, epochs=epochs or len(logs), batch_size=5, verbose=0, callbacks=[Script(), *given])
    return model, history


def small_model(metrics=("accuracy",), seed=1, optimizer="sgd", **options):
    utils.set_random_seed(seed)
    model = models.Sequential([layers.Dense(4, "tanh", input_shape=(3,)), layers.Dense(2, "softmax")])
    model.compile(optimizer, "categorical_crossentropy", metrics=list(metrics))
    return model


X = np.random.default_rng(0).normal(size=(22, 3)).astype("float32")
Y = np.eye(2)[np.arange(22) % 2]


def losses_of(*values, name="val_loss"):
    return [{name: value} for value in values]


class Weights(Callback):
    """Keeps the weights after each epoch."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def on_epoch_end(self, epoch, logs=None):
        self.kept.append(self.model.get_weights())


def same(a, b):
    return all((u == v).all() for u, v in zip(a, b, strict=True))


@pytest.mark.parametrize(("options", "values", "stopped", "best"), [
    ({}, [3, 2, 2, 1], 2, 1), ({"patience": 2}, [3, 2, 2, 2, 1], 3, 1), ({"patience": 2}, [3, 2, 2, 1, 1], 0, 3),
    ({"min_delta": 0.5}, [3, 2.6, 1], 1, 0), ({"mode": "max"}, [1, 2, 2], 2, 1), ({}, [1, 1, 1], 1, 0),
    ({"baseline": 1, "patience": 2}, [3, 2, 1.5, 1.2], 0, 3), ({"baseline": 1, "patience": 2}, [3, 2, 2, 2], 2, 1),
    ({"start_from_epoch": 2, "patience": 1}, [1, 2, 3, 3, 0], 3, 2), ({}, [float("nan"), 1, 0], 1, 0),
    ({"monitor": "val_accuracy"}, [0.5, 0.6, 0.6], 2, 1), ({"monitor": "accuracy"}, [0.5, 0.6, 0.6], 2, 1),
])
def test_early_stopping(options, values, stopped, best):
    kept, stopping = Weights(), callbacks.EarlyStopping(restore_best_weights=True, **options)
    model, history = trained(kept, stopping, logs=losses_of(*values, name=options.get("monitor", "val_loss")))
    assert (stopping.stopped_epoch, stopping.best_epoch) == (stopped, best)
    assert history.epoch == list(range(stopped + 1 if stopped else len(values)))
    assert same(model.weights, kept.kept[best])


def test_early_stopping_keeps_the_last_weights_unless_asked():
    kept, stopping = Weights(), callbacks.EarlyStopping()
    model, _ = trained(kept, stopping, logs=losses_of(1, 2, 3))
    assert len(kept.kept) == 2 and same(model.weights, kept.kept[1])
    trained(stopping, logs=losses_of(3, 2, 1))                 # may be used again
    assert (stopping.stopped_epoch, stopping.best) == (0, 1)


def test_early_stopping_says_what_it_does(capsys):
    trained(callbacks.EarlyStopping(verbose=1, restore_best_weights=True), logs=losses_of(1, 2))
    assert capsys.readouterr().out == (
        "Epoch 2: early stopping\nRestoring model weights from the end of the best epoch: 1.\n")


@pytest.mark.parametrize("make", [callbacks.EarlyStopping, callbacks.ReduceLROnPlateau])
def test_a_value_that_is_not_there_is_warned_of(make):
    with pytest.warns(UserWarning, match=f"{make.__name__} watches 'val_loss', which is not there. There are: loss"):
        small_model().fit(X, Y, verbose=0, callbacks=[make()])


@pytest.mark.parametrize("make", [
    lambda **options: callbacks.EarlyStopping(**options), lambda **options: callbacks.ReduceLROnPlateau(**options),
    lambda **options: callbacks.ModelCheckpoint("a.fastnn", save_best_only=True, **options)])
def test_what_is_better_must_be_known(make):
    with pytest.raises(ValueError, match=r"whether more or less of 'mine' is better. Give it mode='max'"):
        trained(make(monitor="mine"), logs=[{"mine": 1.0}, {"mine": 2.0}])
    with pytest.raises(ValueError, match="mode must be 'auto', 'min' or 'max', received 'most'"):
        make(mode="most")


@pytest.mark.parametrize(("options", "values", "rates"), [
    ({"patience": 1}, [1, 1, 1, 0], [1, 0.1, 0.01, 0.01]),
    ({"patience": 2, "factor": 0.5}, [1, 1, 1, 1], [1, 1, 0.5, 0.5]),
    ({"patience": 1, "min_lr": 0.05}, [1, 1, 1, 1], [1, 0.1, 0.05, 0.05]),
    ({"patience": 1, "cooldown": 2}, [1, 1, 1, 1, 1], [1, 0.1, 0.1, 0.01, 0.01]),
    ({"patience": 1, "min_delta": 0.5}, [3, 2.6, 2.6], [1, 0.1, 0.01]),
    ({"patience": 1, "mode": "max"}, [1, 2, 2], [1, 1, 0.1]),
])
def test_reduce_lr_on_plateau(options, values, rates):
    class Rates(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.seen.append(self.model.optimizer.learning_rate)

    seen = Rates()
    seen.seen = []
    _, history = trained(callbacks.ReduceLROnPlateau(**options), seen, logs=losses_of(*values),
                         optimizer=optimizers.SGD(1.0))
    np.testing.assert_allclose(seen.seen, rates, rtol=1e-12)
    np.testing.assert_allclose(history.history["learning_rate"], [1, *rates[:-1]], rtol=1e-12)


@pytest.mark.parametrize("factor", [0, 1, 1.5, -1])
def test_a_factor_that_does_not_reduce_is_refused(factor):
    with pytest.raises(ValueError, match="factor must be between 0 and 1"):
        callbacks.ReduceLROnPlateau(factor=factor)


@pytest.mark.parametrize("schedule", [lambda epoch, rate: rate / 2, lambda epoch: 0.5 ** (epoch + 1),
                                      lambda epoch, rate=None: np.float32(0.5 ** (epoch + 1))])
def test_learning_rate_scheduler(schedule, capsys):
    model = small_model(optimizer=optimizers.SGD(1.0))
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[callbacks.LearningRateScheduler(schedule, verbose=1)])
    assert history.history["learning_rate"] == [0.5, 0.25, 0.125] and model.optimizer.learning_rate == 0.125
    assert "Epoch 3: LearningRateScheduler setting learning rate to 0.125.\n" in capsys.readouterr().out


@pytest.mark.parametrize("rate", [None, "1", -1.0, float("nan"), True])
def test_a_schedule_must_return_a_rate(rate):
    with pytest.raises(ValueError, match="the schedule must return a finite number, .* for epoch 0 it"):
        small_model().fit(X, Y, verbose=0, callbacks=[callbacks.LearningRateScheduler(lambda epoch: rate)])


def test_an_error_within_a_schedule_is_the_user_s_own():
    def schedule(epoch, rate):
        return rate + "1"

    with pytest.raises(TypeError, match="unsupported operand"):
        small_model().fit(X, Y, verbose=0, callbacks=[callbacks.LearningRateScheduler(schedule)])


def test_terminate_on_nan_ends_quietly_with_the_last_finite_weights(capsys):
    def exploding():
        model = small_model()
        model.compile(optimizers.SGD(1e18), "mse")
        model.layers[1].activation = "linear"
        return model

    twin, model = exploding(), exploding()
    with pytest.raises(RuntimeError, match="not finite"):
        twin.fit(X, Y, batch_size=5, epochs=3, verbose=0)
    history = model.fit(X, Y, batch_size=5, epochs=3, verbose=0, callbacks=[callbacks.TerminateOnNaN()])
    assert len(history.epoch) < 3 and np.isnan(history.history["loss"][-1])
    assert same(model.weights, twin.weights) and np.isfinite(model.weights[0]).all()
    assert "Invalid loss, terminating training" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="not finite"):
        exploding().fit(X, Y, batch_size=5, epochs=3, verbose=0, callbacks=[callbacks.TerminateOnNaN(raise_error=True)])


def test_lambda_callback_calls_the_functions_it_was_given():
    calls = []
    hooks = ["on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_epoch_end",
             "on_train_end"]
    given = {hook: lambda *_, hook=hook: calls.append(hook) for hook in hooks}
    small_model().fit(X, Y, batch_size=22, verbose=0, callbacks=[callbacks.LambdaCallback(**given)])
    assert calls == hooks
    assert not callbacks.LambdaCallback(on_epoch_end=print).wants_batches
    assert callbacks.LambdaCallback(on_train_batch_end=print).wants_batches
    with pytest.raises(TypeError, match="there is no hook 'on_epoch_ends'. The hooks are on_.*on_epoch_end"):
        callbacks.LambdaCallback(on_epoch_ends=print)


def test_the_old_names_of_batch_hooks_are_called():
    class Old(Callback):
        def on_batch_end(self, batch, logs=None):
            seen.append((batch, *logs))

    seen = []
    small_model().fit(X, Y, batch_size=11, verbose=0, callbacks=[Old()])
    assert seen == [(0, "loss", "accuracy"), (1, "loss", "accuracy")]


def test_callbacks_without_batch_hooks_leave_the_compiled_run_whole(tmp_path):
    quiet = [callbacks.EarlyStopping(), callbacks.ReduceLROnPlateau(), callbacks.ModelCheckpoint(tmp_path / "a.fastnn"),
             callbacks.BackupAndRestore(tmp_path), callbacks.CSVLogger(tmp_path / "a.csv"), callbacks.TensorBoard(),
             callbacks.LearningRateScheduler(abs), callbacks.TerminateOnNaN(), callbacks.LambdaCallback()]
    assert not any(callback.wants_batches for callback in quiet)
    assert callbacks.BackupAndRestore(tmp_path, save_freq=5).wants_batches
    assert callbacks.ModelCheckpoint(tmp_path / "a.fastnn", save_freq=5).wants_batches
    assert callbacks.TensorBoard(update_freq="batch").wants_batches


def recorder(hooks, calls):
    """A callback that keeps every call of these hooks."""
    return type("Recording", (Callback,), {
        hook: lambda self, *given, hook=hook: calls.append((hook, *given)) for hook in hooks})()


def test_evaluate_calls_hooks_for_batches_only_where_they_are_overridden():
    model, calls = small_model(metrics=()), []
    whole = model.evaluate(X, Y, batch_size=8, callbacks=[recorder(["on_test_begin", "on_test_end"], calls)])
    assert calls == [("on_test_begin", {}), ("on_test_end", {"loss": whole})]
    calls.clear()
    hooks = ["on_test_batch_begin", "on_test_batch_end"]
    assert model.evaluate(X, Y, batch_size=8, callbacks=[recorder(hooks, calls)]) == whole
    assert [call[:2] for call in calls] == [(hook, batch) for batch in range(3) for hook in hooks]
    assert calls[-1][2] == {"loss": whole} and calls[1][2] == {"loss": model.evaluate(X[:8], Y[:8], batch_size=8)}


def test_predict_calls_hooks_with_the_outputs_of_each_batch():
    model, calls = small_model(), []
    out = np.empty((22, 2), "float32")
    hooks = ["on_predict_begin", "on_predict_batch_begin", "on_predict_batch_end", "on_predict_end"]
    np.testing.assert_array_equal(
        model.predict(X, batch_size=20, callbacks=[recorder(hooks, calls)], out=out), model.predict(X))
    assert [call[0] for call in calls] == [hooks[0], hooks[1], hooks[2], hooks[1], hooks[2], hooks[3]]
    np.testing.assert_array_equal(calls[4][2]["outputs"], model.predict(X[20:]))
    np.testing.assert_array_equal(out, model.predict(X))
    np.testing.assert_array_equal(model.predict(X, callbacks=[Callback()]), model.predict(X))
    calls.clear()
    batches = (X[first:first + 11] for first in (0, 11))
    np.testing.assert_array_equal(model.predict(batches, callbacks=[recorder(hooks, calls)]), model.predict(X))
    assert [call[0] for call in calls] == [hooks[0], hooks[1], hooks[2], hooks[1], hooks[2], hooks[3]]
    assert model.predict(X[:0], callbacks=[Callback()]).shape == (0, 2)


# Callbacks that write files


def test_a_checkpoint_after_each_epoch(tmp_path, capsys):
    kept = Weights()
    path = tmp_path / "模型" / "{epoch:02d}-{val_loss:.2f}.fastnn"
    model, _ = trained(kept, callbacks.ModelCheckpoint(path, verbose=1), logs=losses_of(3, 1.256))
    assert sorted(os.listdir(tmp_path / "模型")) == ["01-3.00.fastnn", "02-1.26.fastnn"]
    for name, weights in zip(("01-3.00", "02-1.26"), kept.kept, strict=True):
        assert same(models.load_model(tmp_path / "模型" / f"{name}.fastnn").weights, weights)
    assert f"Epoch 2: saving model to {tmp_path}/模型/02-1.26.fastnn\n" in capsys.readouterr().out


@pytest.mark.parametrize(("options", "values", "best"), [
    ({}, [3, 2, 4, 1, 1], 3), ({"mode": "max"}, [3, 2, 4, 1], 2), ({"initial_value_threshold": 0.5}, [3, 2], None),
    ({"monitor": "val_accuracy"}, [0.1, 0.9, 0.5], 1), ({"save_weights_only": True}, [3, 2, 4], 1),
])
def test_only_the_best_is_kept(options, values, best, tmp_path):
    kept, path = Weights(), tmp_path / "best.fastnn"
    checkpoint = callbacks.ModelCheckpoint(path, save_best_only=True, **options)
    model, _ = trained(kept, checkpoint, logs=losses_of(*values, name=options.get("monitor", "val_loss")))
    assert path.exists() is (best is not None)
    if best is not None:
        model.load_weights(path)
        assert same(model.weights, kept.kept[best])


def test_a_checkpoint_each_few_batches_counts_on_over_epochs(tmp_path):
    model = small_model()
    model.fit(X, Y, batch_size=5, epochs=2, verbose=0,
              callbacks=[callbacks.ModelCheckpoint(tmp_path / "{epoch}-{batch}.fastnn", save_freq=3)])
    assert sorted(os.listdir(tmp_path)) == ["1-3.fastnn", "2-1.fastnn", "2-4.fastnn"]
    assert models.load_model(tmp_path / "2-4.fastnn").optimizer.iterations == 9


@pytest.mark.parametrize(("make", "exception", "message"), [
    (lambda: callbacks.ModelCheckpoint("a.txt"), ValueError, r"files of models end in .*\.fastnn.*received 'a\.txt'"),
    (lambda: callbacks.ModelCheckpoint("a.fastnn", save_freq=0), ValueError, "save_freq must be 'epoch' or a number"),
    (lambda: callbacks.ModelCheckpoint("a.fastnn", save_freq="batch"), ValueError, "Checkpoint: save_freq must"),
    (lambda: callbacks.BackupAndRestore(""), ValueError, "needs the name of a folder"),
    (lambda: callbacks.BackupAndRestore("a", save_freq=True), ValueError, "BackupAndRestore: save_freq must be"),
    (lambda: callbacks.EarlyStopping(patience="3"), TypeError, "EarlyStopping: patience must be an integer"),
    (lambda: callbacks.ReduceLROnPlateau(patience=-1), ValueError, "ReduceLROnPlateau: patience must be at least 0"),
    (lambda: callbacks.LearningRateScheduler(0.1), TypeError, "takes a function of the epoch, received 0.1."),
    (lambda: trained(callbacks.ModelCheckpoint("{val_acc}.fastnn"), logs=losses_of(1)), KeyError,
     "names 'val_acc', there are: epoch, val_loss"),
])
def test_callbacks_that_write_refuse(make, exception, message):
    with pytest.raises(exception, match=message):
        make()


class Crash(Callback):
    """Ends the process, as it were, after so many batches."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def on_train_batch_end(self, batch, logs=None):
        self.after -= 1
        if not self.after:
            raise KeyboardInterrupt


OPTIMIZERS = {"sgd": lambda: optimizers.SGD(0.1), "momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
              "rmsprop": lambda: optimizers.RMSprop(0.01), "adagrad": lambda: optimizers.Adagrad(0.1),
              "adam": lambda: optimizers.Adam(0.01, amsgrad=True),
              "nadam": lambda: optimizers.Nadam(0.01, clipnorm=0.1),
              "adamw": lambda: optimizers.AdamW(optimizers.schedules.PolynomialDecay(0.1, 10))}


def state(model):
    return [w.tobytes() for w in model.weights], [s.tobytes() for row in model.optimizer.slots for s in row], \
        model.optimizer.iterations, model._epochs, model._seed


@pytest.mark.parametrize("save_freq", ["epoch", 1, 2])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_backup_goes_on_to_the_same_bits_from_any_batch(optimizer, save_freq, tmp_path):
    """Interrupted after each batch of two epochs, the model made anew with another seed."""
    options = {"epochs": 3, "batch_size": 5, "verbose": 0, "validation_split": 0.2}
    twin = small_model(optimizer=OPTIMIZERS[optimizer]())
    history = twin.fit(X, Y, **options).history
    for after in range(1, 8):
        model = small_model(optimizer=OPTIMIZERS[optimizer]())
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y, **options, callbacks=[callbacks.BackupAndRestore(tmp_path / "b", save_freq), Crash(after)])
        again = small_model(optimizer=OPTIMIZERS[optimizer](), seed=7 if (tmp_path / "b").exists() else 1)
        rest = again.fit(X, Y, **options, callbacks=[callbacks.BackupAndRestore(tmp_path / "b", save_freq)])
        assert state(again) == state(twin)
        assert rest.history == {name: [values[epoch] for epoch in rest.epoch] for name, values in history.items()}
        assert not (tmp_path / "b").exists()


BACKED_UP = """
import sys
sys.path.insert(0, sys.argv[1])
from test_callbacks import *
model = small_model(optimizer="adam", seed=99 if len(sys.argv) < 4 else int(sys.argv[3]))
everyone = [callbacks.BackupAndRestore(sys.argv[2], 3)]
if len(sys.argv) > 3:
    class Die(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 8:
                os._exit(9)
    everyone.append(Die())
model.fit(X, Y, epochs=3, batch_size=5, verbose=0, callbacks=everyone)
model.save("model.fastnn")
"""


def test_a_backup_goes_on_in_a_new_process_of_another_seed(tmp_path):
    def run(*more):
        return subprocess.run([sys.executable, "-c", BACKED_UP, os.path.dirname(__file__), "backup", *more],
                              cwd=tmp_path, capture_output=True, text=True)

    assert run("1").returncode == 9
    last = run()
    assert last.returncode == 0, last.stderr
    twin = small_model(optimizer="adam", seed=1)
    twin.fit(X, Y, epochs=3, batch_size=5, verbose=0)
    assert state(models.load_model(tmp_path / "model.fastnn")) == state(twin)


def test_a_backup_of_any_model_and_of_no_other(tmp_path):
    class Own(optimizers.Optimizer):
        def update_step(self, gradient, weight, slots):
            weight -= self.learning_rate * gradient

    def make(units=2, metrics=()):
        utils.set_random_seed(0)
        model = models.Sequential([layers.Dense(units, input_shape=(3,)), layers.Lambda(np.tanh), layers.Dense(2)])
        model.compile(Own(0.1), "mse", metrics=list(metrics))
        return model

    def backup(**options):
        return callbacks.BackupAndRestore(tmp_path / "b", 1, **options)

    with pytest.raises(KeyboardInterrupt):
        make().fit(X, Y, batch_size=5, epochs=2, verbose=0, callbacks=[backup(), Crash(3)])
    with pytest.raises(ValueError, match="in a training of 5 batches an epoch"):
        make().fit(X, Y, batch_size=11, epochs=2, verbose=0, callbacks=[backup()])
    with pytest.raises(ValueError, match="reported 1 numbers; this one has 5 and 2"):
        make(metrics=["mae"]).fit(X, Y, batch_size=5, epochs=2, verbose=0, callbacks=[backup()])
    with pytest.raises(fastnn.FormatError, match="latest.fastnn cannot be loaded: it is of a model with other weights"):
        make(units=3).fit(X, Y, batch_size=5, epochs=2, verbose=0, callbacks=[backup()])
    model, twin = make(), make()
    model.fit(X, Y, batch_size=5, epochs=2, verbose=0, callbacks=[backup(delete_checkpoint=False)])
    twin.fit(X, Y, batch_size=5, epochs=2, verbose=0)
    assert same(model.weights, twin.weights) and (tmp_path / "b" / "latest.fastnn").exists()
    before = model.get_weights()
    # the last backup is of the last batch, before the end of its epoch
    assert model.fit(X, Y, batch_size=5, epochs=2, verbose=0, callbacks=[backup()]).epoch == [1]
    assert same(model.weights, before)


@pytest.mark.parametrize("metrics", [["accuracy"], ["auc", "precision", "mae"], ["r2_score", "f1_score"]])
@pytest.mark.parametrize("steps", [None, 3])
def test_a_backup_goes_on_with_metrics_that_count_and_epochs_of_some_steps(metrics, steps, tmp_path):
    options = {"epochs": 4, "batch_size": 4, "verbose": 0, "steps_per_epoch": steps}
    twin = small_model(metrics)
    history = twin.fit(X, Y, **options).history
    for after in range(2, 9):
        with pytest.raises(KeyboardInterrupt):
            small_model(metrics).fit(X, Y, **options, callbacks=[callbacks.BackupAndRestore(tmp_path, 1), Crash(after)])
        again = small_model(metrics, seed=5)
        rest = again.fit(X, Y, **options, callbacks=[callbacks.BackupAndRestore(tmp_path, 1)])
        assert state(again) == state(twin)
        for name, values in history.items():
            np.testing.assert_array_equal(rest.history[name], [values[epoch] for epoch in rest.epoch])


BATCHES = [(X[first:first + 5], Y[first:first + 5]) for first in range(0, 20, 5)]


class Indexed:
    def __len__(self):
        return len(BATCHES)

    def __getitem__(self, i):
        return BATCHES[i]


class Iterable:
    def __iter__(self):
        return iter(BATCHES)


# what gives the batches, steps_per_epoch
SOURCES = {
    "list": (lambda: BATCHES, None), "indexed": (Indexed, None), "iterable": (Iterable, None),
    "indexed in steps": (Indexed, 2), "iterable in steps": (Iterable, 2),
    "generator": (lambda: itertools.cycle([*BATCHES, *BATCHES[:3]]), 3),
}


@pytest.mark.parametrize("save_freq", ["epoch", 1])
@pytest.mark.parametrize("source", SOURCES)
def test_a_backup_goes_on_in_batches(source, save_freq, tmp_path):
    make, steps = SOURCES[source]
    twin = small_model()
    options = {"epochs": 4, "verbose": 0, "steps_per_epoch": steps}
    history = twin.fit(make(), **options).history
    for after in range(2, 8):
        with pytest.raises(KeyboardInterrupt):
            small_model().fit(make(), **options, callbacks=[callbacks.BackupAndRestore(tmp_path / "b", save_freq),
                                                            Crash(after)])
        again = small_model(seed=5 if (tmp_path / "b").exists() else 1)
        rest = again.fit(make(), **options, callbacks=[callbacks.BackupAndRestore(tmp_path / "b", save_freq)])
        assert state(again) == state(twin)
        assert rest.history["loss"] == [history["loss"][epoch] for epoch in rest.epoch]


def test_a_backup_leaves_others_files_alone(tmp_path):
    (tmp_path / "mine.txt").touch()
    small_model().fit(X, Y, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path)])
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_csv_logger(tmp_path):
    path = tmp_path / "紀錄.csv"
    trained(callbacks.CSVLogger(path), logs=[{"loss": 1.5, "acc": 0.5}, {"loss": 1.0, "val_loss": 2.0, "acc": 0.25}])
    assert path.read_bytes().decode() == "epoch,acc,loss,val_acc,val_loss\r\n0,0.5,1.5,NA,NA\r\n1,0.25,1.0,NA,2.0\r\n"
    trained(callbacks.CSVLogger(path, append=True), logs=[{"loss": 1.0, "acc": 0.5}])
    assert path.read_text().splitlines()[3:] == ["0,0.5,1.0,NA,NA"]
    trained(callbacks.CSVLogger(path, separator=";"), logs=[{"loss": 1.0, "val_loss": np.array([1, 2])}])
    assert path.read_text().splitlines() == ["epoch;loss;val_loss", '0;1.0;"""[1, 2]"""']


def test_a_metric_of_several_numbers_in_logs(tmp_path):
    """The line shows their mean, as Keras' does, and leaves a matrix out; callbacks that watch name it."""
    model = small_model(["f1_score", metrics.ConfusionMatrix(2)])
    history = model.fit(X, Y, verbose=0, callbacks=[callbacks.CSVLogger(tmp_path / "a.csv")]).history
    assert history["f1_score"][0].shape == (2,) and history["confusion_matrix"][0].shape == (2, 2)
    (row,) = csv.DictReader((tmp_path / "a.csv").read_text().splitlines())
    np.testing.assert_array_equal(json.loads(row["confusion_matrix"].strip('"')), history["confusion_matrix"][0])
    np.testing.assert_allclose(json.loads(row["f1_score"].strip('"')), history["f1_score"][0])
    for make in (lambda **words: callbacks.EarlyStopping(mode="max", **words), callbacks.ReduceLROnPlateau,
                 lambda **words: callbacks.ModelCheckpoint(tmp_path / "a.fastnn", save_best_only=True, **words)):
        with pytest.raises(ValueError, match=r"watches 'f1_score', which is an array of shape \(2,\). Watch a"):
            model.fit(X, Y, verbose=0, callbacks=[make(monitor="f1_score")])
    fields = ProgressBar()._fields(0.0, {"f1_score": np.array([0.5, 0.25]), "matrix": np.eye(2), "loss": 1.0})
    assert fields[1:] == ["f1_score: 0.3750", "loss: 1.0000"]


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboardX")
    events = importlib.import_module("tensorboardX.proto.event_pb2")
    model = small_model(["accuracy", "f1_score"])
    board = callbacks.TensorBoard(tmp_path, histogram_freq=1, update_freq=2, write_steps_per_second=True)
    model.fit(X, Y, epochs=2, batch_size=5, verbose=0, validation_split=0.2, callbacks=[board])
    tags = {run: [] for run in ("train", "validation")}
    for run in tags:
        (file,) = (tmp_path / run).iterdir()
        data = file.read_bytes()
        while data:                         # records of length, its check, the event, its check
            length = int.from_bytes(data[:8], "little")
            event = events.Event.FromString(data[12:12 + length])
            tags[run] += [(value.tag, event.step) for value in event.summary.value]
            data = data[16 + length:]
    train = dict.fromkeys(tag for tag, _ in tags["train"])
    assert {"epoch_loss", "epoch_accuracy", "epoch_learning_rate", "epoch_steps_per_second", "batch_loss",
            "epoch_f1_score/0", "epoch_f1_score/1", "batch_f1_score/1", "0.dense.weight/histogram"} <= set(train)
    assert "evaluation_f1_score/0_vs_iterations" not in train and "epoch_f1_score" not in train
    assert [step for tag, step in tags["train"] if tag == "batch_loss"] == [2, 4, 6, 8]
    assert [step for tag, step in tags["validation"] if tag == "epoch_loss"] == [0, 1]
    assert [step for tag, step in tags["validation"] if tag == "evaluation_loss_vs_iterations"] == [4, 8]


def test_tensorboard_needs_an_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r'needs tensorboardX. Install .* "fastnn-cpu\[tensorboard\]"'):
        small_model().fit(X, Y, verbose=0, callbacks=[callbacks.TensorBoard(tmp_path)])
