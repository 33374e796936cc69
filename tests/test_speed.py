"""benches/speed.py, page.py and sides.py: their arithmetic and their tables, with small programs in the peers' place.

No time is asserted."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnn import benchmark, benchmark_cases, benchmark_ops_targets

if not hasattr(os, "sched_setaffinity"):
    pytest.skip("benches/speed.py is for Linux", allow_module_level=True)

BENCHES = Path(__file__).resolve().parent.parent / "benches"


def load(name):
    spec = importlib.util.spec_from_file_location(f"benches_{name}", BENCHES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gradients, page, sides, small_peers, speed = map(load, ["gradients", "page", "sides", "small_peers", "speed"])
ROWS = {row.name: row for rows in speed.SECTIONS for row in rows}


def place(rounds=1, versions=None, data="mnist.npz", processors=(0, 1), **args):
    absent = dict.fromkeys(["peer_python", "peer_script", "fma_peak"])
    args = speed.argparse.Namespace(**absent | {"rounds": rounds} | args)
    return speed.Place(args, versions or {}, data, list(processors))


# The table


def test_every_program_is_used_and_every_promise_is_a_row():
    assert {name for row in ROWS.values() for name in row.programs} == set(speed.PROGRAMS)
    asked = {name: row.asked() for name, row in ROWS.items()}
    assert asked == {
        "mnist-numpy": "at least 4 x (aim 4.7)", "mnist-jax": "at least 2.8 x (aim 3.5)",
        "mnist-peak": "at most 0.62 (aim 0.5)", "mnist-avx2": "at least 3 x", "mnist-1": "at least 3.2 x",
        "dense": "at least 85 % (aim 90 %)", "predict-1": "at least 3 x (aim under 8 us)",
        "predict-10000": "at least 1.8 x", "tanh-peak": "at least 30 %", "tanh-torch": "at least 8 x",
        "small-torch": "at least 15 x", "small-sklearn": "at least 8 x", "spinning": "at most 2.5 x",
        "sparse-step": "at least 4 x", "sparse-predict": "at least 4 x",
        "import": "at most 15 ms", "memory": "at most 30 MB", "flat": "at most 1 MB",
    }


PRINTED = {   # two rounds of each
    "epoch": [{"epoch_s": [9, 0.4, 0.2], "flop": 8e9}, {"epoch_s": [9, 0.5, 0.5], "flop": 8e9}],
    "epoch beside": [{"epoch_s": [9, 0.6, 0.6]}, {"epoch_s": [9, 1.5, 0.5]}],
    "numpy": [{"epoch_s": [0.1, 0.6, 1.0]}, {"epoch_s": [0.1, 2.5, 3.0]}],
    "peak": [{"gflops": 80.0}, {"gflops": 160.0}],
    "tanh": [{"seconds": 0.002, "flop": 8e7}, {"seconds": 0.004, "flop": 8e7}],
    "imports": [{"pair": [0.060, 0.050]}, {"pair": [0.080, 0.052]}],
    "memory": [{"pair": [130e6, 100e6]}, {"pair": [140e6, 120e6]}],
}


@pytest.mark.parametrize("name, values, measured, shown, met", [
    ("mnist-numpy", [3, 5], "4.00 x (3.00 to 5.00)", "350 ms / 1.55 s", True),     # the first epoch does not count
    ("mnist-peak", [2, 10], "6.00 (2.00 to 10.00)", "350 ms / 75.0 ms", False),
    ("spinning", [2, 2], "2.00 x (2.00 to 2.00)", "800 ms / 400 ms", True),
    ("tanh-peak", [0.5, 0.125], "31 % (12 to 50)", "3.00 ms / 750 us", True),
    ("import", [0.010, 0.028], "19.0 ms (10.0 to 28.0)", "70.0 ms / 51.0 ms", False),
    ("memory", [30e6, 20e6], "25.0 MB (20.0 to 30.0)", "135.0 MB / 110.0 MB", True),
])
def test_row(name, values, measured, shown, met):
    found = speed.result(ROWS[name], PRINTED)
    assert found["values"] == pytest.approx(values)
    assert (found["measured"], found["sides"], found["met"]) == (measured, shown, met)
    line = speed.line(found)
    assert [part in line for part in (ROWS[name].what, ROWS[name].asked(), measured, shown)] == [True] * 4
    assert line.split()[-1] == ("met" if met else "MISSED")


@pytest.mark.parametrize("name, here, needs", [
    ("mnist-numpy", place(), "--peer-python with numpy"),
    ("mnist-jax", place(versions={"numpy": "2"}, peer_script="peer.py"), "--peer-python with jax"),
    ("mnist-jax", place(versions={"jax": "1"}), "--peer-script"),
    ("mnist-peak", place(), "--fma-peak"),
    ("mnist-peak", place(data=None, fma_peak="peak"), "mnist.npz in $FASTNN_DATA"),
    ("tanh-torch", place(versions={"torch": None}), "--peer-python with torch"),
    ("small-sklearn", place(versions={"torch": "2"}), "--peer-python with scikit-learn"),
    ("flat", place(processors=[3]), "2 processors"),
])
def test_a_row_that_cannot_be_measured_says_what_it_needs(name, here, needs, monkeypatch):
    monkeypatch.setattr(speed, "run", lambda *_: pytest.fail("nothing is to run"))
    found, = speed.measure([ROWS[name]], here)
    assert found["met"] is None and found["measured"] == f"not measured: needs {needs}"
    assert speed.line(found).endswith(f"not measured: needs {needs}")


# Running


def test_sides_take_turns_and_a_broken_peer_breaks_its_own_row_only(monkeypatch):
    ran = []

    def run(command, processors, environment):
        ran.append([name for name in speed.PROGRAMS if speed.command(speed.PROGRAMS[name], here) == command][0])
        assert processors == [4, 6] and environment["FASTNN_NUM_THREADS"] == environment["OMP_NUM_THREADS"] == "2"
        if "jax-scan" in command:
            raise speed.Failed("exit code 1: no XLA")
        return {"epoch_s": [9, 4 if "numpy" in command else 1]}

    monkeypatch.setattr(speed, "run", run)
    here = place(3, {"numpy": "2", "jax": "1"}, processors=[4, 6, 7], peer_python="python", peer_script="peer.py")
    numpy_row, jax_row = speed.measure([ROWS["mnist-numpy"], ROWS["mnist-jax"]], here)
    assert ran == ["epoch", "numpy", "jax-scan"] + ["epoch", "numpy"] * 2
    assert numpy_row["values"] == [4, 4, 4] and numpy_row["met"]
    assert jax_row["measured"] == "not measured: jax-scan failed: exit code 1: no XLA"


def test_environment_of_a_side(monkeypatch):
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "FASTNN_ISA"):
        monkeypatch.setenv(name, "baseline")
    plain, forced = (speed.environment(speed.PROGRAMS[name]) for name in ("epoch 1", "epoch avx2"))
    assert not {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "FASTNN_ISA"} & set(plain)
    assert {plain["FASTNN_NUM_THREADS"], plain["OPENBLAS_NUM_THREADS"], plain["OMP_NUM_THREADS"]} == {"1"}
    assert (forced["FASTNN_ISA"], forced["OPENBLAS_NUM_THREADS"]) == ("avx2", "2")


@pytest.mark.parametrize("code, message", [
    ("import sys; sys.exit('no such peer')", "exit code 1: no such peer"),
    ("print('hello')", "it printed no JSON line"),
])
def test_run_says_what_failed(code, message):
    with pytest.raises(speed.Failed, match=message):
        speed.run([sys.executable, "-c", code], sorted(os.sched_getaffinity(0)), dict(os.environ))


def test_run_sets_the_processors_of_the_side_alone():
    before = os.sched_getaffinity(0)
    code = "import os, json; print('noise'); print(json.dumps({'cpus': len(os.sched_getaffinity(0))}))"
    assert speed.run([sys.executable, "-c", code], sorted(before)[:1], dict(os.environ)) == {"cpus": 1}
    assert os.sched_getaffinity(0) == before


PEER = """
import argparse, json, sys
parser = argparse.ArgumentParser()
parser.add_argument("peer")
for option in ("threads", "epochs", "data"):
    parser.add_argument("--" + option, required=True)
args = parser.parse_args()
open(args.data, "rb").close()
print("training", args.peer)
print(json.dumps({"epoch_s": [8.0 * int(args.threads)] * int(args.epochs)}))
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs 2 processors")
def test_command_prints_the_table_and_writes_json(tmp_path, monkeypatch, capsys, mnist_path):
    peak = tmp_path / "fma_peak"
    peak.write_text(f'#!{sys.executable}\nimport sys\nprint(\'{{"gflops": %d}}\' % (100 * int(sys.argv[1])))\n')
    peak.chmod(0o755)
    (tmp_path / "peer.py").write_text(PEER)
    own = tmp_path / "own.py"
    own.write_text("print('{\"epoch_s\": [9, 2.0], \"flop\": 200e9, \"pair\": [3e6, 1e6]}')\n")
    monkeypatch.setenv("FASTNN_DATA", str(mnist_path.parent))
    monkeypatch.setattr(speed, "PROGRAMS", {
        name: program._replace(kind="fake") if program.kind == "own" else program
        for name, program in speed.PROGRAMS.items()} | {
        "jax-scan": speed.PROGRAMS["jax-scan"]._replace(package="no-such-package")})
    real = speed.command
    monkeypatch.setattr(speed, "command", lambda program, here: [sys.executable, str(own)]
                        if program.kind == "fake" else real(program, here))
    options = ["--peer-python", sys.executable, "--peer-script", str(tmp_path / "peer.py"), "--fma-peak", str(peak)]
    names = "mnist-numpy,mnist-jax,mnist-peak,flat"
    assert speed.main([*options, "--rounds", "2", "--rows", names, "--json", str(tmp_path / "speed.json")]) == 0
    out = capsys.readouterr().out.splitlines()
    lines = {name: next(line for line in out if line.startswith(ROWS[name].what + " ")) for name in names.split(",")}
    assert lines["mnist-numpy"].endswith("8.00 x (8.00 to 8.00)      2.00 s / 16.0 s       met")
    assert lines["mnist-peak"].split()[-1] == lines["flat"].split()[-1] == "MISSED"
    assert lines["mnist-jax"].endswith("needs --peer-python with no-such-package")
    written = json.loads((tmp_path / "speed.json").read_text())
    assert [(row["name"], row["met"]) for row in written["rows"]] == [
        ("mnist-numpy", True), ("mnist-jax", None), ("mnist-peak", False), ("flat", False)]
    assert written["machine"]["peers"]["numpy"] == np.__version__ and written["machine"]["rounds"] == 2


@pytest.mark.parametrize("options, message", [
    (["--rows", "mnist-numpy,mnist"], "no such row: mnist"), (["--rounds", "0"], "--rounds: 1 or more")])
def test_wrong_options(options, message, capsys):
    with pytest.raises(SystemExit) as stop:
        speed.parsed(options)
    assert stop.value.code == 2 and message in capsys.readouterr().err


# fastnn's sides, small


def test_epochs():
    rng = np.random.default_rng(0)
    x, y = rng.random((256, 784), "float32"), np.eye(10, dtype="float32")[rng.integers(0, 10, 256)]
    found = sides.epochs(x, y, count=3, beside=1)
    assert len(found["epoch_s"]) == 3 and min(found["epoch_s"]) > 0
    assert found["flop"] == benchmark_cases.training_flop(256, 784, 512, 10)


def test_normal_data_has_no_zeros():
    x, y = sides.normal(200)
    assert x.shape == (200, 784) and (x != 0).all() and (y.sum(1) == 1).all()


def test_small_sides():
    found = sides.tanh(steps=2, repeats=2)
    assert found["seconds"] > 0 and found["flop"] == 10_000 * 2 * (3 * (4 * 32 + 32 * 16 + 16 * 4) - 4 * 32)
    assert sides.small(repeats=1)["seconds"] > 0
    assert sides.case("prediction", "1 x 784", "numpy", stretches=2)["seconds"] > 0


def test_imports_and_memory():
    both, numpy = sides.imports(repeats=1)["pair"]
    assert both > numpy > 0
    peak, before = sides.memory(*sides.normal(256))["pair"]
    assert peak >= before > 1e6
    after, before = sides.flat(1000)["pair"]
    assert after > 1e6 and before > 1e6


def test_versions_of_peers():
    found = small_peers.versions()
    assert found["numpy"] == np.__version__ and set(found) == set(small_peers.PACKAGES)
    assert {program.package for program in speed.PROGRAMS.values()} - {""} == set(small_peers.PACKAGES)


# The page


@pytest.fixture
def measured(tmp_path):
    """Files as the two commands write them, each in two pieces: a promise missed, a case lost."""
    machine = benchmark.machine()
    rows = [speed.result(ROWS[name], PRINTED) for name in ("mnist-numpy", "mnist-peak")]
    rows.append(speed.not_measured(ROWS["mnist-jax"], "needs --peer-python with jax"))
    cell = {"group": "relu", "size": "(16, 16)", "threads": 2, "rounds": 3, "quartiles": [1, 2], "flop": 0,
            "share": None, "seconds": {"naive": 1, "numpy": 2e-3, "fastnn": 1e-3}}
    cases = [cell | {"ratio": 2.0}, cell | {"group": "prediction", "size": "1 x 784", "ratio": 0.5, "share": 0.25}]
    facts = machine | {"date": "2026-01-02", "rounds": 5, "peers": {"numpy": "2.0", "jax": None}}
    for number in (0, 1):
        others = {"others": 0.25 + number}
        (tmp_path / f"speed{number}").write_text(json.dumps({"machine": facts | others, "rows": rows[number::2]}))
        (tmp_path / f"bench{number}").write_text(json.dumps(
            {"machine": machine | others | {"fma_peak": 117.0}, "cases": cases[number::2],
             "not_measured": ["sparse, 2 threads: needs scipy"] * number}))
    return tmp_path


def test_page_names_first_what_falls_short(measured, capsys):
    names = {kind: [str(measured / f"{kind}{number}") for number in (0, 1)] for kind in ("speed", "bench")}
    assert page.main(["--speed", *names["speed"], "--bench", *names["bench"]]) == 0
    text = capsys.readouterr().out
    short, promises, beside, how = text.split("\n## ")[1:]
    assert short.strip().splitlines()[2:] == [
        f"- **{ROWS['mnist-peak'].what}: 6.00 (2.00 to 10.00)**, asked is at most 0.62 (aim 0.5)",
        "- **NumPy is faster: prediction 1 x 784, 2 threads, ratio 0.50**",
        f"- {ROWS['mnist-jax'].what}: not measured: needs --peer-python with jax",
        "- sparse, 2 threads: needs scipy",
    ]
    assert f"| {ROWS['mnist-numpy'].what} | at least 4 x (aim 4.7) | 4.00 x (3.00 to 5.00) | " in promises
    assert f"| **{ROWS['mnist-peak'].what}** | " in promises and "| **MISSED** |" in promises
    assert "| relu | (16, 16) | 2 | 1.00 s | 2.00 ms | 1.00 ms | 2.00 | 1.00 to 2.00 |  |" in beside
    assert "| **prediction** | **1 x 784** | **2** |" in beside and "| **25 %** |" in beside
    assert "1.25 cores busy" in promises and "117 GFLOP/s" in beside
    assert "--rounds 5" in how and "--fma-peak 117 " in how
    assert "2026-01-02" in text and f"NumPy {np.__version__}" in text and "numpy 2.0" in text


def test_page_without_anything_to_confess(measured):
    promised = page.joined([str(measured / "speed0")], "rows")
    beside = page.joined([str(measured / "bench0")], "cases", "not_measured")
    for row in promised["rows"]:
        row["met"] = True
    beside["machine"]["fma_peak"] = None
    lines = list(page.page(promised, beside))
    assert "- Nothing: every promise is met, and NumPy is faster in no case." in lines
    assert not any("of peak" in line.lower() and line.startswith("|") for line in lines)
    assert not any("--fma-peak 1" in line for line in lines)


def test_promises_of_gradients():
    found = {("fastnn", "book"): [[1.0, 2.0], [1.0, 4.0], [2.0, 5.0]], ("fastnn", "ops"): [[1.0, 3.5]] * 3,
             ("torch", "ops"): [[1.0, 7.0]] * 3}
    rows = list(gradients.promises(found, 2))
    assert [(row["what"], row["asked"], row["measured"], row["met"]) for row in rows] == [
        ("gradient with NumPy functions, over its forward pass, 2 threads", "at most 3 x", "2.50 x (2.00 to 4.00)",
         True),
        ("gradient with fastnn.ops, over its forward pass, 2 threads", "at most 3 x", "3.50 x (3.50 to 3.50)", False),
        ("gradient with fastnn.ops vs PyTorch eager, 2 threads", "at least 1 x", "2.00 x (2.00 to 2.00)", True)]
    lines = list(gradients.table(found, rows, 2))
    assert lines[1].split() == ["fastnn", "book", "1.000", "4.000", "4.00"]
    assert [line.split()[-1] for line in lines[-3:]] == ["met", "MISSED", "met"]


def cell_of_ops(ratio, name="add"):
    return {"group": "element-wise", "name": name, "case": "", "dtype": "int32", "size": 10, "ratio": ratio,
            "quartiles": [ratio, ratio], "numpy": 1e-6, "fastnn": ratio * 1e-6, "copy": None, "of_copy": None}


def test_page_takes_in_operations_and_gradients(measured):
    parts = []
    for threads in (1, 2):
        cells = [cell_of_ops(1.5), cell_of_ops(0.5)]
        cells += [cell_of_ops(1 + i / 100, "exp") for i in range(1, 50)] * (threads - 1)
        rows = benchmark_ops_targets.target_rows(cells, threads)
        parts.append({"machine": {"threads": threads, "others": 0.0}, "targets": rows, "cells": cells * 2})
    promised = list(gradients.promises({("fastnn", s): [[1.0, 4.0]] for s in ("book", "ops")}, 1))
    text = "\n".join(page.page(page.joined([str(measured / "speed0")], "rows"),
                               page.joined([str(measured / "bench0")], "cases", "not_measured"), parts,
                               [{"machine": {"others": 0.0}, "rows": promised}]))
    short, ops, gradient = (text.split(f"\n## {title}\n")[1].split("\n## ")[0]
                            for title in ("What falls short", "fastnn.ops", "Gradients"))
    assert "- **element-wise, 2 threads: worst 1.50 (add int32 10); above: 50 of 51 cells**" in short
    assert "- **gradient with fastnn.ops, over its forward pass, 1 thread: 4.00 x (4.00 to 4.00)**" in short
    assert "| **element-wise, 1 thread** | **at most 1 within the spread** |" in ops
    assert "in 102 of 106 cells" in ops and "And 42 more, none with a ratio above 1.21." in ops
    assert ops.count("| exp int32 10 | 2 | ") == 56
    assert "| add | 0.87 | 0.87 |\n| exp |  | 1.24 |" in ops
    assert "| **4.00 x (4.00 to 4.00)** | **4.00 ms / 1.00 ms** | **MISSED** |" in gradient
