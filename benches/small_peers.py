"""The small networks of benches/speed.py in PyTorch and scikit-learn: run by the peers' own Python.

    python small_peers.py torch tanh --threads 2
    python small_peers.py versions

Written as a user of each library who cares about speed writes it.  Prints one JSON line: seconds of a step of `tanh`
(4-32-16-4, 10,000 samples in one batch) or of an epoch of `small` (20-16-2, batches of 32), both with Adam.
"""
import argparse
import importlib.metadata
import itertools
import json
import time
import warnings

PACKAGES = ("numpy", "jax", "torch", "scikit-learn")


def best(call, repeats):
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def torch_training(units, activation, loss, x, y):
    """A call that takes one step of Adam on the samples i; i is None for all of them."""
    import torch

    layers = []
    for inputs, outputs in itertools.pairwise(units):
        layers += [torch.nn.Linear(inputs, outputs), activation()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters())
    x, y = torch.from_numpy(x), torch.from_numpy(y)

    def step(i=None):
        optimizer.zero_grad(set_to_none=True)
        loss(model(x if i is None else x[i]), y if i is None else y[i]).backward()
        optimizer.step()

    return step


def torch_tanh(threads, steps=50):
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    x, y = np.random.default_rng(0).standard_normal((2, 10_000, 4), "float32")
    step = torch_training((4, 32, 16, 4), torch.nn.Tanh, torch.nn.functional.mse_loss, x, y)
    return best(lambda: [step() for _ in range(steps)], 7) / steps


def labelled():
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.standard_normal((10_000, 20), "float32"), rng.integers(0, 2, 10_000)


def torch_small(threads):
    import torch

    torch.set_num_threads(threads)
    x, labels = labelled()
    step = torch_training((20, 16, 2), torch.nn.ReLU, torch.nn.functional.cross_entropy, x, labels)

    def epoch():
        order = torch.randperm(len(x))
        for first in range(0, len(x), 32):
            step(order[first:first + 32])

    return best(epoch, 5)


def sklearn_small(threads):
    """Threads come from the environment; partial_fit is one shuffled epoch."""
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")
    x, labels = labelled()
    model = MLPClassifier((16,), batch_size=32, alpha=0)
    model.partial_fit(x, labels, classes=[0, 1])
    return best(lambda: model.partial_fit(x, labels), 5)


def versions():
    """Of each package, the version that is installed, or None."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=["torch", "sklearn", "versions"])
    parser.add_argument("network", nargs="?", choices=["tanh", "small"])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.peer == "versions":
        return print(json.dumps(versions()))
    sides = {("torch", "tanh"): torch_tanh, ("torch", "small"): torch_small, ("sklearn", "small"): sklearn_small}
    if (args.peer, args.network) not in sides:
        parser.error(f"{args.peer} has no network {args.network}")
    print(json.dumps({"seconds": sides[args.peer, args.network](args.threads)}))


if __name__ == "__main__":
    main()
