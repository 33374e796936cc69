"""fastnn beside NumPy and the course's loops: one table of cases, measured by `fastnn bench` and by `pytest benches/`.

The NumPy code here is the competitor, not arithmetic of the library: written as a user of NumPy who cares about speed
writes it, with every result in an array that is there already.  Nothing imports this module but the two commands.
"""
import contextlib
import itertools
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

import fastnn

from . import _core, layers, models, naive, ops, optimizers, utils
from .datasets import mnist

SIDES = ("naive", "numpy", "fastnn")
ZERO = np.zeros((), "float32")      # as an array: np.maximum converts a Python 0 in every call, for 0.6 us
DIGITS = (784, 512, 10)         # units of the network on digits
LEARNING_RATE, RHO, EPSILON = (np.float32(number) for number in (1e-3, 0.9, 1e-7))

SETTLE = 0.1        # seconds for the other side's threads to fall asleep: OpenBLAS' spin for 26 ms and more
WARM_UP = 0.03      # seconds in which a side's own threads and caches settle
STRETCH = 0.01      # seconds of calls that are timed together
BUDGET = {"quick": 0.3, "full": 3.0}    # seconds for each case
LEAST_ROUNDS = 3
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NPY_DISABLE_CPU_FEATURES")
THREADS = ("FASTNN_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
           "VECLIB_MAXIMUM_THREADS")


class Case(NamedTuple):
    """One row of the table.  sides: for each of SIDES that takes part, what prepares its data and returns the call."""

    group: str
    size: str
    sides: Mapping[str, Callable[[], Callable[[], Any]]]


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


def numpy_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    out = np.dot(x, weight, out=out)
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
    """Dense layers with relu, softmax after the last, and RMSprop as Keras writes it, for batches of B rows."""

    def __init__(self, b: int, units: tuple[int, ...] = DIGITS) -> None:
        self.weights = network_weights(*units)
        self.gradients = [np.empty_like(w) for w in self.weights]
        self.mean_squares = [np.zeros_like(w) for w in self.weights]
        self.steps = [np.empty_like(w) for w in self.weights]
        self.outs = [np.empty((b, o), "float32") for o in units[1:]]
        self.douts = [np.empty_like(out) for out in self.outs[:-1]] + self.outs[-1:]    # softmax: dout in its place
        self.active = [np.empty(out.shape, bool) for out in self.outs[:-1]]
        self.share = np.float32(1 / b)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The probabilities (B, O) of x (B, I)."""
        *hidden, out = self.outs
        for weight, bias, place in zip(self.weights[:-2:2], self.weights[1:-2:2], hidden, strict=True):
            x = numpy_forward(x, weight, bias, place)
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
            np.dot(below.T, dout, out=self.gradients[2 * layer])
            dout.sum(0, out=self.gradients[2 * layer + 1])
            if layer:
                dout = np.dot(dout, self.weights[2 * layer].T, out=self.douts[layer - 1])
                dout *= np.greater(below, ZERO, out=self.active[layer - 1])

    def step(self, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """One step of RMSprop; returns the weights."""
        self.forward(x)
        self.backward(x, y)
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
        return self.weights


def fastnn_network(units: tuple[int, ...] = DIGITS) -> models.Sequential:
    activations = ["relu"] * (len(units) - 2) + ["softmax"]
    model = models.Sequential([layers.Input(units[:1]), *map(layers.Dense, units[1:], activations)])
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy")
    model.set_weights(network_weights(*units))
    return model


def over_batches(step: Callable, b: int, x: np.ndarray, y: np.ndarray) -> Callable:
    """A call that takes the step on the next B rows; they lie together, so that neither side gathers anything."""
    batches = itertools.cycle([(x[i:i + b], y[i:i + b]) for i in range(0, len(x) - b + 1, b)])
    return lambda: step(*next(batches))


def fastnn_step(units: tuple[int, ...] = DIGITS) -> Callable:
    model = fastnn_network(units)

    def step(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        model.train_on_batch(x, y)
        return model.weights

    return step


# Networks on random normal data, which has no zeros to skip.


@cache
def normal_data(b: int, i: int, o: int) -> tuple[np.ndarray, np.ndarray]:
    """Four batches of x (B, I), and one-hot y (B, O)."""
    return normal(4 * b, i), utils.to_categorical(np.arange(4 * b) % o, o).astype("float32")


def training(step: Callable) -> Callable:
    """Prepares the training step of a network of those units.  step: from B and the units to a call on (x, y)."""
    return lambda b, *units: over_batches(step(b, units), b, *normal_data(b, units[0], units[-1]))


ON_NORMAL_DATA = {"numpy": training(lambda b, units: NumpyNetwork(b, units).step),
                  "fastnn": training(lambda b, units: fastnn_step(units))}

# The table.  The quick run takes the first two sizes of a group; the loops in Python run at the first one.

PRODUCT = "({0:,}, {1:,}) . ({1:,}, {2:,})"
TABLE: list[tuple[str, str, list[tuple[int, ...]], dict[str, Callable]]] = [
    ("relu", "({:,}, {:,})", [(16, 16), (128, 512), (2000, 2000)],
     operation(lambda m, n: [(m, n)], naive=naive.naive_relu, numpy=partial(np.maximum, ZERO), fastnn=ops.relu)),
    ("add", "({:,}, {:,})", [(16, 16), (128, 512), (2000, 2000)],
     operation(lambda m, n: [(m, n), (m, n)], naive=naive.naive_add, numpy=np.add, fastnn=ops.add)),
    ("broadcast add", "({0:,}, {1:,}) + ({1:,})", [(16, 16), (128, 512), (2000, 2000)],
     operation(lambda m, n: [(m, n), (n,)], naive=naive.naive_add_matrix_and_vector, numpy=np.add, fastnn=ops.add)),
    ("vector dot", "({0:,}) . ({0:,})", [(256,), (10_000,), (1_000_000,)],
     operation(lambda n: [(n,), (n,)], naive=naive.naive_vector_dot, numpy=np.dot, fastnn=ops.dot)),
    ("matrix-vector", "({0:,}, {1:,}) . ({1:,})", [(16, 16), (512, 784), (2000, 2000)],
     operation(lambda m, k: [(m, k), (k,)], naive=naive.naive_matrix_vector_dot, numpy=np.dot, fastnn=ops.dot)),
    ("matrix-matrix", PRODUCT, [(16, 16, 16), (128, 784, 512), (512, 512, 512), (1024, 1024, 1024)],
     operation(lambda m, k, n: [(m, k), (k, n)], naive=naive.naive_matrix_dot, numpy=np.dot, fastnn=ops.matmul)),
    ("Dense forward", PRODUCT, [(16, 16, 16), (128, 784, 512), (1024, 784, 512)],
     operation(lambda b, i, o: [(b, i), (i, o), (o,)], naive=naive_forward, numpy=numpy_forward)
     | {"fastnn": fastnn_dense}),
    ("Dense forward + backward", PRODUCT, [(16, 16, 16), (128, 784, 512), (1024, 784, 512)],
     {"numpy": numpy_dense_backward, "fastnn": fastnn_dense_backward}),
    ("training step", "batch {:,}", [(32,), (128,), (512,)],
     {"numpy": lambda b: over_batches(NumpyNetwork(b).step, b, *digits()),
      "fastnn": lambda b: over_batches(fastnn_step(), b, *digits())}),
    ("step on normal data", "batch {}, {}-{}-{}", [(128, 784, 512, 10)], ON_NORMAL_DATA),
    ("step on normal data", "batch {}, {}-{}-{}-{}", [(128, 784, 1024, 1024, 10)], ON_NORMAL_DATA),
    ("prediction", "{:,} x 784", [(1,), (10_000,)],
     {"numpy": lambda n: partial(NumpyNetwork(n).forward, digits()[0][:n]),
      "fastnn": lambda n: partial(fastnn_network().predict, digits()[0][:n])}),
]


def cases(quick: bool = False) -> list[Case]:
    """The rows of the table."""
    found = []
    for group, label, sizes, sides in TABLE:
        for number, size in enumerate(sizes[:2] if quick else sizes):
            makers = {name: partial(make, *size) for name, make in sides.items() if name != "naive" or number == 0}
            found.append(Case(group, label.format(*size), makers))
    return found


# Measuring


def fair_environment() -> dict[str, str]:
    """The environment in which NumPy may use as many threads as fastnn does now, and nothing slows it.

    NumPy reads it when it is imported: it has to be there when a process begins.
    """
    fair = {name: value for name, value in os.environ.items() if name not in SLOWING}
    return fair | dict.fromkeys(THREADS, str(_core.get_threads()))


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, cores, threads, instruction set, versions."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:    # on Linux
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[index]
    return {"cpu": model, "cores": os.cpu_count(), "threads": _core.get_threads(), "isa": _core.get_isa(),
            "fastnn": fastnn.__version__, "numpy": np.__version__, "blas": f"{blas['name']} {blas['version']}",
            "python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}


def describe(facts: dict[str, Any]) -> str:
    """machine() in one line."""
    return ("{cpu}, {cores} cores; threads for each side: {threads}; fastnn {fastnn} ({isa}), "
            "NumPy {numpy} ({blas}), Python {python}, {platform}").format(**facts)


def others_seconds() -> float:
    """Processor time that all but this process and its ended children have used so far."""
    with open("/proc/stat", encoding="ascii") as lines:
        user, nice, system, _, _, *rest = map(int, lines.readline().split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def watch_others() -> Callable[[], float | None]:
    """A call that tells how many cores other processes have kept busy since; None where /proc does not say."""
    if not os.path.exists("/proc/stat"):
        return lambda: None
    start, before = time.perf_counter(), others_seconds()
    return lambda: max(0.0, (others_seconds() - before) / (time.perf_counter() - start))


def disturbance(cores: float | None) -> str:
    """A line on what watch_others() has seen."""
    if cores is None:
        return "Whether other processes were busy meanwhile is not known here."
    advice = " NumPy's threads wait for each other and suffer most: repeat this on a quiet machine." * (cores > 0.1)
    return f"Other processes kept {cores:.2f} cores busy meanwhile.{advice}"


def warm_up(call: Callable) -> None:
    """Let the threads of whoever ran before go to sleep, then the call's own threads and caches settle."""
    time.sleep(SETTLE)
    until = time.perf_counter() + WARM_UP
    while time.perf_counter() < until:
        call()


def timed(call: Callable, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def measure(case: Case, budget: float) -> dict[str, list[float]]:
    """Seconds per call of each side in each round; the sides take turns, for `budget` seconds in all."""
    calls = {name: make() for name, make in case.sides.items()}
    repeats = {name: max(1, round(STRETCH / min(timed(call, 1) for _ in range(3)))) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    until = time.perf_counter() + budget
    while len(seconds["fastnn"]) < LEAST_ROUNDS or time.perf_counter() < until:
        for name, call in calls.items():
            warm_up(call)
            seconds[name].append(timed(call, repeats[name]))
    return seconds


def result(case: Case, budget: float) -> dict[str, Any]:
    """The medians of a case, and NumPy's time over fastnn's in one round: the median over the rounds, and quartiles."""
    seconds = measure(case, budget)
    ratios = [a / b for a, b in zip(seconds["numpy"], seconds["fastnn"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {"group": case.group, "size": case.size, "rounds": len(ratios), "ratio": middle, "quartiles": [low, high],
            "seconds": {name: statistics.median(times) for name, times in seconds.items()}}


ROW = "{:<26}{:<28}{:>10}{:>10}{:>10}{:>8}  {}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    unit, size = next(((unit, size) for unit, size in (("s", 1.0), ("ms", 1e-3)) if seconds >= size), ("us", 1e-6))
    number = seconds / size
    return f"{number:.{2 if number < 10 else 1 if number < 100 else 0}f} {unit}"


def row(found: dict[str, Any]) -> str:
    times = [duration(found["seconds"].get(name)) for name in SIDES]
    spread = "{:.2f} to {:.2f}".format(*found["quartiles"])
    return ROW.format(found["group"], found["size"], *times, f"{found['ratio']:.2f}", spread)


def report(quick: bool, as_json: bool) -> None:
    """Measure every case in this process, whose environment is fair, and print the table as it grows."""
    for number in (signal.SIGINT, signal.SIGPIPE):      # end without a word: main() is there to report it
        signal.signal(number, signal.SIG_DFL)
    say = (lambda line: None) if as_json else partial(print, flush=True)
    facts, found, others = machine(), [], watch_others()
    say(f"{describe(facts)}\nMedian time of a call.  Ratio: NumPy's time over fastnn's in one round, the median of the "
        "rounds; above 1, fastnn is faster.\n")
    say(ROW.format("", "", "loops", "NumPy", "fastnn", "ratio", "quartiles"))
    for case in cases(quick):
        found.append(result(case, BUDGET["quick" if quick else "full"]))
        say(row(found[-1]))
    facts["others"] = others()
    lost = [f"{cell['group']} {cell['size']} ({cell['ratio']:.2f})" for cell in found if cell["ratio"] < 1]
    say(f"\n{disturbance(facts['others'])}\nNumPy is faster in: {', '.join(lost) or 'none of these'}.")
    if as_json:
        print(json.dumps({"machine": facts, "cases": found, "numpy_is_faster_in": lost}))


def main(threads: int | None = None, quick: bool = False, as_json: bool = False) -> int:
    """Compare fastnn with NumPy and with the course's loops on this machine, and print one table of ratios.

    threads: for each side; by default as many as fastnn uses.  quick: fewer sizes and rounds, about 20 seconds
    instead of 130.  as_json: print one JSON object instead.  Returns the exit code of the process that measures.
    """
    code = f"from fastnn.benchmark import report; report({bool(quick)}, {bool(as_json)})"
    with fastnn.threads(_core.get_threads() if threads is None else threads):
        environment = fair_environment()
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    stopped = subprocess.run([sys.executable, "-P", "-c", code], env=environment).returncode   # -P: not ./fastnn
    return 0 if stopped == -signal.SIGPIPE else stopped     # `fastnn bench | head`: who wanted to read has read
