"""fastnn beside NumPy and the course's loops, measured: what `fastnn bench` prints.

The cases are those of benchmark_cases.  Nothing imports this module but the commands that measure.
"""
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

import fastnn

from . import _core
from .benchmark_cases import SIDES, TABLE, Case, cases

SETTLE = 0.1        # seconds for the other side's threads to fall asleep: OpenBLAS' spin for 26 ms and more
WARM_UP = 0.03      # seconds in which a side's own threads and caches settle
STRETCH = 0.01      # seconds of calls that are timed together
BUDGET = {"quick": 0.3, "full": 3.0}    # seconds for each case
LEAST_ROUNDS = 3
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NPY_DISABLE_CPU_FEATURES")
THREADS = ("FASTNN_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
           "VECLIB_MAXIMUM_THREADS")


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


def busiest(*cores: float | None) -> float | None:
    """The most of what watch_others() has seen in several processes."""
    return max((seen for seen in cores if seen is not None), default=None)


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
    return {"group": case.group, "size": case.size, "threads": _core.get_threads(), "rounds": len(ratios),
            "ratio": middle, "quartiles": [low, high], "flop": case.flop,
            "seconds": {name: statistics.median(times) for name, times in seconds.items()}}


# Two processes: one measures, in a fair environment, and prints a JSON line for each case; the other prints the table.


def worker(quick: bool, groups: list[str]) -> None:
    """Measure the cases in this process, whose environment is fair: lines of JSON, those of cases having a group."""
    for number in (signal.SIGINT, signal.SIGPIPE):      # end without a word: main() is there to report it
        signal.signal(number, signal.SIG_DFL)
    say, others = partial(print, flush=True), watch_others()
    say(json.dumps(machine()))
    for case in cases(quick, groups):
        try:
            found = result(case, BUDGET["quick" if quick else "full"])
        except ImportError as error:
            found = {"group": case.group, "size": case.size, "threads": _core.get_threads(), "needs": error.name}
        say(json.dumps(found))
    say(json.dumps({"others": others()}))


@contextlib.contextmanager
def started(threads: int, quick: bool, groups: Sequence[str]) -> Iterator[subprocess.Popen]:
    """A process that runs worker() with so many threads for each side; it ends with the block."""
    code = f"from fastnn.benchmark import worker; worker({bool(quick)}, {list(groups)})"
    with fastnn.threads(threads):
        environment = fair_environment()
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    with subprocess.Popen([sys.executable, "-P", "-c", code], env=environment, stdout=subprocess.PIPE) as process:
        try:                                                                            # -P: not ./fastnn
            yield process
        except BaseException:
            process.kill()
            raise


# The table

ROW = "{:<26}{:<30}{:>9}{:>9}{:>9}{:>7}  {:<15}{:>7}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    unit, size = next(((unit, size) for unit, size in (("s", 1.0), ("ms", 1e-3)) if seconds >= size), ("us", 1e-6))
    number = seconds / size
    return f"{number:.{2 if number < 10 else 1 if number < 100 else 0}f} {unit}"


def title(found: dict[str, Any]) -> str:
    """A case with its threads."""
    return f"{found['group']} {found['size']}, {found['threads']} thread{'s' * (found['threads'] > 1)}"


def share_of_peak(found: dict[str, Any], fma_peak: float | None) -> float | None:
    """The multiply-adds that skip no zero, over fastnn's time, as a share of the peak of its threads."""
    if not fma_peak or not found["flop"]:
        return None
    return found["flop"] / found["seconds"]["fastnn"] / (1e9 * fma_peak * found["threads"])


def row(found: dict[str, Any]) -> str:
    if "needs" in found:
        return f"{found['group']:<26}{found['size']:<30}not measured: needs {found['needs']}"
    times = [duration(found["seconds"].get(name)) for name in SIDES]
    spread = "{:.2f} to {:.2f}".format(*found["quartiles"])
    share = f"{100 * found['share']:.0f} %" if found.get("share") else ""
    return ROW.format(found["group"], found["size"], *times, f"{found['ratio']:.2f}", spread, share).rstrip()


def follow(lines: Iterable[str | bytes], found: list[dict[str, Any]], fma_peak: float | None,
           say: Callable[[str], Any]) -> dict[str, Any]:
    """Say and keep the cases that worker() prints.  Returns its machine, with what others kept busy meanwhile."""
    facts: dict[str, Any] = {}
    for line in lines:
        part = json.loads(line)
        if "group" not in part:
            if not facts:
                say(f"\n{describe(part)}")
                share = "of peak" if fma_peak else ""
                say(ROW.format("", "", "loops", "NumPy", "fastnn", "ratio", "quartiles", share).rstrip())
            facts |= part
        else:
            if "needs" not in part:
                part["share"] = share_of_peak(part, fma_peak)
            found.append(part)
            say(row(part))
    return facts


def report(facts: dict[str, Any], found: list[dict[str, Any]], as_json: bool) -> None:
    """The last lines, or everything as one JSON object."""
    measured = [part for part in found if "needs" not in part]
    lost = [f"{title(part)} ({part['ratio']:.2f})" for part in measured if part["ratio"] < 1]
    needs = [f"{title(part)}: needs {part['needs']}" for part in found if "needs" in part]
    if as_json:
        print(json.dumps({"machine": facts, "cases": measured, "numpy_is_faster_in": lost, "not_measured": needs}))
    else:
        print(f"\n{disturbance(facts['others'])}\nNumPy is faster in: {', '.join(lost) or 'none of these'}.")


def passes(threads: int | None, groups: Sequence[str]) -> list[tuple[int, list[str]]]:
    """How many threads, and the groups to measure with them: all, then some with one thread where there are more."""
    unknown = [name for name in groups if name not in [group.name for group in TABLE]]
    if unknown:
        names = ", ".join(repr(group.name) for group in TABLE)
        raise ValueError(f"There are no cases {', '.join(map(repr, unknown))}. Choose from {names}.")
    chosen = [group for group in TABLE if not groups or group.name in groups]
    most = _core.get_threads() if threads is None else threads
    found = [(most, [group.name for group in chosen])]
    alone = [group.name for group in chosen if group.one_thread]
    return found + [(1, alone)] * (threads is None and most > 1 and bool(alone))


def main(threads: int | None = None, quick: bool = False, as_json: bool = False, groups: Sequence[str] = (),
         fma_peak: float | None = None) -> int:
    """Compare fastnn with NumPy and with the course's loops on this machine, and print one table of ratios.

    threads: for each side; by default as many as fastnn uses, and some cases with one thread too.  quick: fewer
    sizes and rounds, about half a minute instead of three.  as_json: print one JSON object instead.  groups: names of
    cases; all by default.  fma_peak: GFLOP/s of one thread; the share of it that fastnn reaches is then shown.
    Returns the exit code of the process that measures.
    """
    say: Callable[[str], Any] = (lambda line: None) if as_json else partial(print, flush=True)
    found: list[dict[str, Any]] = []
    facts: dict[str, Any] = {"others": None}
    planned = passes(threads, groups)
    try:
        say("Median time of a call.  Ratio: NumPy's time over fastnn's in one round, the median of the rounds; above\n"
            "1, fastnn is faster.")
        for number, names in planned:
            with started(number, quick, names) as process:
                seen = follow(process.stdout, found, fma_peak, say)     # type: ignore[arg-type]
            if process.returncode:
                return process.returncode
            facts = seen | facts | {"others": busiest(facts["others"], seen["others"])}
        report(facts | {"fma_peak": fma_peak}, found, as_json)
    except BrokenPipeError:     # `fastnn bench | head`: who wanted to read has read
        pass
    return 0
