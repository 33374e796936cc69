"""Reductions beside NumPy's: cells of (name, array, NumPy's call, fastnn's call) over sizes, shapes and axes.

python -P benches/reductions.py 1 1e3,1e5 float32 sum,argmax    (threads, sizes, dtypes, operations) prints the time of
fastnn over that of NumPy in each cell, the worst first.
"""
import statistics
import sys
import time
from functools import partial

import numpy as np

import fastnn
from fastnn import ops


def shapes(n):
    """(shape, axis) of about n elements: all of them, rows, columns, the middle."""
    yield from [((n,), None), ((n,), 0)]
    if n >= 100:
        side = int(n**0.5)
        for shape in [(side, n // side), (n // 10, 10), (10, n // 10)]:
            yield from [(shape, 0), (shape, -1)]
    if n >= 1000:
        yield from [((10, n // 100, 10), 1), ((n // 100, 10, 10), 1), ((10, 10, n // 100), 1)]


def cells(sizes, dtypes, names):
    for dtype in dtypes:
        for n in sizes:
            for shape, axis in shapes(n):
                x = (100 + 50 * np.random.default_rng(0).standard_normal(shape, dtype="float32")).astype(dtype)
                for name in names:
                    calls = [partial(getattr(module, name), x, axis=axis) for module in (np, ops)]
                    yield f"{name} {dtype} {shape} axis={axis}", x, *calls


def timed(call, repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def measure(*calls):
    """The least seconds of each call in five rounds of about a millisecond, in turns."""
    repeats = [1 + int(1e-3 / max(1e-7, min(timed(call, 1) for _ in range(2)))) for call in calls]
    rounds = [[timed(*pair) for pair in zip(calls, repeats, strict=True)] for _ in range(5)]
    return [min(times) for times in zip(*rounds, strict=True)]


def main(threads, sizes, dtypes, names):
    found = []
    with fastnn.threads(int(threads)):
        for name, x, *calls in cells([int(float(n)) for n in sizes.split(",")], dtypes.split(","), names.split(",")):
            theirs, ours = measure(*calls)
            found.append((ours / theirs, name, theirs * 1e6, ours * 1e6, x.nbytes / ours / 1e9))
    for ratio, name, theirs, ours, speed in sorted(found, reverse=True):
        print(f"{ratio:6.2f}  {name:<48} NumPy {theirs:10.2f} us  fastnn {ours:10.2f} us  {speed:6.1f} GB/s")
    ratios = [cell[0] for cell in found]
    print(f"{len(ratios)} cells, geometric mean {statistics.geometric_mean(ratios):.2f}, "
          f"above 1: {sum(ratio > 1 for ratio in ratios)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
