"""The code of chapter 2: the script, with nothing changed but the imports, then every cell of sections 2.2 to 2.4."""

import hashlib

import numpy as np
import pytest

import fastnn
from fastnn import gradient, layers, models, naive, ops, utils
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


# 2.2  Tensors

CELLS = [
    # (a cell's array, its ndim, shape and how it is printed)
    (np.array(12), 0, (), "array(12)"),
    (np.array([12, 3, 6, 14, 7]), 1, (5,), "array([12,  3,  6, 14,  7])"),
    (np.array([[5, 78, 2, 34, 0], [6, 79, 3, 35, 1], [7, 80, 4, 36, 2]]), 2, (3, 5), None),
    (np.array([[[5, 78, 2, 34, 0], [6, 79, 3, 35, 1], [7, 80, 4, 36, 2]]] * 4), 3, (4, 3, 5), None),
]


@pytest.mark.parametrize("x, ndim, shape, printed", CELLS, ids=["scalar", "vector", "matrix", "3D tensor"])
def test_tensors(x, ndim, shape, printed):
    """A tensor is a NumPy array, which fastnn's operations take and give."""
    assert (x.ndim, x.shape) == (ndim, shape)
    assert printed is None or repr(x) == printed
    for out in (ops.relu(x.astype("float32")), ops.add(x.astype("float32"), x.astype("float32"))):
        assert (np.ndim(out), np.shape(out)) == (ndim, shape) and out.dtype == np.float32
    np.testing.assert_array_equal(ops.relu(x.astype("float64")), x)


def look_at(train_images, n):
    assert train_images.ndim == 3
    assert train_images.shape == (n, 28, 28)
    assert train_images.dtype == np.uint8 and str(train_images.dtype) == "uint8"


def test_the_attributes_of_mnist_on_the_sample():
    (train_images, train_labels), (test_images, test_labels) = mnist.load_sample()
    look_at(train_images, 4000)
    assert len(train_labels) == 4000 and train_labels.dtype == np.uint8
    assert test_images.shape == (1000, 28, 28) and len(test_labels) == 1000


def test_the_attributes_of_mnist(mnist_path, monkeypatch):
    monkeypatch.setenv("FASTNN_DATA", str(mnist_path.parent))
    (train_images, train_labels), (test_images, test_labels) = mnist.load_data()
    look_at(train_images, 60000)
    assert repr(train_labels) == "array([5, 0, 4, ..., 5, 6, 8], shape=(60000,), dtype=uint8)".replace(
        "" if np.lib.NumpyVersion(np.__version__) >= "2.2.0" else "shape=(60000,), ", "")
    assert (len(train_labels), test_images.shape, len(test_labels)) == (60000, (10000, 28, 28), 10000)
    np.testing.assert_array_equal(test_labels[[0, 1, 2, -3, -2, -1]], [7, 2, 1, 4, 5, 6])


def test_slices():
    (train_images, _), _ = mnist.load_sample()
    my_slice = train_images[10:100]
    assert my_slice.shape == (90, 28, 28)
    for same in (train_images[10:100, :, :], train_images[10:100, 0:28, 0:28]):
        assert same.shape == (90, 28, 28)
        np.testing.assert_array_equal(same, my_slice)
    assert train_images[:, 14:, 14:].shape == (4000, 14, 14)
    assert train_images[:, 7:-7, 7:-7].shape == (4000, 14, 14)


def test_batches():
    (train_images, _), _ = mnist.load_sample()
    assert train_images[:128].shape == train_images[128:256].shape == (128, 28, 28)
    batches = [train_images[128 * n:128 * (n + 1)] for n in range(32)]
    assert [len(batch) for batch in batches] == [128] * 31 + [32]
    np.testing.assert_array_equal(np.concatenate(batches), train_images)


# 2.3  Tensor operations

def reals(rows):
    return np.array(rows, "float64")


OPERATIONS = [
    # (the loop of the course, the compiled operation, NumPy's, operands, the result printed)
    (naive.naive_relu, "relu", lambda x: np.maximum(x, 0), ([[-1, -2], [3, -4]],), [[0, 0], [3, 0]]),
    (naive.naive_add, "add", np.add, ([[1, 2], [3, 4]], [[6, 7], [8, 9]]), [[7, 9], [11, 13]]),
    (naive.naive_multiply, "multiply", np.multiply, ([[1, 2], [3, 4]], [[6, 7], [8, 9]]), [[6, 14], [24, 36]]),
    (naive.naive_maximum, "maximum", np.maximum, ([[-1, -2], [3, -4]], [[0, 0], [0, 0]]), [[0, 0], [3, 0]]),
    (naive.naive_add_matrix_and_vector, "add", np.add, ([[1, 2], [3, 4]], [6, 7]), [[7, 9], [9, 11]]),
    (naive.naive_vector_dot, "dot", np.dot, ([1, 2], [5, 9]), 23),
    (naive.naive_matrix_vector_dot, "dot", np.dot, ([[1, 2], [3, 4]], [5, 9]), [23, 51]),
    (naive.naive_matrix_dot, "dot", np.dot, ([[1, 2, 3], [4, 5, 6]], [[1, 2], [3, 4], [5, 6]]), [[22, 28], [49, 64]]),
]


@pytest.mark.parametrize("loop, name, numpy, operands, printed", OPERATIONS, ids=lambda x: getattr(x, "__name__", ""))
def test_operations(loop, name, numpy, operands, printed):
    for function in (loop, numpy, getattr(ops, name)):
        np.testing.assert_array_equal(function(*map(reals, operands)), printed)


def test_operators():
    x, y, z = np.array([[1, 2], [3, 4]]), np.array([[6, 7], [8, 9]]), np.array([[-1, -2], [3, -4]])
    np.testing.assert_array_equal(x + y, [[7, 9], [11, 13]])
    np.testing.assert_array_equal(x * y, [[6, 14], [24, 36]])
    np.testing.assert_array_equal(np.maximum(z, 0.0), [[0, 0], [3, 0]])


def test_broadcasting():
    """y gains a first axis, which is repeated 32 times."""
    rng = np.random.default_rng(0)
    x, y = rng.random((32, 10)), rng.random((10,))
    spread = naive.naive_broadcast(y, 32)
    assert np.expand_dims(y, 0).shape == (1, 10) and spread.shape == (32, 10)
    for out in (ops.add(x, y), x + y, naive.naive_add_matrix_and_vector(x, y)):
        np.testing.assert_array_equal(out, naive.naive_add(x, spread))


def test_broadcasting_over_more_axes():
    rng = np.random.default_rng(0)
    x, y = rng.random((64, 3, 32, 10)), rng.random((32, 10))
    z = getattr(ops, "maximum", np.maximum)(x, y)
    assert z.shape == (64, 3, 32, 10)
    np.testing.assert_array_equal(z[5, 2], naive.naive_maximum(x[5, 2], y))


def test_a_dense_layer_is_relu_of_dot_plus_b():
    rng = np.random.default_rng(0)
    layer = layers.Dense(512, activation="relu")
    x = rng.random((3, 784), "float32")
    out = layer(x)
    np.testing.assert_allclose(ops.relu(ops.add(ops.dot(x, layer.weight), layer.bias)), out, rtol=1e-5, atol=1e-6)


def test_reshaping_and_transposition():
    (train_images, _), _ = mnist.load_sample()
    assert train_images.reshape((4000, 28 * 28)).shape == (4000, 784)
    x = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    assert x.shape == (3, 2)
    np.testing.assert_array_equal(x.reshape((6, 1)), naive.naive_reshape(x, 6, 1))
    np.testing.assert_array_equal(x.reshape((2, 3)), [[0, 1, 2], [3, 4, 5]])
    assert np.transpose(np.zeros((300, 20))).shape == (20, 300)
    np.testing.assert_array_equal(np.transpose(x)[0, :], x[:, 0])
    for name, argument in (("reshape", (2, 3)), ("transpose", None)):
        if hasattr(ops, name):
            ours = getattr(ops, name)(x, argument) if argument else getattr(ops, name)(x)
            np.testing.assert_array_equal(ours, x.reshape(2, 3) if argument else x.T)


# 2.4  Gradients

def test_the_derivative():
    """f(x + epsilon_x) = y + a * epsilon_x, and a step against the slope makes f smaller."""
    def f(x):
        return x ** 3 - 2 * x

    a, epsilon_x = gradient(f)(1.5), 1e-6
    assert a == 3 * 1.5 ** 2 - 2
    assert f(1.5 + epsilon_x) - f(1.5) == pytest.approx(a * epsilon_x, rel=1e-5)
    assert naive.naive_derivative(f, 1.5) == pytest.approx(a, rel=1e-5)
    assert f(1.5 - epsilon_x) < f(1.5) < f(1.5 + epsilon_x)


def test_one_step_against_the_gradient():
    rng = np.random.default_rng(0)
    W0, x, y, step = rng.random((2, 3)), np.array([1.0, 2.0, 3.0]), np.array([1.0, -1.0]), 0.01

    def loss(y_pred, y):
        return np.mean((y_pred - y) ** 2)

    def f(W):
        y_pred = np.dot(W, x)
        return loss(y_pred, y)

    W1 = W0 - step * gradient(f)(W0)
    assert f(W1) < f(W0) and W1.shape == W0.shape
    np.testing.assert_allclose(gradient(f)(W0), naive.naive_gradient(f, W0), rtol=1e-6)


def test_stochastic_gradient_descent():
    """Mini-batches, by the hand-written loop of the course, on the sample: relu(dot(x, W1) + b1), softmax."""
    (images, digits), (test_images, test_digits) = mnist.load_sample()
    x, y = images.reshape((4000, 784)).astype("float32") / 255, utils.to_categorical(digits)
    utils.set_random_seed(0)
    model = models.Sequential([layers.Dense(64, "relu", input_shape=(784,)), layers.Dense(10, "softmax")])
    parameters, step = model.get_weights(), np.float32(0.1)

    def predict(parameters, x):
        W1, b1, W2, b2 = parameters
        return ops.softmax(np.dot(ops.relu(np.dot(x, W1) + b1), W2) + b2)

    def loss(parameters, x, y):
        return -np.mean(np.sum(y * np.log(predict(parameters, x)), axis=1))

    model.compile("sgd", "categorical_crossentropy")
    model.optimizer.learning_rate = 0.1
    before = loss(parameters, x, y)
    for n in range(31):
        batch = slice(128 * n, 128 * (n + 1))
        slopes = gradient(loss)(parameters, x[batch], y[batch])
        parameters = [W - step * slope for W, slope in zip(parameters, slopes, strict=True)]
        model.train_on_batch(x[batch], y[batch])
    assert loss(parameters, x, y) < 0.5 * before
    for ours, trained in zip(parameters, model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, trained, rtol=1e-3, atol=1e-4)
    p = predict(parameters, test_images.reshape((1000, 784)).astype("float32") / 255)
    assert np.mean(p.argmax(1) == test_digits) > 0.75


def test_the_momentum_loop():
    """The loop as printed, on a valley that plain steps cross slowly."""
    def f(w):
        return np.sum(np.array([[1.0, 30.0]]) * w ** 2)

    w, past_velocity, momentum, learning_rate, steps = np.array([[3.0, 1.0]]), 0.0, 0.1, 0.01, 0
    twin, velocity_of_twin = w, np.zeros((1, 2))
    loss = f(w)
    while loss > 0.01:
        loss, slope = fastnn.value_and_gradient(f)(w)
        twin, velocity_of_twin = naive.naive_momentum(twin, velocity_of_twin, slope, learning_rate, momentum)
        velocity = past_velocity * momentum - learning_rate * slope
        w = w + momentum * velocity - learning_rate * slope
        past_velocity = velocity
        steps += 1
        assert steps < 1000
    assert f(w) <= 0.01
    np.testing.assert_allclose(twin, w, rtol=1e-12, atol=1e-12)


def test_the_chain_rule():
    """f(W1, W2, W3) = a(W1, b(W2, c(W3))): back propagation multiplies the slopes, from the last to the first."""
    def c(W3):
        return np.tanh(W3)

    def b(W2, x):
        return W2 * x ** 2

    def a(W1, x):
        return np.exp(W1 * x)

    W1, W2, W3 = 0.3, 0.7, 0.9
    slopes = gradient(lambda W1, W2, W3: a(W1, b(W2, c(W3))), argnums=(0, 1, 2))(W1, W2, W3)
    inner, middle = c(W3), b(W2, c(W3))
    at_middle, at_inner = gradient(a, 1)(W1, middle), gradient(b, 1)(W2, inner)
    assert slopes == pytest.approx((gradient(a)(W1, middle), at_middle * gradient(b)(W2, inner),
                                    at_middle * at_inner * gradient(c)(W3)), rel=1e-12)
