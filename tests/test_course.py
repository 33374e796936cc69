"""The chapter-2 script of the course, with nothing changed but the imports, on the sample and on the whole of MNIST."""

import hashlib

import numpy as np
import pytest

import fastnn
from fastnn import layers, models, utils
from fastnn.datasets import mnist

SCRIPT = """
from keras import layers, models
from keras.datasets import mnist
from keras.utils import to_categorical

(train_images, train_labels), (test_images, test_labels) = mnist.load_data()

network = models.Sequential()
network.add(layers.Dense(512, activation='relu', input_shape=(28 * 28,)))
network.add(layers.Dense(10, activation='softmax'))
network.compile(optimizer='rmsprop', loss='categorical_crossentropy', metrics=['accuracy'])

train_images = train_images.reshape((60000, 28 * 28))
train_images = train_images.astype('float32') / 255
test_images = test_images.reshape((10000, 28 * 28))
test_images = test_images.astype('float32') / 255
train_labels = to_categorical(train_labels)
test_labels = to_categorical(test_labels)

history = network.fit(train_images, train_labels, epochs=5, batch_size=128)
test_loss, test_acc = network.evaluate(test_images, test_labels)
"""
COURSE_LOSS = [0.2563, 0.1023, 0.0674, 0.0486, 0.0372]


def run(script):
    """What the script's names stand for at its end."""
    utils.set_random_seed(0)
    names = {}
    exec(script.replace("keras", "fastnn"), names)
    return names


def test_the_script_on_the_sample(monkeypatch, capsys):
    monkeypatch.setattr(mnist, "load_data", mnist.load_sample)
    names = run(SCRIPT.replace("60000", "4000").replace("10000", "1000"))
    history = names["history"].history
    assert list(history) == ["loss", "accuracy"] and names["history"].epoch == [0, 1, 2, 3, 4]
    assert all(after < before for before, after in zip(history["loss"], history["loss"][1:], strict=False))
    assert history["accuracy"][-1] > 0.9
    assert names["network"].optimizer.iterations == 5 * 32      # 4,000 / 128 = 31.25 steps an epoch
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in printed] == [f"Epoch {epoch}/5" for epoch in range(1, 6)]

    # what evaluate says is so, by NumPy in float64
    weight, bias, weight_1, bias_1 = (w.astype("float64") for w in names["network"].get_weights())
    logits = np.maximum(names["test_images"] @ weight + bias, 0) @ weight_1 + bias_1
    logits -= logits.max(1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    truth = names["test_labels"].argmax(1)
    assert names["test_acc"] == pytest.approx(np.mean(log_p.argmax(1) == truth), abs=0.001)
    assert names["test_loss"] == pytest.approx(-log_p[np.arange(1000), truth].mean(), rel=1e-5)


def test_the_script_on_the_whole_of_mnist(mnist_path, monkeypatch):
    monkeypatch.setenv("FASTNN_DATA", str(mnist_path.parent))
    names = run(SCRIPT)
    assert names["network"].optimizer.iterations == 2345        # the course's own count
    assert names["history"].history["loss"] == pytest.approx(COURSE_LOSS, rel=0.15)
    assert names["test_acc"] >= 0.972


def test_ten_epochs_on_the_sample():
    """Also: the network and the labels in the forms that need no reshaping, and the same bits on one thread."""
    (x, y), (x_test, y_test) = mnist.load_sample()
    digests = set()
    for threads in (1, 2):
        utils.set_random_seed(0)
        model = models.Sequential([layers.Flatten(), layers.Dense(512, "relu"), layers.Dense(10, "softmax")])
        model.compile("rmsprop", "sparse_categorical_crossentropy", metrics=["accuracy"])
        with fastnn.threads(threads):
            model.fit(x.astype("float32") / 255, y, epochs=10, batch_size=128, verbose=0)
        digests.add(hashlib.sha256(b"".join(w.tobytes() for w in model.weights)).hexdigest())
    assert model.evaluate(x_test.astype("float32") / 255, y_test)[1] >= 0.90
    assert len(digests) == 1
