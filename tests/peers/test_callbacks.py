"""Callbacks beside Keras' own: the same epochs are stopped at, restored, saved and slowed down."""

import csv
import os
import random

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from fastnn import callbacks, layers, models, optimizers  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")    # Keras' own
MONITORS = {"val_loss": "min", "accuracy": "max"}


def of_fastnn(rate):
    model = models.Sequential([layers.Dense(2, input_shape=(1,), use_bias=False)])
    model.compile(optimizers.SGD(rate), "mse", metrics=["accuracy"])
    return callbacks, model


def of_keras(rate):
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(2, use_bias=False)])
    model.compile(keras.optimizers.SGD(rate), "mse", metrics=["accuracy"])
    model.fit(np.ones((1, 1)), np.ones((1, 2)), verbose=0)      # builds the metrics, of which Keras asks the direction
    return keras.callbacks, model


KERAS = of_keras(1.0)


def run(kind, options, monitor, values, peer):
    """What a callback does to epochs that report `values`: the last epoch, the weights, the learning rates."""
    module, model = KERAS if peer else of_fastnn(1.0)
    model.optimizer.learning_rate = 1.0
    callback = getattr(module, kind)(monitor=monitor, **options)
    callback.set_model(model)
    model.stop_training, rates = False, []
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        callback.on_epoch_begin(epoch)
        model.set_weights([np.full((1, 2), epoch, "float32")])
        logs = {"loss": 1.0, monitor: value}
        callback.on_epoch_end(epoch, logs)
        rates.append(float(np.asarray(model.optimizer.learning_rate)))
        if model.stop_training:
            break
    callback.on_train_end()
    return epoch, float(np.asarray(model.get_weights()[0])[0, 0]), rates, callback


def sequences(n=60, seed=0):
    rng = random.Random(seed)
    for _ in range(n):
        monitor = rng.choice(sorted(MONITORS))
        yield rng, monitor, [rng.choice([0.0, 0.25, 0.5, 0.625, 0.75, 1.0, 2.0]) for _ in range(rng.randrange(1, 14))]


@pytest.mark.parametrize("restore", [False, True])
def test_early_stopping(restore):
    for rng, monitor, values in sequences(200):
        options = {"patience": rng.randrange(4), "restore_best_weights": restore,
                   "mode": rng.choice(["auto", MONITORS[monitor]]), "min_delta": rng.choice([0, 0.125, 0.5]),
                   "baseline": rng.choice([None, None, 0.5, 1.0]), "start_from_epoch": rng.choice([0, 0, 1, 3])}
        mine, theirs = (run("EarlyStopping", options, monitor, values, peer) for peer in (False, True))
        assert mine[:3] == theirs[:3], (options, monitor, values)
        for name in ("stopped_epoch", "best_epoch", "wait"):
            assert getattr(mine[3], name) == getattr(theirs[3], name), (name, options, monitor, values)


def test_reduce_lr_on_plateau():
    for rng, monitor, values in sequences(100):
        options = {"patience": rng.randrange(1, 4), "factor": rng.choice([0.5, 0.25]), "cooldown": rng.randrange(4),
                   "min_delta": rng.choice([0, 1e-4, 0.5]), "min_lr": rng.choice([0, 0.125]),
                   "mode": rng.choice(["auto", MONITORS[monitor]])}
        mine, theirs = (run("ReduceLROnPlateau", options, monitor, values, peer) for peer in (False, True))
        assert mine[2] == theirs[2], (options, monitor, values)     # powers of two, so exact in Keras' float32 too


def test_model_checkpoint(tmp_path):
    for i, (rng, monitor, values) in enumerate(sequences(20)):
        options = {"save_best_only": rng.random() < 0.7, "initial_value_threshold": rng.choice([None, 0.5])}
        saved = []
        for peer, suffix in ((False, ".fastnn"), (True, ".keras")):
            folder = tmp_path / f"{i}{suffix}"
            options["filepath"] = str(folder / ("{epoch:03d}" + suffix))
            run("ModelCheckpoint", options, monitor, values, peer)
            saved.append([name.split(".")[0] for name in sorted(os.listdir(folder))] if folder.exists() else [])
        assert saved[0] == saved[1], (options, monitor, values)


def test_batches_at_which_checkpoints_are_saved(tmp_path):
    for save_freq in (1, 2, 3, 5, 7):
        saved = []
        for peer, suffix in ((False, ".fastnn"), (True, ".keras")):
            module, model = KERAS if peer else of_fastnn(1.0)
            folder = tmp_path / f"{save_freq}{suffix}"
            callback = module.ModelCheckpoint(str(folder / ("{epoch}-{batch}" + suffix)), save_freq=save_freq)
            model.fit(np.ones((5, 1)), np.ones((5, 2)), batch_size=1, epochs=3, verbose=0, callbacks=[callback])
            saved.append([name.split(".")[0] for name in sorted(os.listdir(folder))])
        assert saved[0] == saved[1]


def test_learning_rate_scheduler():
    for schedule in (lambda epoch, rate: rate / 2, lambda epoch: 0.5 ** epoch):
        histories = []
        for module, model in (KERAS, of_fastnn(1.0)):
            model.optimizer.learning_rate = 1.0
            histories.append(model.fit(np.ones((2, 1)), np.ones((2, 2)), epochs=4, verbose=0, callbacks=[
                module.LearningRateScheduler(schedule)]).history["learning_rate"])
        assert histories[0] == histories[1]


@pytest.mark.parametrize("validated", [False, True])
def test_csv_logger(validated, tmp_path):
    rows = []
    for name, (module, model) in {"keras": KERAS, "fastnn": of_fastnn(0.0)}.items():
        logger = module.CSVLogger(str(tmp_path / name))
        model.fit(np.ones((4, 1)), np.ones((4, 2)), epochs=2, verbose=0, callbacks=[logger],
                  validation_split=0.5 if validated else 0.0)
        with open(tmp_path / name, newline="") as file:
            rows.append(list(csv.reader(file)))
    assert rows[0][0] == rows[1][0] and [row[0] for row in rows[0]] == [row[0] for row in rows[1]]
    assert [["NA" == cell for cell in row] for row in rows[0]] == [["NA" == cell for cell in row] for row in rows[1]]


def test_every_hook_comes_in_the_same_order():
    hooks = [name for name in dir(callbacks.Callback) if name.startswith("on_")]
    seen = {}
    for name, (module, model) in {"keras": KERAS, "fastnn": of_fastnn(0.1)}.items():
        calls = seen[name] = []

        def make(hook, calls=calls):
            def called(self, *given, logs=None):
                calls.append((hook, [value for value in given if isinstance(value, int)]))
            return called

        watcher = type("Watcher", (module.Callback,), {hook: make(hook) for hook in hooks})
        x, y = np.ones((5, 1), "float32"), np.ones((5, 2), "float32")
        model.fit(x, y, batch_size=2, epochs=2, validation_data=(x, y), verbose=0, callbacks=[watcher()])
        model.evaluate(x, y, batch_size=2, verbose=0, callbacks=[watcher()])
        model.predict(x, batch_size=2, verbose=0, callbacks=[watcher()])
    assert seen["keras"] == seen["fastnn"]
