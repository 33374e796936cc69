"""The cases of `fastnn bench` and of `pytest benches/`: fastnn beside NumPy and the course's loops.

The NumPy code here is the competitor, not arithmetic of the library: written as a user of NumPy who cares about speed
writes it, with every result in an array that is there already.  SciPy is imported where its sparse rows are the case.
"""
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from . import _core, layers, models, naive, ops, optimizers, utils
from .datasets import mnist

SIDES = ("naive", "numpy", "fastnn")
ZERO = np.zeros((), "float32")      # as an array: np.maximum converts a Python 0 in every call, for 0.6 us
DIGITS = (784, 512, 10)         # units of the network on digits
LEARNING_RATE, RHO, EPSILON = (np.float32(number) for number in (1e-3, 0.9, 1e-7))
SGD_LEARNING_RATE = np.float32(0.01)


class Case(NamedTuple):
    """One row of the table.  sides: for each of SIDES that takes part, what prepares its data and returns the call.

    flop: twice the multiply-adds of a call that skips no zero; 0 where the case is not about them.
    """

    group: str
    size: str
    sides: Mapping[str, Callable[[], Callable[[], Any]]]
    flop: int = 0


class Group(NamedTuple):
    """Rows of one kind.  label and flop: from a size to Case's.  quick: how many of the sizes the quick run takes.

    sides: from a size to the call, by name.  one_thread: measured with one thread too, where there are several.
    """

    name: str
    label: Callable[..., str]
    sizes: list[tuple[int, ...]]
    sides: Mapping[str, Callable[..., Callable[[], Any]]]
    flop: Callable[..., int] = lambda *size: 0
    quick: int = 2
    one_thread: bool = False


# The single operations: the same arguments for each side; NumPy and fastnn get an array for the result.


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype="float32")


def arguments(shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    return [normal(*shape, seed=seed) for seed, shape in enumerate(shapes)]


def operation(shapes: Callable, **functions: Callable) -> dict[str, Callable]:
    """The sides of a function of arrays.  shapes: from a size to the shapes of the arguments."""

    def prepare(name: str, *size: int) -> Callable:
        x = arguments(shapes(*size))
        out = np.empty_like(functions["numpy"](*x))
        return partial(functions[name], *x, out=out) if name != "naive" and out.ndim else partial(functions[name], *x)

    return {name: partial(prepare, name) for name in functions}


# Dense with relu: x is (B, I), no zeros in it; weight is (I, O), bias is (O,); out and the targets y are (B, O).


def naive_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return naive.naive_relu(naive.naive_add_matrix_and_vector(naive.naive_matrix_dot(x, weight), bias))


def product(a: Any, b: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """a . b in out; of a sparse a, in a new array."""
    return np.dot(a, b, out=out) if isinstance(a, np.ndarray) else a @ b


def numpy_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    out = product(x, weight, out)
    out += bias
    return np.maximum(out, ZERO, out=out)


def fastnn_dense(b: int, i: int, o: int) -> Callable:
    x, *weights = arguments([(b, i), (i, o), (o,)])
    model = models.Sequential([layers.Dense(o, activation="relu", input_shape=(i,))])
    model.set_weights(weights)
    return partial(model.predict, x, out=np.empty((b, o), "float32"))


def numpy_dense_backward(b: int, i: int, o: int) -> Callable:
    x, weight, bias, y = arguments([(b, i), (i, o), (o,), (b, o)])
    out, dout, dx, dweight, dbias = (np.empty(shape, "float32") for shape in [(b, o), (b, o), (b, i), (i, o), (o,)])
    active, scale = np.empty((b, o), bool), np.float32(2 / (b * o))

    def forward_backward() -> list[np.ndarray]:
        numpy_forward(x, weight, bias, out)
        np.subtract(out, y, out=dout)
        np.multiply(dout, scale, out=dout)
        np.multiply(dout, np.greater(out, ZERO, out=active), out=dout)
        np.dot(dout, weight.T, out=dx)
        return [np.dot(x.T, dout, out=dweight), dout.sum(0, out=dbias)]

    return forward_backward


class KeepGradients(optimizers.Optimizer):
    """Changes no weight, so that a step is forward and backward alone."""

    def apply(self, gradients: list[np.ndarray], weights: list[np.ndarray]) -> None:
        self.gradients = gradients


def fastnn_dense_backward(b: int, i: int, o: int) -> Callable:
    x, weight, bias, y = arguments([(b, i), (i, o), (o,), (b, o)])
    optimizer = KeepGradients(learning_rate=0.0)
    # A model's first layer computes no dx: the activation before this Dense makes it a second one.
    model = models.Sequential([layers.Activation("linear", input_shape=(i,)), layers.Dense(o, activation="relu")])
    model.compile(optimizer, loss="mse")
    model.set_weights([weight, bias])

    def forward_backward() -> list[np.ndarray]:
        model.train_on_batch(x, y)
        return optimizer.gradients

    return forward_backward


# The course's network 784-512-10 on real digits.


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """10,000 images as float32 rows (the package's 5,000, twice) and their labels as one-hot float32 rows."""
    pairs = mnist.load_sample() * 2
    x = np.concatenate([images.reshape(-1, 784) for images, _ in pairs]).astype("float32") / 255
    return x, utils.to_categorical(np.concatenate([labels for _, labels in pairs]), DIGITS[-1]).astype("float32")


def network_weights(*units: int) -> list[np.ndarray]:
    """weight (I, O) and bias (O,) of each layer of the network units[0]-units[1]-..."""
    found = []
    for seed, (i, o) in enumerate(itertools.pairwise(units)):
        found += [normal(i, o, seed=seed) / np.float32(i**0.5), np.zeros(o, "float32")]
    return found


def training_flop(n: int, *units: int) -> int:
    """Twice the multiply-adds of training on n rows once, no zero skipped: forward and the weights' gradients of every
    layer, and dx of all but the first."""
    products = [i * o for i, o in itertools.pairwise(units)]
    return 2 * n * (3 * sum(products) - products[0])


class NumpyNetwork:
    """Dense layers with relu, softmax after the last, and an optimizer as Keras writes it, for batches of B rows."""

    def __init__(self, b: int, units: tuple[int, ...] = DIGITS, optimizer: str = "rmsprop") -> None:
        self.weights = network_weights(*units)
        self.gradients = [np.empty_like(w) for w in self.weights]
        self.outs = [np.empty((b, o), "float32") for o in units[1:]]
        self.douts = [np.empty_like(out) for out in self.outs[:-1]] + self.outs[-1:]    # softmax: dout in its place
        self.active = [np.empty(out.shape, bool) for out in self.outs[:-1]]
        self.share = np.float32(1 / b)
        self.update = {"rmsprop": self.rmsprop, "sgd": self.sgd}[optimizer]
        if optimizer == "rmsprop":
            self.mean_squares = [np.zeros_like(w) for w in self.weights]
            self.steps = [np.empty_like(w) for w in self.weights]

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The probabilities (B, O) of x (B, I)."""
        out = self.outs[-1]
        for layer, place in enumerate(self.outs[:-1]):
            x = self.outs[layer] = numpy_forward(x, self.weights[2 * layer], self.weights[2 * layer + 1], place)
        np.dot(x, self.weights[-2], out=out)
        out += self.weights[-1]
        out -= out.max(1, keepdims=True)
        np.exp(out, out=out)
        out /= out.sum(1, keepdims=True)
        return out

    def backward(self, x: np.ndarray, y: np.ndarray) -> None:
        dout = self.douts[-1]
        dout -= y
        dout *= self.share
        for layer in reversed(range(len(self.outs))):
            below = self.outs[layer - 1] if layer else x
            self.gradients[2 * layer] = product(below.T, dout, self.gradients[2 * layer])
            dout.sum(0, out=self.gradients[2 * layer + 1])
            if layer:
                dout = np.dot(dout, self.weights[2 * layer].T, out=self.douts[layer - 1])
                dout *= np.greater(below, ZERO, out=self.active[layer - 1])

    def step(self, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """One step of the optimizer; returns the weights."""
        self.forward(x)
        self.backward(x, y)
        self.update()
        return self.weights

    def sgd(self) -> None:
        for weight, gradient in zip(self.weights, self.gradients, strict=True):
            gradient *= SGD_LEARNING_RATE
            weight -= gradient

    def rmsprop(self) -> None:
        for weight, gradient, mean_square, step in zip(
                self.weights, self.gradients, self.mean_squares, self.steps, strict=True):
            mean_square *= RHO
            np.multiply(gradient, gradient, out=step)
            step *= 1 - RHO
            mean_square += step
            np.add(mean_square, EPSILON, out=step)
            np.sqrt(step, out=step)
            np.divide(gradient, step, out=step)
            step *= LEARNING_RATE
            weight -= step


def fastnn_network(units: tuple[int, ...] = DIGITS, optimizer: str = "rmsprop") -> models.Sequential:
    activations = ["relu"] * (len(units) - 2) + ["softmax"]
    model = models.Sequential([layers.Input(units[:1]), *map(layers.Dense, units[1:], activations)])
    model.compile(optimizer=optimizer, loss="categorical_crossentropy")
    model.set_weights(network_weights(*units))
    return model


# An epoch: shuffled batches of B rows, gathered from the n rows of x.


def numpy_epoch(x: Any, y: np.ndarray, b: int, units: tuple[int, ...]) -> Callable:
    """A call that trains for one more epoch, in the order in which the first model after seed 0 takes the rows."""
    utils.set_random_seed(0)
    seed, epochs, network = utils.next_model_seed(), itertools.count(), NumpyNetwork(b, units)
    rows, targets = (np.empty((b, array.shape[1]), "float32") for array in (x[:1], y))

    def gather(i: np.ndarray) -> Any:
        return np.take(x, i, 0, rows, "clip") if isinstance(x, np.ndarray) else x[i]    # clip: writes rows directly

    def epoch() -> list[np.ndarray]:
        order = _core.permutation(x.shape[0], seed, next(epochs))
        for first in range(0, len(order), b):
            i = order[first:first + b]
            network.step(gather(i), np.take(y, i, 0, targets, "clip"))
        return network.weights

    return epoch


def fastnn_epoch(x: Any, y: np.ndarray, b: int, units: tuple[int, ...]) -> Callable:
    utils.set_random_seed(0)
    model = fastnn_network(units)

    def epoch() -> list[np.ndarray]:
        model.fit(x, y, batch_size=b, verbose=0)
        return model.weights

    return epoch


def some_digits(n: int, b: int) -> tuple[np.ndarray, np.ndarray]:
    """As many of n digits as fill batches of b."""
    x, y = digits()
    return x[:n // b * b], y[:n // b * b]


@cache
def words(n: int, vocabulary: int, classes: int) -> tuple[Any, np.ndarray]:
    """n rows of SciPy's CSR, one entry of each 200 being 1, and their one-hot classes."""
    from scipy import sparse

    rng, entries = np.random.default_rng(0), vocabulary // 200
    index = (rng.integers(0, 200, (n, entries)) + 200 * np.arange(entries)).ravel()
    x = sparse.csr_array((np.ones(index.size, "float32"), index, np.arange(n + 1) * entries), (n, vocabulary))
    return x, np.eye(classes, dtype="float32")[rng.integers(0, classes, n)]


def epoch_of_digits(side: Callable) -> Callable:
    return lambda n, b: side(*some_digits(n, b), b, DIGITS)


def epoch_of_words(side: Callable) -> Callable:
    return lambda n, b, *units: side(*words(n // b * b, units[0], units[-1]), b, units)


# One step at a time, on random normal data, which has no zeros to skip.


def over_batches(step: Callable, b: int, x: np.ndarray, y: np.ndarray) -> Callable:
    """A call that takes the step on the next B rows; they lie together, so that neither side gathers anything."""
    batches = itertools.cycle([(x[i:i + b], y[i:i + b]) for i in range(0, len(x) - b + 1, b)])
    return lambda: step(*next(batches))


def fastnn_step(units: tuple[int, ...], optimizer: str) -> Callable:
    model = fastnn_network(units, optimizer)

    def step(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        model.train_on_batch(x, y)
        return model.weights

    return step


@cache
def normal_data(b: int, i: int, o: int) -> tuple[np.ndarray, np.ndarray]:
    """Four batches of x (B, I), and one-hot y (B, O)."""
    return normal(4 * b, i), np.eye(o, dtype="float32")[np.arange(4 * b) % o]


def on_normal_data(optimizer: str) -> dict[str, Callable]:
    """The sides of a training step, from B and the units."""

    def numpy_side(b: int, *units: int) -> Callable:
        return over_batches(NumpyNetwork(b, units, optimizer).step, b, *normal_data(b, units[0], units[-1]))

    def fastnn_side(b: int, *units: int) -> Callable:
        return over_batches(fastnn_step(units, optimizer), b, *normal_data(b, units[0], units[-1]))

    return {"numpy": numpy_side, "fastnn": fastnn_side}


# The table; the loops in Python run at the first size of a group.


def batch_of(b: int, *units: int) -> str:
    return f"batch {b}, " + "-".join(f"{o:,}" if o >= 10_000 else str(o) for o in units)


def product_flop(m: int, k: int, n: int) -> int:
    return 2 * m * k * n


def prediction_flop(n: int) -> int:
    return sum(product_flop(n, i, o) for i, o in itertools.pairwise(DIGITS))


PRODUCT = "({0:,}, {1:,}) . ({1:,}, {2:,})".format
TABLE = [
    Group("relu", "({:,}, {:,})".format, [(16, 16), (128, 512), (2000, 2000)],
          operation(lambda m, n: [(m, n)], naive=naive.naive_relu, numpy=partial(np.maximum, ZERO), fastnn=ops.relu)),
    Group("add", "({:,}, {:,})".format, [(16, 16), (128, 512), (2000, 2000)],
          operation(lambda m, n: [(m, n), (m, n)], naive=naive.naive_add, numpy=np.add, fastnn=ops.add)),
    Group("broadcast add", "({0:,}, {1:,}) + ({1:,})".format, [(16, 16), (128, 512), (2000, 2000)],
          operation(lambda m, n: [(m, n), (n,)], naive=naive.naive_add_matrix_and_vector, numpy=np.add,
                    fastnn=ops.add)),
    Group("vector dot", "({0:,}) . ({0:,})".format, [(256,), (10_000,), (1_000_000,)],
          operation(lambda n: [(n,), (n,)], naive=naive.naive_vector_dot, numpy=np.dot, fastnn=ops.dot)),
    Group("matrix-vector", "({0:,}, {1:,}) . ({1:,})".format, [(16, 16), (512, 784), (2000, 2000)],
          operation(lambda m, k: [(m, k), (k,)], naive=naive.naive_matrix_vector_dot, numpy=np.dot, fastnn=ops.dot)),
    Group("matrix-matrix", PRODUCT, [(16, 16, 16), (128, 784, 512), (512, 512, 512), (1024, 1024, 1024)],
          operation(lambda m, k, n: [(m, k), (k, n)], naive=naive.naive_matrix_dot, numpy=np.dot, fastnn=ops.matmul),
          product_flop),
    Group("Dense forward", PRODUCT, [(16, 16, 16), (128, 784, 512), (1024, 784, 512)],
          operation(lambda b, i, o: [(b, i), (i, o), (o,)], naive=naive_forward, numpy=numpy_forward)
          | {"fastnn": fastnn_dense}, product_flop),
    Group("Dense forward + backward", PRODUCT, [(16, 16, 16), (128, 784, 512), (1024, 784, 512)],
          {"numpy": numpy_dense_backward, "fastnn": fastnn_dense_backward}, lambda *size: 3 * product_flop(*size)),
    Group("epoch of digits", "{:,} of them, batch {}".format, [(10_000, 32), (10_000, 128), (10_000, 512)],
          {"numpy": epoch_of_digits(numpy_epoch), "fastnn": epoch_of_digits(fastnn_epoch)},
          lambda n, b: training_flop(n // b * b, *DIGITS), one_thread=True),
    Group("step on normal data", batch_of, [(128, 784, 512, 10), (128, 784, 1024, 1024, 10)],
          on_normal_data("rmsprop"), training_flop),
    Group("SGD step on normal data", batch_of, [(256, 4096, 4096, 4096)], on_normal_data("sgd"), training_flop, 0),
    Group("epoch of sparse rows", lambda n, *size: batch_of(*size), [(10_000, 128, 20_000, 64, 2)],
          {"numpy": epoch_of_words(numpy_epoch), "fastnn": epoch_of_words(fastnn_epoch)}),
    Group("prediction", "{:,} x 784".format, [(1,), (10_000,)],
          {"numpy": lambda n: partial(NumpyNetwork(n).forward, digits()[0][:n]),
           "fastnn": lambda n: partial(fastnn_network().predict, digits()[0][:n])}, prediction_flop),
]


def case(group: Group, number: int) -> Case:
    size = group.sizes[number]
    makers = {name: partial(make, *size) for name, make in group.sides.items() if name != "naive" or number == 0}
    return Case(group.name, group.label(*size), makers, group.flop(*size))


def cases(quick: bool = False, groups: Sequence[str] = ()) -> list[Case]:
    """The rows of the table, or those of some groups."""
    return [case(group, number) for group in TABLE if not groups or group.name in groups
            for number in range(len(group.sizes)) if not quick or number < group.quick]
