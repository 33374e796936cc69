"""Every operation of fastnn.ops beside NumPy, by element type and size from 1 to ten million, the worst cells first.

    python -m fastnn.benchmark_ops [--threads N] [--quick] [--json] [--only NAME]

A cell is fastnn's time over NumPy's: the median over rounds in which the two take turns.  Up to 100,000 elements each
call makes a new result; above, both write to an array that is there already, so that the page faults of fresh memory
are not what is measured.
"""
import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from . import _core, ops
from .benchmark import describe, fair_environment, machine

SIZES = (1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000)
QUICK_SIZES = (1, 1000, 100_000)
OUT_FROM = 1_000_000
STRETCH = 0.001     # seconds of calls that are timed together
ROUNDS = 7


class Cell(NamedTuple):
    """One comparison; prepare gives NumPy's call and fastnn's."""

    name: str
    case: str
    dtype: str
    size: int
    prepare: Callable[[], tuple[Callable[[], Any], Callable[[], Any]]]


def numbers(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Numbers from 1 to 10, for which every operation is defined; their products and sums fit an int32."""
    return (1 + 9 * np.random.default_rng(seed).random(shape)).astype(dtype)


def pair(operation: ops.Operation, arguments: list[Any]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """NumPy's call and fastnn's.  What NumPy composes takes no out=."""
    fast, reference, result = operation.function, operation.reference, operation.function(*arguments)
    if result.size < OUT_FROM:
        return lambda: reference(*arguments), lambda: fast(*arguments)
    if not isinstance(reference, np.ufunc):
        return lambda: reference(*arguments), lambda: fast(*arguments, out=result)
    return lambda: reference(*arguments, out=result), lambda: fast(*arguments, out=result)


def shapes(operation: ops.Operation, n: int) -> Iterator[tuple[str, list[tuple[int, ...] | float]]]:
    """The operands for n elements: shapes, or a Python number."""
    if operation.kind == "unary":
        yield "", [(n,)]
    elif operation.kind == "rows":
        for cols in (10, 100, 1000):
            if n >= cols:
                yield f"rows of {cols}", [(n // cols, cols)]
    else:
        yield "", [(n,), (n,)]
        yield "number", [(n,), 2]
        if n >= 1000:
            yield "row", [(n // 100, 100), (100,)]
            yield "column", [(n // 100, 100), (n // 100, 1)]
            yield "transposed", [(100, n // 100), (n // 100, 100)]
        if n >= 100_000:
            yield "(..., 32, 10) + (32, 10)", [(n // 960, 3, 32, 10), (32, 10)]


def cells(quick: bool = False, only: str | None = None) -> Iterator[Cell]:
    """The table, by the registry: every operation that computes, for each of its element types."""
    for operation in ops.OPERATIONS.values():
        if operation.kind not in ("unary", "binary", "rows") or only not in (None, operation.name):
            continue
        for dtype in operation.dtypes:
            for n in QUICK_SIZES if quick else SIZES:
                for case, operands in shapes(operation, n):

                    def prepare(operation=operation, operands=operands, dtype=dtype, case=case):
                        arguments = [numbers(x, dtype, seed) if isinstance(x, tuple) else x
                                     for seed, x in enumerate(operands)]
                        if case == "transposed":
                            arguments[0] = arguments[0].T
                        return pair(operation, arguments)

                    yield Cell(operation.name, case, dtype, n, prepare)


def timed(call: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def measure(cell: Cell, rounds: int = ROUNDS) -> dict[str, Any]:
    """The medians of both sides, and of fastnn's time over NumPy's with its quartiles."""
    calls = cell.prepare()
    with np.errstate(all="ignore"):
        repeats = [max(1, round(STRETCH / min(timed(call, 1) for _ in range(3)))) for call in calls]
        times = [[timed(call, count) for call, count in zip(calls, repeats, strict=True)] for _ in range(rounds)]
    low, middle, high = statistics.quantiles([ours / theirs for theirs, ours in times], n=4, method="inclusive")
    theirs, ours = (statistics.median(side) for side in zip(*times, strict=True))
    return {"name": cell.name, "case": cell.case, "dtype": cell.dtype, "size": cell.size, "ratio": middle,
            "quartiles": [low, high], "numpy": theirs, "fastnn": ours}


def row(found: dict[str, Any]) -> str:
    numpy, fastnn = (f"{1e6 * found[side]:.2f}" for side in ("numpy", "fastnn"))
    spread = "{:.2f} to {:.2f}".format(*found["quartiles"])
    return (f"{found['name']:<14}{found['case']:<26}{found['dtype']:<9}{found['size']:>12,}{numpy:>12}{fastnn:>12}"
            f"{found['ratio']:>7.2f}  {spread}")


def summary(found: list[dict[str, Any]]) -> str:
    """How many cells lose, and the geometric mean up to 100,000 elements."""
    small = [math.log(cell["ratio"]) for cell in found if cell["size"] <= 100_000]
    lost = sum(cell["ratio"] > 1 for cell in found)
    mean = f"{math.exp(statistics.fmean(small)):.2f}" if small else "not measured"
    return f"{len(found)} cells; above 1: {lost}; geometric mean up to 100,000 elements: {mean}."


def report(quick: bool, as_json: bool, only: str | None = None) -> None:
    """Measure in this process, whose environment is fair, and print the table, the worst cells first."""
    found = sorted(map(measure, cells(quick, only)), key=lambda cell: -cell["ratio"])
    if as_json:
        print(json.dumps({"machine": machine(), "cells": found}))
        return
    print(f"{describe(machine())}\nMicroseconds of a call, and fastnn's over NumPy's: below 1, fastnn is faster.\n")
    print(f"{'':<40}{'dtype':<9}{'elements':>12}{'NumPy':>12}{'fastnn':>12}{'ratio':>7}  quartiles")
    print("\n".join(map(row, found)))
    print(f"\n{summary(found)}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fastnn.benchmark_ops", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, help="threads of fastnn (default: as many as it uses)")
    parser.add_argument("--quick", action="store_true", help="three sizes instead of eight")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", metavar="NAME", help="one operation")
    given = parser.parse_args()
    _core.set_threads(given.threads or _core.get_threads())
    code = f"from fastnn.benchmark_ops import report; report({given.quick}, {given.json}, {given.only!r})"
    return subprocess.run([sys.executable, "-P", "-c", code], env=fair_environment()).returncode


if __name__ == "__main__":
    sys.exit(main())
