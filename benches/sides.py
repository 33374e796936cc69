"""fastnn's sides of benches/speed.py, one in a process: the last line that it prints is JSON.

    python benches/sides.py epoch --normal

NumPy's side of a case of `fastnn bench` runs here too.  A side says `seconds`, the best repetition, with `flop`, the
multiply-adds that skip no zero; or `epoch_s`, the seconds of each epoch; or `pair`, two amounts to compare.
"""
import argparse
import json
import os
import subprocess
import sys
import time

DIGITS = (784, 512, 10)
IMPORTS = """
import json, time
start = time.perf_counter()
import numpy
between = time.perf_counter()
import fastnn
print(json.dumps([time.perf_counter() - start, between - start]))
"""


def best(call, repeats):
    """Seconds of the quickest of the calls; one before them counts for nothing."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def network(units, hidden, last, optimizer, loss, metrics=()):
    from fastnn import layers, models, utils

    utils.set_random_seed(0)
    activations = [hidden] * (len(units) - 2) + [last]
    model = models.Sequential([layers.Input(units[:1]), *map(layers.Dense, units[1:], activations)])
    model.compile(optimizer, loss, metrics)
    return model


def digits():
    """The training images as float32 rows from 0 to 1, and their labels as one-hot rows."""
    from fastnn import utils
    from fastnn.datasets import mnist

    (x, y), _ = mnist.load_data()
    x = x.reshape(len(x), -1).astype("float32")
    x /= 255
    return x, utils.to_categorical(y)


def normal(samples=12_800):
    import numpy as np

    rng = np.random.default_rng(0)
    return (rng.standard_normal((samples, DIGITS[0]), "float32"),
            np.eye(DIGITS[-1], dtype="float32")[rng.integers(0, DIGITS[-1], samples)])


def epochs(x, y, batch=128, count=5, beside=0):
    """The course's network, trained beside that many processes that only spin."""
    from fastnn.benchmark_cases import training_flop

    model = network(DIGITS, "relu", "softmax", "rmsprop", "categorical_crossentropy", ["accuracy"])
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(beside)]
    seconds = []
    try:
        for _ in range(count):
            start = time.perf_counter()
            model.fit(x, y, batch_size=batch, verbose=0)
            seconds.append(time.perf_counter() - start)
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    return {"epoch_s": seconds, "flop": training_flop(len(x), *DIGITS)}


def tanh(steps=100, repeats=7):
    """4-32-16-4 on 10,000 samples in one batch, with Adam; a fit of many steps, divided by them."""
    import numpy as np

    from fastnn.benchmark_cases import training_flop

    n, units = 10_000, (4, 32, 16, 4)
    x, y = np.random.default_rng(0).standard_normal((2, n, 4), "float32")
    model = network(units, "tanh", "linear", "adam", "mse")
    seconds = best(lambda: model.fit(x, y, epochs=steps, batch_size=n, verbose=0, shuffle=False), repeats)
    return {"seconds": seconds / steps, "flop": training_flop(n, *units)}


def small(repeats=30):
    """20-16-2 on 10,000 samples in batches of 32, with Adam: one epoch, shuffled."""
    import numpy as np

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((10_000, 20), "float32"), np.eye(2, dtype="float32")[rng.integers(0, 2, 10_000)]
    model = network((20, 16, 2), "relu", "softmax", "adam", "categorical_crossentropy")
    return {"seconds": best(lambda: model.fit(x, y, batch_size=32, verbose=0), repeats)}


def sparse(what, density=None, pattern="drawn", batch=128, batches=10, repeats=60):
    """A step of fit() with RMSprop on 784-512, or its prediction: Dense, or SparseDense of that density.

    what: step, of a first layer, which needs no dx; hidden, with dx; predict.  pattern: drawn, as the layer draws it
    for a density, or random, a mask in which every unit has inputs of its own.
    """
    import numpy as np

    from fastnn import layers, models, utils

    rng = np.random.default_rng(0)
    rows, inputs = (batch if what == "predict" else batch * batches), (1 if what == "hidden" else 784)
    x, y = rng.standard_normal((rows, inputs), "float32"), rng.standard_normal((rows, 512), "float32")
    utils.set_random_seed(0)
    if density is None:
        layer = layers.Dense(512, "relu")
    elif pattern == "random":
        layer = layers.SparseDense(512, "relu", mask=rng.random((784, 512)) < float(density))
    else:
        layer = layers.SparseDense(512, "relu", density=float(density))
    before = [layers.Dense(784)] if what == "hidden" else []
    model = models.Sequential([layers.Input((inputs,)), *before, layer])
    model.compile("rmsprop", "mse")
    if what == "predict":
        return {"seconds": best(lambda: model.predict(x), repeats)}
    return {"seconds": best(lambda: model.fit(x, y, batch_size=batch, shuffle=False, verbose=0), repeats) / batches}


def case(group, size, side, stretches=40):
    """One side of a case of `fastnn bench`."""
    from fastnn import benchmark

    call = next(case for case in benchmark.cases(groups=[group]) if case.size == size).sides[side]()
    benchmark.warm_up(call)
    repeats = max(1, round(benchmark.STRETCH / benchmark.timed(call, 3)))
    return {"seconds": best(lambda: benchmark.timed(call, repeats), stretches) / repeats}


def imports(repeats=15):
    """Seconds of importing numpy and then fastnn, and of numpy alone, each time in a new process, from byte code that
    is compiled already as pip leaves it: the run whose difference is the median."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-P", "-c", IMPORTS]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)
            for _ in range(1 + repeats)][1:]
    both, numpy = sorted(runs, key=lambda run: run[0] - run[1])[repeats // 2]
    return {"pair": [both, numpy]}


def resident(what="VmRSS"):
    """Resident bytes of this process: now (VmRSS), or at most so far (VmHWM)."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def memory(x, y):
    """Resident bytes at the peak of two epochs, and before the network was made, with x and y there."""
    import fastnn  # noqa: F401

    before = resident()
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")     # the peak begins anew
    network(DIGITS, "relu", "softmax", "rmsprop", "categorical_crossentropy").fit(x, y, 128, epochs=2, verbose=0)
    return {"pair": [resident("VmHWM"), before]}


def flat(count=100_000):
    """Resident bytes after `count` steps of fit, as many of train_on_batch and predictions, and after a tenth."""
    import numpy as np

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3200, 20), "float32"), np.eye(2, dtype="float32")[rng.integers(0, 2, 3200)]
    model = network((20, 16, 2), "relu", "softmax", "adam", "categorical_crossentropy")

    def go_on(steps):
        model.fit(x, y, batch_size=32, epochs=max(1, steps // 100), verbose=0)
        for _ in range(steps):
            model.train_on_batch(x[:32], y[:32])
            model.predict(x[:1])
        return resident()

    before = go_on(count // 10)
    return {"pair": [go_on(count - count // 10), before]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=["epoch", "tanh", "small", "sparse", "case", "imports", "memory", "flat"])
    parser.add_argument("words", nargs="*", help="case: group, size and side; sparse: what, density, pattern")
    parser.add_argument("--normal", action="store_true", help="random normal data instead of MNIST")
    parser.add_argument("--spinning", action="store_true", help="beside one spinning process for each processor")
    args = parser.parse_args()
    if args.side == "epoch":
        beside = len(os.sched_getaffinity(0)) if args.spinning else 0
        found = epochs(*(normal() if args.normal else digits()), beside=beside)
    elif args.side == "memory":
        found = memory(*digits())
    else:
        sides = {"tanh": tanh, "small": small, "sparse": sparse, "case": case, "imports": imports, "flat": flat}
        found = sides[args.side](*args.words)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
