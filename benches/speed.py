"""Every promise about speed, measured on the spot: fastnn beside other libraries and the processor's own peak.

    python benches/speed.py --peer-python VENV/bin/python --peer-script peer.py --fma-peak ./fma_peak

The peers live in an environment of their own:  python -m venv VENV && VENV/bin/pip install numpy scikit-learn torch jax
PEER.py is run as `PYTHON PEER.py PEER --threads N --epochs E --data FILE`, PEER being numpy or jax-scan; it trains
784-512-10 on MNIST and prints a JSON line with epoch_s, the seconds of each epoch.  FMA_PEAK is run as `FMA_PEAK N` and
prints {"gflops": peak of N threads}; from a C source:  cc -O3 -pthread fma_peak.c -o fma_peak
A row whose peer is not there says what it needs.  The data is the full MNIST, as mnist.load_data() finds it.

The sides run in turns, each in a process of its own, on the first N processors that this one may use and with N
threads.  A process counts with its best repetition (of its epochs: the best after the first); a row shows the median of
its rounds, with least and most, and is met or MISSED by that median.  Linux only.
"""
import argparse
import contextlib
import datetime
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import fastnn
from fastnn import benchmark
from fastnn.datasets import mnist

HERE = os.path.dirname(os.path.abspath(__file__))
EPOCHS = 5


class Program(NamedTuple):
    """What one process runs.  kind: own, small (small_peers.py), peer (--peer-script) or peak (--fma-peak)."""

    kind: str
    words: tuple[str, ...] = ()
    threads: int = 2
    isa: str = ""
    package: str = ""
    mnist: bool = False


PROGRAMS = {
    "epoch": Program("own", ("epoch",), mnist=True),
    "epoch avx2": Program("own", ("epoch",), isa="avx2", mnist=True),
    "epoch 1": Program("own", ("epoch",), 1, mnist=True),
    "epoch beside": Program("own", ("epoch", "--spinning"), mnist=True),
    "normal 1": Program("own", ("epoch", "--normal"), 1),
    "numpy": Program("peer", ("numpy",), package="numpy", mnist=True),
    "numpy 1": Program("peer", ("numpy",), 1, package="numpy", mnist=True),
    "jax-scan": Program("peer", ("jax-scan",), package="jax", mnist=True),
    "peak": Program("peak"),
    "peak 1": Program("peak", (), 1),
    "one": Program("own", ("case", "prediction", "1 x 784", "fastnn")),
    "one numpy": Program("own", ("case", "prediction", "1 x 784", "numpy")),
    "many": Program("own", ("case", "prediction", "10,000 x 784", "fastnn")),
    "many numpy": Program("own", ("case", "prediction", "10,000 x 784", "numpy")),
    "tanh": Program("own", ("tanh",)),
    "tanh torch": Program("small", ("torch", "tanh"), package="torch"),
    "small": Program("own", ("small",)),
    "small torch": Program("small", ("torch", "small"), package="torch"),
    "small sklearn": Program("small", ("sklearn", "small"), package="scikit-learn"),
    "step": Program("own", ("sparse", "step")),
    "sparse step": Program("own", ("sparse", "step", "0.1")),
    "predict": Program("own", ("sparse", "predict")),
    "sparse predict": Program("own", ("sparse", "predict", "0.1")),
    "imports": Program("own", ("imports",)),
    "memory": Program("own", ("memory",), mnist=True),
    "flat": Program("own", ("flat",)),
}


# From what the programs of a row print to two amounts, fastnn's and the other; from these to the value of the row.


def seconds(output: dict[str, Any]) -> float:
    return min(output["epoch_s"][1:]) if "epoch_s" in output else output["seconds"]


def times(ours: dict[str, Any], other: dict[str, Any]) -> tuple[float, float]:
    return seconds(ours), seconds(other)


def at_peak(ours: dict[str, Any], peak: dict[str, Any]) -> tuple[float, float]:
    """Our time, and that of the dense multiply-adds alone at the peak."""
    return seconds(ours), ours["flop"] / (1e9 * peak["gflops"])


def whole_fits(ours: dict[str, Any], other: dict[str, Any]) -> tuple[float, float]:
    """The mean of the epochs after the first: no single quiet moment decides."""
    ours_s, other_s = (statistics.mean(output["epoch_s"][1:]) for output in (ours, other))
    return ours_s, other_s


def pair(ours: dict[str, Any]) -> tuple[float, float]:
    first, second = ours["pair"]
    return first, second


def faster(ours: float, other: float) -> float:
    return other / ours


def slower(ours: float, other: float) -> float:
    return ours / other


def over(ours: float, other: float) -> float:
    return ours - other


UNITS = {"x": (1, ".2f"), "%": (100, ".0f"), "": (1, ".2f"), "ms": (1e3, ".1f"), "MB": (1e-6, ".1f")}  # scale, digits


class Row(NamedTuple):
    """One promise.  name: for --rows.  The value is at least or at most `bound`."""

    name: str
    what: str
    programs: tuple[str, ...]
    bound: float
    aim: str = ""
    value: Callable[[float, float], float] = faster
    pair: Callable[..., tuple[float, float]] = times
    unit: str = "x"

    @property
    def least(self) -> bool:
        return self.value is faster

    def text(self, value: float, digits: str = "") -> str:
        scale, usual = UNITS[self.unit]
        return f"{value * scale:{digits or usual}} {self.unit}".rstrip()

    def measured(self, values: list[float]) -> str:
        """The median, with least and most."""
        scale, digits = UNITS[self.unit]
        spread = " to ".join(f"{value * scale:{digits}}" for value in (min(values), max(values)))
        return f"{self.text(statistics.median(values))} ({spread})"

    def amount(self, value: float) -> str:
        return self.text(value) if self.unit == "MB" else benchmark.duration(value)

    def asked(self) -> str:
        aim = f" (aim {self.aim})" if self.aim else ""
        return f"{'at least' if self.least else 'at most'} {self.text(self.bound, 'g')}{aim}"


# Rows of one section share the programs of a round.
SECTIONS = [
    [Row("mnist-numpy", "MNIST epoch, 2 threads, vs NumPy", ("epoch", "numpy"), 4, "4.7"),
     Row("mnist-jax", "MNIST epoch, 2 threads, vs JAX, the epoch in one scan", ("epoch", "jax-scan"), 2.8, "3.5"),
     Row("mnist-peak", "MNIST epoch, 2 threads, of dense FMA at peak", ("epoch", "peak"), 0.62, "0.5", slower,
         at_peak, ""),
     Row("mnist-avx2", "MNIST epoch, 2 threads, FASTNN_ISA=avx2, vs NumPy", ("epoch avx2", "numpy"), 3)],
    [Row("mnist-1", "MNIST epoch, 1 thread, vs NumPy", ("epoch 1", "numpy 1"), 3.2)],
    [Row("dense", "784-512-10, normal data, 1 thread, of FMA peak", ("normal 1", "peak 1"), 0.85, "90 %", faster,
         at_peak, "%")],
    [Row("predict-1", "predict one MNIST digit vs NumPy", ("one", "one numpy"), 3, "under 8 us"),
     Row("predict-10000", "predict 10,000 digits vs NumPy", ("many", "many numpy"), 1.8)],
    [Row("tanh-peak", "4-32-16-4 tanh, batch of 10,000, of FMA peak", ("tanh", "peak"), 0.3, "", faster, at_peak,
         "%"),
     Row("tanh-torch", "4-32-16-4 tanh, batch of 10,000, vs PyTorch eager", ("tanh", "tanh torch"), 8)],
    [Row("small-torch", "20-16-2, batch 32, vs PyTorch eager", ("small", "small torch"), 15),
     Row("small-sklearn", "20-16-2, batch 32, vs scikit-learn", ("small", "small sklearn"), 8)],
    [Row("sparse-step", "a step of SparseDense(512, density=0.1) on 784 inputs vs Dense", ("sparse step", "step"), 4),
     Row("sparse-predict", "its prediction of 128 rows vs Dense", ("sparse predict", "predict"), 4)],
    [Row("spinning", "MNIST fit beside a spinning process per core, vs idle", ("epoch beside", "epoch"), 2.5, "",
         slower, whole_fits)],
    [Row("import", "import fastnn, over import numpy", ("imports",), 0.015, "", over, pair, "ms")],
    [Row("memory", "peak memory of a fit, over its input", ("memory",), 30e6, "", over, pair, "MB")],
    [Row("flat", "memory grown in 100,000 steps and predictions", ("flat",), 1e6, "", over, pair, "MB")],
]
NAMES = [row.name for rows in SECTIONS for row in rows]


# Running


class Failed(Exception):
    """A program ended with an error."""


class Place(NamedTuple):
    """What can be run here."""

    args: argparse.Namespace
    versions: dict[str, str | None]     # of the packages in --peer-python
    data: str | None                    # the file of MNIST
    processors: list[int]


def run(command: list[str], processors: list[int], environment: dict[str, str]) -> dict[str, Any]:
    """The JSON on the last line that a program prints."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)     # the new process inherits it
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    except OSError as error:
        raise Failed(str(error)) from error
    finally:
        os.sched_setaffinity(0, before)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Failed(f"exit code {done.returncode}: {last}")
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise Failed("it printed no JSON line") from error


def look_around(args: argparse.Namespace) -> Place:
    versions, data = {}, None
    if args.peer_python:
        versions = run([args.peer_python, "-E", os.path.join(HERE, "small_peers.py"), "versions"],
                       sorted(os.sched_getaffinity(0)), dict(os.environ))
    with contextlib.suppress(ImportError, OSError):
        mnist.load_data()       # fills the caches first where they have to be
        data = next((place for place in mnist.places() if os.path.exists(place)), None)
    return Place(args, versions, data, sorted(os.sched_getaffinity(0)))


def lacking(program: Program, place: Place) -> str | None:
    """What the program needs and does not find."""
    if program.kind in ("peer", "small") and not place.versions.get(program.package):
        return f"--peer-python with {program.package}"
    if program.kind == "peer" and not place.args.peer_script:
        return "--peer-script"
    if program.kind == "peak" and not place.args.fma_peak:
        return "--fma-peak"
    if program.mnist and not place.data:
        return "mnist.npz in $FASTNN_DATA"
    if program.threads > len(place.processors):
        return f"{program.threads} processors"
    if program.isa and not fastnn.info()["isas"].get(program.isa):
        return f"a processor with {program.isa}"
    return None


def command(program: Program, place: Place) -> list[str]:
    threads, peer_python = str(program.threads), [place.args.peer_python, "-E"]
    if program.kind == "own":
        return [sys.executable, os.path.join(HERE, "sides.py"), *program.words]
    if program.kind == "small":
        return [*peer_python, os.path.join(HERE, "small_peers.py"), *program.words, "--threads", threads]
    if program.kind == "peer":
        return [*peer_python, place.args.peer_script, *program.words, "--threads", threads, "--epochs", str(EPOCHS),
                "--data", str(place.data)]
    return [place.args.fma_peak, threads]


def environment(program: Program) -> dict[str, str]:
    """As many threads for every library as for fastnn, and nothing that slows NumPy."""
    with fastnn.threads(program.threads):
        fair = benchmark.fair_environment()
    fair.pop("FASTNN_ISA", None)
    return fair | ({"FASTNN_ISA": program.isa} if program.isa else {})


def rounds_of(rows: list[Row], place: Place) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """What each program of the rows printed, round by round, and why programs failed: the programs take turns."""
    names = list(dict.fromkeys(name for row in rows for name in row.programs))
    outputs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    failed: dict[str, str] = {}
    for _ in range(place.args.rounds):
        for name in names:
            if name not in failed:
                program = PROGRAMS[name]
                try:
                    output = run(command(program, place), place.processors[:program.threads], environment(program))
                    outputs[name].append(output)
                except Failed as error:
                    failed[name] = str(error)
    return outputs, failed


# The table


def result(row: Row, outputs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The row for --json: values and amounts are those of the rounds."""
    amounts = [row.pair(*of_round) for of_round in zip(*(outputs[name] for name in row.programs), strict=True)]
    values = [row.value(*both) for both in amounts]
    median = statistics.median(values)
    ours, other = (statistics.median(side) for side in zip(*amounts, strict=True))
    return {"name": row.name, "what": row.what, "asked": row.asked(), "values": values, "median": median,
            "measured": row.measured(values),
            "amounts": [ours, other], "sides": f"{row.amount(ours)} / {row.amount(other)}",
            "met": median >= row.bound if row.least else median <= row.bound}


def not_measured(row: Row, why: str) -> dict[str, Any]:
    return {"name": row.name, "what": row.what, "asked": row.asked(), "met": None, "measured": f"not measured: {why}",
            "sides": ""}


def measure(rows: list[Row], place: Place) -> list[dict[str, Any]]:
    """The results of the rows of a section."""
    needs = {row.name: next(filter(None, (lacking(PROGRAMS[name], place) for name in row.programs)), None)
             for row in rows}
    outputs, failed = rounds_of([row for row in rows if not needs[row.name]], place)
    found = []
    for row in rows:
        broken = next((name for name in row.programs if name in failed), None)
        if needs[row.name]:
            found.append(not_measured(row, f"needs {needs[row.name]}"))
        elif broken:
            found.append(not_measured(row, f"{broken} failed: {failed[broken]}"))
        else:
            found.append(result(row, outputs))
    return found


LINE = "{what:<56}{asked:<31}{measured:<27}{sides:<22}{met}"


def line(found: dict[str, Any]) -> str:
    met = {True: "met", False: "MISSED", None: ""}[found["met"]]
    return LINE.format(**found | {"met": met}).rstrip()


def named(versions: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version) or "none"


def parsed(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", metavar="PATH", help="the Python in which the peers are installed")
    parser.add_argument("--peer-script", metavar="PATH", help="the program that trains one peer")
    parser.add_argument("--fma-peak", metavar="PATH", help="the program that prints the FMA peak")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of every row (default: 5)")
    parser.add_argument("--rows", default=",".join(NAMES), metavar="A,B", help=f"only these of {', '.join(NAMES)}")
    parser.add_argument("--json", metavar="FILE", help="write the results there too")
    args = parser.parse_args(argv)
    args.rows = args.rows.split(",")
    unknown = [name for name in args.rows if name not in NAMES]
    if unknown or args.rounds < 1:
        parser.error(f"no such row: {', '.join(unknown)}" if unknown else "--rounds: 1 or more")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parsed(argv)
    place, others = look_around(args), benchmark.watch_others()
    facts = benchmark.machine() | {"peers": place.versions, "date": datetime.date.today().isoformat(),
                                   "rounds": args.rounds}
    print(f"{benchmark.describe(facts)}\nPeers: {named(place.versions)}.  Medians of {args.rounds} rounds.\n")
    print(LINE.format(what="", asked="asked", measured="measured", sides="fastnn / other", met="").rstrip(), flush=True)
    found = []
    for section in SECTIONS:
        for measured in measure([row for row in section if row.name in args.rows], place):
            found.append(measured)
            print(line(measured), flush=True)
    facts["others"] = others()
    print(f"\n{benchmark.disturbance(facts['others'])}")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"machine": facts, "rows": found}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
