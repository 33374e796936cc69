"""dot and matmul against NumPy, in turns in one process, the worst ratios first.

    python benches/products.py --threads 2 [--only float32,matmul] [--seconds 0.3]

A ratio is fastnn's time over NumPy's: below 1, fastnn is faster.  NumPy's threads wait busily for a while after a call;
with more than one thread, each side sleeps before its turn until they have stopped.
"""
import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastnn import _core, benchmark, ops

SETTLE = 0.15    # seconds; OpenBLAS threads were seen to spin for more than 70 ms after a call
SQUARES = (8, 16, 32, 64, 100, 128, 200, 256, 512, 1000, 1024, 2048)
MATRICES = ((1000, 100, 10), (10, 1000, 100), (100, 10000, 10), (10, 100000, 10), (10000, 10, 100), (2000, 64, 64),
            (128, 784, 512), (64, 64, 2000))
WITH_VECTORS = ((10, 10), (100, 100), (1000, 1000), (100, 10000), (10000, 100), (10, 100000), (2000, 2000))


class Cell(NamedTuple):
    name: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    dtype: str
    numpy: Callable[..., Any]
    fastnn: Callable[..., Any]

    def arrays(self) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        return [(100 * rng.random(shape)).astype(self.dtype) for shape in self.shapes]


def cells() -> Iterator[Cell]:
    """Every cell: square, tall and wide matrices, matrix-vector and vector-matrix, vectors, integers."""
    for dtype in ("float32", "float64"):
        for m, k, n in [(n, n, n) for n in SQUARES] + list(MATRICES):
            yield Cell(f"matmul {dtype} ({m}, {k}) . ({k}, {n})", ((m, k), (k, n)), dtype, np.matmul, ops.matmul)
        for m, n in WITH_VECTORS:
            yield Cell(f"matrix-vector {dtype} ({m}, {n})", ((m, n), (n,)), dtype, np.dot, ops.dot)
            yield Cell(f"vector-matrix {dtype} ({m}, {n})", ((m,), (m, n)), dtype, np.dot, ops.dot)
        for n in (10**i for i in range(8)):
            yield Cell(f"vectors {dtype} {n}", ((n,), (n,)), dtype, np.dot, ops.dot)
    for dtype in ("int32", "int64"):
        for n in (8, 64, 256):
            yield Cell(f"matmul {dtype} ({n}, {n}) . ({n}, {n})", ((n, n), (n, n)), dtype, np.matmul, ops.matmul)


def timed(call: Callable[..., Any], arrays: list[np.ndarray], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call(*arrays)
    return (time.perf_counter() - start) / repeats


def measured(cell: Cell, seconds: float, threads: int) -> list[tuple[float, float]]:
    """Seconds of a call of NumPy and of fastnn, in each round."""
    arrays, rounds = cell.arrays(), []
    repeats = max(1, round(0.002 / min(timed(cell.numpy, arrays, 1) for _ in range(3))))
    until = time.perf_counter() + seconds
    while len(rounds) < 5 or time.perf_counter() < until:
        times = []
        for call in (cell.numpy, cell.fastnn):
            time.sleep(SETTLE * (threads > 1))
            warm = time.perf_counter() + (0.02 if threads > 1 else 0.001)
            while timed(call, arrays, 1) and time.perf_counter() < warm:
                pass
            times.append(timed(call, arrays, repeats))
        rounds.append((times[0], times[1]))
    return rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="parts of names, all of which a cell must have: A,B")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each cell (default: 0.3)")
    args = parser.parse_args()
    _core.set_threads(args.threads)
    fair = benchmark.fair_environment()
    if fair != dict(os.environ):                # NumPy reads it when it is imported
        os.execve(sys.executable, sys.orig_argv, fair)
    found = []
    for cell in cells():
        if all(part in cell.name for part in args.only.split(",")):
            rounds = measured(cell, args.seconds, args.threads)
            ratios = [ours / theirs for theirs, ours in rounds]
            low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
            theirs, ours = (statistics.median(times) for times in zip(*rounds, strict=True))
            found.append((middle, low, high, theirs, ours, cell.name))
    print(benchmark.describe(benchmark.machine()))
    print(f"{'':<44}{'NumPy us':>12}{'fastnn us':>12}{'ratio':>8}  quartiles")
    for middle, low, high, theirs, ours, name in sorted(found, reverse=True):
        print(f"{name:<44}{theirs * 1e6:>12.2f}{ours * 1e6:>12.2f}{middle:>8.2f}  {low:.2f} to {high:.2f}")
    print(f"Geometric mean of the ratios: {statistics.geometric_mean(row[0] for row in found):.2f}")


if __name__ == "__main__":
    main()
