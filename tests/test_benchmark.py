"""The bench command: what it compares computes the same, and its table names the machine.  No time is asserted."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fastnn import benchmark

CASES = benchmark.cases(quick=True)


def as_row(value):
    """A result, one array or several, as float64 in a row."""
    arrays = value if isinstance(value, list) else [value]
    return np.concatenate([np.ravel(array) for array in arrays]).astype("float64")


@pytest.mark.parametrize("case", CASES, ids=[f"{case.group} {case.size}" for case in CASES])
def test_sides_agree(case):
    calls = {name: make() for name, make in case.sides.items()}
    for _ in range(3):  # training goes on from the step before
        results = {name: as_row(call()) for name, call in calls.items()}
    expected = results.pop("numpy")
    assert np.ptp(expected) > 0 or expected.size == 1
    for name, found in results.items():
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max(), err_msg=name)


def test_table_covers_what_fastnn_does():
    groups = [
        "relu", "add", "broadcast add", "vector dot", "matrix-vector", "matrix-matrix", "Dense forward",
        "Dense forward + backward", "training step", "step on normal data", "prediction",
    ]
    for quick in (True, False):
        cases = benchmark.cases(quick)
        assert list(dict.fromkeys(case.group for case in cases)) == groups
        assert all({"numpy", "fastnn"} <= set(case.sides) <= set(benchmark.SIDES) for case in cases)
        assert sum("naive" in case.sides for case in cases) == 7
    assert {case[:2] for case in CASES} < {case[:2] for case in benchmark.cases()}


def test_numpy_gets_as_many_threads_and_nothing_that_slows_it(monkeypatch):
    for name in benchmark.SLOWING:
        monkeypatch.setenv(name, "Prescott")
    with benchmark.fastnn.threads(3):
        fair = benchmark.fair_environment()
    assert not set(benchmark.SLOWING) & set(fair)
    assert {fair[name] for name in benchmark.THREADS} == {"3"}


def test_result_takes_medians(monkeypatch):
    seconds = {"numpy": [4.0, 2.0, 9.0], "fastnn": [2.0, 1.0, 1.0]}
    monkeypatch.setattr(benchmark, "measure", lambda case, budget: seconds)
    found = benchmark.result(CASES[0], 1)
    assert found["seconds"] == {"numpy": 4.0, "fastnn": 1.0} and found["rounds"] == 3
    assert (found["ratio"], found["quartiles"]) == (2.0, [2.0, 5.5])


@pytest.mark.parametrize(
    "seconds, text", [(None, ""), (4.213e-7, "0.42 us"), (3.14159e-5, "31.4 us"), (0.1234, "123 ms"), (2.5, "2.50 s")]
)
def test_duration(seconds, text):
    assert benchmark.duration(seconds) == text


@pytest.fixture
def one_lost_case(monkeypatch):
    monkeypatch.setattr(benchmark, "measure", lambda case, budget: {"numpy": [1, 1, 1], "fastnn": [2, 2, 2]})
    monkeypatch.setattr(benchmark, "cases", lambda quick: CASES[:1])
    monkeypatch.setattr(benchmark.signal, "signal", lambda *_: None)


def test_losing_cells_are_named(one_lost_case, capsys):
    benchmark.report(quick=True, as_json=False)
    assert capsys.readouterr().out.endswith("\nNumPy is faster in: relu (16, 16) (0.50).\n")


def test_json(one_lost_case, capsys):
    benchmark.report(quick=True, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["machine"]["numpy"] == np.__version__ and found["numpy_is_faster_in"] == ["relu (16, 16) (0.50)"]
    assert found["cases"] == [
        {"group": "relu", "size": "(16, 16)", "rounds": 3, "ratio": 0.5, "quartiles": [0.5, 0.5],
         "seconds": {"numpy": 1, "fastnn": 2}},
    ]


def test_command_prints_a_table_and_names_the_machine():
    done = subprocess.run(
        [sys.executable, "-m", "fastnn", "bench", "--quick", "--threads", "1"],
        env=os.environ | {"OPENBLAS_CORETYPE": "Prescott"}, capture_output=True, text=True, timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert benchmark.machine()["cpu"] in done.stdout and f"NumPy {np.__version__}" in done.stdout
    assert "threads for each side: 1;" in done.stdout
    assert all(f"{case.group:<26}{case.size}" in done.stdout for case in CASES)
    assert "NumPy is faster in: " in done.stdout.splitlines()[-1]
