"""fastnn.callbacks: which hooks are called, and what the progress bar leaves on a terminal, in a pipe, in a log."""

import io
import sys
import types

import numpy as np
import pytest

from fastnn import callbacks, layers, models
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
    monkeypatch.setattr(callbacks.progress, "sys", types.SimpleNamespace(stdout=stream))  # sys.stdout itself is pytest's
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
