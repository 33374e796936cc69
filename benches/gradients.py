"""The gradient of the chapter's two-layer loss (784-512-10, batch 128) in fastnn, autograd and PyTorch, as ratios.

    python benches/gradients.py --peer-python VENV/bin/python --peers autograd,torch --threads 2 [--json FILE]

Each library runs in a process of its own, in turns, `--rounds` times; the median of each process is taken.  A promise
is measured in each round: the median of the rounds counts.  `forward` is the loss alone, `gradient` the loss with its
gradients by both weights and both biases.
`book` is written with NumPy functions as the book does; `ops` uses fastnn.ops, or the library's own relu and softmax.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

BATCH, INPUTS, HIDDEN, CLASSES = 128, 784, 512, 10
WRITTEN = {"book": "NumPy functions", "ops": "fastnn.ops"}
NAMES = {"autograd": "autograd", "torch": "PyTorch eager"}
SPELLINGS = {"fastnn": ("book", "ops"), "autograd": ("book",), "torch": ("ops",)}


def arrays():
    rng = np.random.default_rng(0)
    x, y = rng.random((BATCH, INPUTS), "float32"), np.eye(CLASSES, dtype="float32")[rng.integers(0, CLASSES, BATCH)]
    shapes = ((INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,))
    return x, y, [(rng.standard_normal(shape) * 0.05).astype("float32") for shape in shapes]


def book(np, x, y):
    def loss(w1, b1, w2, b2):
        hidden = np.maximum(np.dot(x, w1) + b1, 0.0)
        logits = np.dot(hidden, w2) + b2
        e = np.exp(logits - np.max(logits, axis=1, keepdims=True))
        p = e / np.sum(e, axis=1, keepdims=True)
        return -np.sum(y * np.log(p)) / len(x)
    return loss


def fastnn_sides(spelling):
    import fastnn
    from fastnn import ops

    x, y, parameters = arrays()

    def loss(w1, b1, w2, b2):
        p = ops.softmax(ops.dot(ops.relu(ops.dot(x, w1) + b1), w2) + b2)
        return -np.sum(y * np.log(p)) / len(x)

    loss = book(np, x, y) if spelling == "book" else loss
    both = fastnn.value_and_gradient(loss, (0, 1, 2, 3))
    return lambda: loss(*parameters), lambda: both(*parameters)


def autograd_sides(spelling):
    import autograd

    x, y, parameters = arrays()
    loss = book(autograd.numpy, x, y)
    both = autograd.value_and_grad(loss, (0, 1, 2, 3))
    return lambda: loss(*parameters), lambda: both(*parameters)


def torch_sides(spelling):
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    x, y, parameters = arrays()
    x, y, parameters = torch.tensor(x), torch.tensor(y), [torch.tensor(p, requires_grad=True) for p in parameters]

    def loss(w1, b1, w2, b2):
        p = torch.softmax(torch.relu(x @ w1 + b1) @ w2 + b2, 1)
        return -torch.sum(y * torch.log(p)) / len(x)

    def forward():
        with torch.no_grad():
            return loss(*parameters)

    return forward, lambda: torch.autograd.grad(loss(*parameters), parameters)


def median(call, repeats=60):
    seconds = []
    for _ in range(repeats + 8):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds[8:])[repeats // 2]


def measured(args, library, spelling):
    """Milliseconds of forward and gradient, from a process of the library's own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS_")}
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "FASTNN_NUM_THREADS"):
        environment[name] = str(args.threads)
    python = sys.executable if library == "fastnn" else args.peer_python
    command = [python, "-P", __file__, "--side", library, spelling]
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)


def promise(what, asked, ratios, sides, met):
    """A row of the table: the ratio of each round."""
    middle = statistics.median(ratios)
    return {"what": what, "asked": asked, "measured": f"{middle:.2f} x ({min(ratios):.2f} to {max(ratios):.2f})",
            "sides": " / ".join(f"{statistics.median(side):.2f} ms" for side in sides), "met": met(middle)}


def promises(found, threads):
    """What is promised of the gradient.  found: for each side, [forward, gradient] milliseconds of each round; a side
    that was not measured is not asked."""
    end = f", {threads} thread{'s' * (threads > 1)}"
    for spelling in SPELLINGS["fastnn"]:
        forward, both = zip(*found["fastnn", spelling], strict=True)
        ratios = [b / f for f, b in zip(forward, both, strict=True)]
        yield promise(f"gradient with {WRITTEN[spelling]}, over its forward pass{end}", "at most 3 x", ratios,
                      (both, forward), lambda ratio: ratio <= 3)
    for library in ("autograd", "torch"):
        for spelling in SPELLINGS[library]:
            if (library, spelling) in found:
                ours, theirs = ([both for _, both in found[side, spelling]] for side in ("fastnn", library))
                ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
                yield promise(f"gradient with {WRITTEN[spelling]} vs {NAMES[library]}{end}", "at least 1 x", ratios,
                              (ours, theirs), lambda ratio: ratio >= 1)


def table(found, rows, threads):
    """The lines of the report."""
    yield f"{f'threads {threads}':18}{'forward ms':>12}{'gradient ms':>13}{'/ forward':>11}"
    for (library, spelling), rounds in found.items():
        forward, both = map(statistics.median, zip(*rounds, strict=True))
        yield f"{library + ' ' + spelling:18}{forward:12.3f}{both:13.3f}{both / forward:11.2f}"
    yield from ["", f"{'':<66}{'asked':<14}{'measured':<25}{'ms':<22}"]
    for row in rows:
        yield (f"{row['what']:<66}{row['asked']:<14}{row['measured']:<25}{row['sides']:<22}"
               f"{'met' if row['met'] else 'MISSED'}")


def facts(threads, others):
    from fastnn import benchmark

    return benchmark.machine() | {"threads": threads, "others": others}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", metavar="PATH", help="the Python in which the peers are installed")
    parser.add_argument("--peers", default="autograd,torch", metavar="A,B")
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="R")
    parser.add_argument("--json", metavar="FILE", help="write the results there too")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        forward, both = globals()[f"{args.side[0]}_sides"](args.side[1])
        slower = 1e3 * median(both)         # first: the threads of NumPy's OpenBLAS spin for a while after a call
        print(json.dumps([1e3 * median(forward), slower]))
        return
    from fastnn.benchmark import disturbance, watch_others

    others = watch_others()
    libraries = ["fastnn", *(args.peers.split(",") if args.peer_python else [])]
    sides = [(library, spelling) for library in libraries for spelling in SPELLINGS[library]]
    found = {side: [] for side in sides}
    for _ in range(args.rounds):
        for side in sides:
            found[side].append(measured(args, *side))
    rows, busy = list(promises(found, args.threads)), others()
    print(*table(found, rows, args.threads), "", disturbance(busy), sep="\n")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"machine": facts(args.threads, busy), "rows": rows,
                       "milliseconds": {" ".join(side): rounds for side, rounds in found.items()}}, file)


if __name__ == "__main__":
    main()
