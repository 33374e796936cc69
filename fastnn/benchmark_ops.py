"""Every operation of fastnn.ops beside NumPy, by element type and size from 1 to ten million, the worst cells first.

    python -m fastnn.benchmark_ops [--threads N] [--quick] [--json] [--only A,B]

A cell is fastnn's time over NumPy's: the median over rounds in which the two take turns.  Up to a million elements each
call makes a new result; from there on, both write to an array that is there already, so that the page faults of fresh
memory are not what is measured.
"""
import argparse
import concurrent.futures
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from . import _core
from .benchmark import describe, disturbance, fair_environment, machine, timed, watch_others
from .benchmark_ops_cells import LARGEST, Cell, Prepared, cells, unknown
from .benchmark_ops_targets import Found, by_kind, target_rows

STRETCH = 0.001     # seconds of calls that are timed together
ROUNDS = 7
LEAST_ROUNDS = 3
BUDGET = 1.0        # seconds of a cell, after which no round begins
SETTLE = 0.15       # seconds; OpenBLAS' threads were seen to spin for more than 70 ms after a call
WARM_UP = 0.02      # seconds in which threads that have slept wake


@cache
def copying(threads: int) -> tuple[Callable[[], Any], int]:
    """What copies an array of ten million float32 on so many threads, and the bytes that it reads and writes."""
    x = np.ones(LARGEST, "float32")
    parts = list(zip(np.array_split(np.zeros_like(x), threads), np.array_split(x, threads), strict=True))
    if threads == 1:
        return lambda: np.copyto(*parts[0]), 2 * x.nbytes
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    return lambda: list(pool.map(np.copyto, *zip(*parts, strict=True))), 2 * x.nbytes


def turn(call: Callable[[], Any], repeats: int, settle: bool) -> float:
    """Seconds of a call; settle: after the other side's threads have come to rest and its own are awake."""
    if settle:
        time.sleep(SETTLE)
        until = time.perf_counter() + WARM_UP
        while timed(call, 1) and time.perf_counter() < until:
            pass
    return timed(call, repeats)


def take_turns(calls: Sequence[Callable[[], Any]], settle: bool) -> list[list[float]]:
    """Seconds of each call in each round."""
    repeats = [max(1, round(STRETCH / min(timed(call, 1) for _ in range(3)))) for call in calls]
    rounds: list[list[float]] = []
    until = time.perf_counter() + BUDGET
    while len(rounds) < LEAST_ROUNDS or len(rounds) < ROUNDS and time.perf_counter() < until:
        rounds.append([turn(call, count, settle) for call, count in zip(calls, repeats, strict=True)])
    time.sleep(SETTLE * settle)
    return rounds


def of_copy(rounds: Sequence[Sequence[float]], nbytes: int, copied: int) -> tuple[float | None, float | None]:
    """The bandwidth of copying, and fastnn's as a share of it: rounds hold its seconds, then those of the copy."""
    if not rounds or len(rounds[0]) < 2:
        return None, None
    share = statistics.median((nbytes / ours) / (copied / copy) for ours, copy in rounds)
    return statistics.median(copied / copy for _, copy in rounds), share


def measure(cell: Cell) -> Found:
    """The medians of both sides, and of fastnn's time over NumPy's with its quartiles."""
    ready: Prepared = cell.prepare()
    threads = _core.get_threads()
    copy, copied = copying(threads) if cell.memory_bound else (None, 0)
    calls = [ready.numpy, ready.fastnn, *([copy] if copy else [])]
    with np.errstate(all="ignore"):
        rounds = take_turns(calls, settle=cell.wakes_blas and threads > 1)
    low, middle, high = statistics.quantiles([x[1] / x[0] for x in rounds], n=4, method="inclusive")
    bandwidth, share = of_copy([x[1:] for x in rounds], ready.nbytes, copied)
    theirs, ours = (statistics.median(side) for side in list(zip(*rounds, strict=True))[:2])
    return {"group": cell.group, "name": cell.name, "case": cell.case, "dtype": cell.dtype, "size": cell.size,
            "ratio": middle, "quartiles": [low, high], "numpy": theirs, "fastnn": ours, "copy": bandwidth,
            "of_copy": share}


# The table

HEAD = f"{'':<48}{'dtype':<9}{'elements':>12}{'NumPy':>12}{'fastnn':>12}{'ratio':>7}  quartiles       of copy"


def row(found: Found) -> str:
    numpy, fastnn = (f"{1e6 * found[side]:.2f}" for side in ("numpy", "fastnn"))
    spread = "{:.2f} to {:.2f}".format(*found["quartiles"])
    share = f"{100 * found['of_copy']:.0f} %" if found["of_copy"] else ""
    return (f"{found['name']:<13}{found['case']:<35}{found['dtype']:<9}{found['size']:>12,}{numpy:>12}{fastnn:>12}"
            f"{found['ratio']:>7.2f}  {spread:<16}{share:>7}").rstrip()


def target_line(found: Found) -> str:
    return f"{found['what']:<46}{found['asked']:<31}{'met' if found['met'] else 'MISSED':<8}{found['measured']}"


def report(quick: bool, as_json: bool, only: Sequence[str] = ()) -> None:
    """Measure in this process, whose environment is fair, and print the table, the worst cells first."""
    others = watch_others()
    found = sorted(map(measure, cells(quick, only)), key=lambda cell: -cell["ratio"])
    facts = machine() | {"others": others(), "quick": quick}
    targets = target_rows(found, facts["threads"])
    if as_json:
        print(json.dumps({"machine": facts, "targets": targets, "cells": found}))
        return
    print(f"{describe(facts)}\nMicroseconds of a call, and fastnn's over NumPy's: below 1, fastnn is faster.\n")
    print(HEAD, *map(row, found), "", *by_kind(found), sep="\n")
    print("", *map(target_line, targets), "", disturbance(facts["others"]), sep="\n")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fastnn.benchmark_ops", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, help="threads of each side (default: as many as fastnn uses)")
    parser.add_argument("--quick", action="store_true", help="three sizes instead of eight")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", metavar="A,B", help="only these operations, or kinds of them: exp,reduction")
    given = parser.parse_args(argv)
    only = given.only.split(",") if given.only else []
    if unknown(only):
        parser.error(f"--only: no such operation or kind: {', '.join(unknown(only))}")
    _core.set_threads(given.threads or _core.get_threads())
    code = f"from fastnn.benchmark_ops import report; report({given.quick}, {given.json}, {only})"
    return subprocess.run([sys.executable, "-P", "-c", code], env=fair_environment()).returncode


if __name__ == "__main__":
    sys.exit(main())
