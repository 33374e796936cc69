"""The bench command: what it compares computes the same, and its table names the machine.  No time is asserted."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fastnn import benchmark, benchmark_cases

# Where the sides are compared at other sizes than the quick run's: the same layers on a few batches, because steps of
# RMSprop make differences of rounding grow, and smaller layers where the real ones would take long.
COMPARED = {
    "epoch of digits": [(64, 32), (256, 128)],
    "epoch of sparse rows": [(64, 32, 20_000, 64, 2)],
    "SGD step on normal data": [(16, 256, 256, 256), (256, 512, 384, 128)],
}
PAIRS = [(group, size) for group in benchmark.TABLE for size in COMPARED.get(group.name, group.sizes[:group.quick])]


def as_row(value):
    """A result, one array or several, as float64 in a row."""
    arrays = value if isinstance(value, list) else [value]
    return np.concatenate([np.ravel(array) for array in arrays]).astype("float64")


@pytest.mark.parametrize("group, size", PAIRS, ids=[f"{group.name} {group.label(*size)}" for group, size in PAIRS])
def test_sides_agree(group, size):
    if group.name == "epoch of sparse rows":
        pytest.importorskip("scipy")
    calls = {name: make(*size) for name, make in group.sides.items() if name != "naive" or size == group.sizes[0]}
    for _ in range(3):  # training goes on from the step before
        results = {name: as_row(call()) for name, call in calls.items()}
    expected = results.pop("numpy")
    assert np.ptp(expected) > 0 or expected.size == 1
    for name, found in results.items():
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max(), err_msg=name)


@pytest.mark.parametrize("group", [group for group in benchmark.TABLE if "epoch" in group.name or "step" in group.name],
                         ids=lambda group: group.name)
def test_training_moves_every_layer(group):
    """Else sides that agree would show nothing."""
    if group.name == "epoch of sparse rows":
        pytest.importorskip("scipy")
    size = COMPARED.get(group.name, group.sizes)[0]
    call = group.sides["numpy"](*size)
    first = [weight.copy() for weight in call()]
    assert all((before != after).any() for before, after in zip(first, call(), strict=True))


def test_table_covers_what_fastnn_does():
    groups = [
        "relu", "add", "broadcast add", "vector dot", "matrix-vector", "matrix-matrix", "Dense forward",
        "Dense forward + backward", "epoch of digits", "step on normal data", "SGD step on normal data",
        "epoch of sparse rows", "prediction",
    ]
    for quick in (True, False):
        cases = benchmark.cases(quick)
        expected = [name for name in groups if not quick or name != "SGD step on normal data"]
        assert list(dict.fromkeys(case.group for case in cases)) == expected
        assert all({"numpy", "fastnn"} <= set(case.sides) <= set(benchmark.SIDES) for case in cases)
        assert sum("naive" in case.sides for case in cases) == 7
    assert {case[:2] for case in benchmark.cases(quick=True)} < {case[:2] for case in benchmark.cases()}
    assert [case.size for case in benchmark.cases(groups=["prediction"])] == ["1 x 784", "10,000 x 784"]


def test_flop_counts_multiply_adds_twice():
    # 3-4-2 on 5 rows: forward 12 + 8, gradients of the weights 12 + 8, dx of the second layer 8 for each row
    assert benchmark_cases.training_flop(5, 3, 4, 2) == 2 * 5 * 48
    flop = {case[:2]: case.flop for case in benchmark.cases()}
    assert flop["matrix-matrix", "(16, 16) . (16, 16)"] == 2 * 16**3
    assert flop["prediction", "10,000 x 784"] == 2 * 10_000 * (784 * 512 + 512 * 10)
    assert flop["epoch of digits", "10,000 of them, batch 32"] == benchmark_cases.training_flop(9984, 784, 512, 10)
    assert flop["relu", "(16, 16)"] == 0


def test_one_thread_is_measured_too_where_there_are_more(set_threads):
    names = [group.name for group in benchmark.TABLE]
    set_threads(2)
    assert benchmark.passes(None, ()) == [(2, names), (1, ["epoch of digits"])]
    assert benchmark.passes(None, ["relu"]) == [(2, ["relu"])]
    assert benchmark.passes(3, ["relu", "epoch of digits"]) == [(3, ["relu", "epoch of digits"])]
    set_threads(1)
    assert benchmark.passes(None, ()) == [(1, names)]
    with pytest.raises(ValueError, match="no cases 'relu6', 'epoch'. Choose from 'relu', 'add'"):
        benchmark.passes(None, ["relu6", "relu", "epoch"])


def test_numpy_gets_as_many_threads_and_nothing_that_slows_it(monkeypatch):
    for name in benchmark.SLOWING:
        monkeypatch.setenv(name, "Prescott")
    with benchmark.fastnn.threads(3):
        fair = benchmark.fair_environment()
    assert not set(benchmark.SLOWING) & set(fair)
    assert {fair[name] for name in benchmark.THREADS} == {"3"}


CASE = benchmark.cases(quick=True)[0]


def test_result_takes_medians(monkeypatch):
    seconds = {"numpy": [4.0, 2.0, 9.0], "fastnn": [2.0, 1.0, 1.0]}
    monkeypatch.setattr(benchmark, "measure", lambda case, budget: seconds)
    found = benchmark.result(CASE, 1)
    assert found["seconds"] == {"numpy": 4.0, "fastnn": 1.0} and found["rounds"] == 3
    assert (found["ratio"], found["quartiles"]) == (2.0, [2.0, 5.5])


def test_share_of_peak():
    found = {"flop": 6e9, "seconds": {"fastnn": 0.5}, "threads": 2}
    assert benchmark.share_of_peak(found, 8) == 0.75        # 12 of 2 x 8 GFLOP/s
    assert benchmark.share_of_peak(found, None) is None
    assert benchmark.share_of_peak(found | {"flop": 0}, 8) is None


@pytest.mark.parametrize(
    "seconds, text", [(None, ""), (4.213e-7, "0.42 us"), (3.14159e-5, "31.4 us"), (0.1234, "123 ms"), (2.5, "2.50 s")]
)
def test_duration(seconds, text):
    assert benchmark.duration(seconds) == text


@pytest.fixture
def lines(monkeypatch, capsys):
    """What the measuring process prints for a case that loses and one that has nothing to run with."""
    cases = [CASE._replace(flop=2_000_000_000), CASE._replace(size="sparse")]

    def measure(case, budget):
        if case.size == "sparse":
            raise ModuleNotFoundError("no scipy", name="scipy")
        return {"numpy": [1, 1, 1], "fastnn": [2, 2, 2]}

    monkeypatch.setattr(benchmark, "measure", measure)
    monkeypatch.setattr(benchmark, "cases", lambda quick, groups: cases)
    monkeypatch.setattr(benchmark.signal, "signal", lambda *_: None)
    with benchmark.fastnn.threads(1):
        benchmark.worker(True, [])
    return capsys.readouterr().out.splitlines()


def test_losing_cells_are_named(lines, capsys):
    found, said = [], []
    facts = benchmark.follow(lines, found, 2.0, said.append)
    benchmark.report(facts, found, as_json=False)
    assert capsys.readouterr().out.endswith("\nNumPy is faster in: relu (16, 16), 1 thread (0.50).\n")
    assert said[0] == f"\n{benchmark.describe(benchmark.machine() | {'threads': 1})}"
    assert [said[1].split()[-1], said[2].split()[-2:]] == ["peak", ["50", "%"]]
    assert said[3].split() == "relu sparse not measured: needs scipy".split()


def test_json(lines, capsys):
    found = []
    benchmark.report(benchmark.follow(lines, found, None, lambda line: None), found, as_json=True)
    result = json.loads(capsys.readouterr().out)
    assert result["machine"]["numpy"] == np.__version__ and "others" in result["machine"]
    assert result["numpy_is_faster_in"] == ["relu (16, 16), 1 thread (0.50)"]
    assert result["not_measured"] == ["relu sparse, 1 thread: needs scipy"]
    assert result["cases"] == [
        {"group": "relu", "size": "(16, 16)", "threads": 1, "rounds": 3, "ratio": 0.5, "quartiles": [0.5, 0.5],
         "flop": 2_000_000_000, "seconds": {"numpy": 1, "fastnn": 2}, "share": None},
    ]


def bench(*options, **environment):
    return subprocess.run([sys.executable, "-m", "fastnn", "bench", "--quick", *options], env=os.environ | environment,
                          capture_output=True, text=True, timeout=120)


def test_command_prints_a_table_and_names_the_machine():
    groups = ["relu", "prediction"]
    done = bench("--threads", "1", "--only", ",".join(groups), OPENBLAS_CORETYPE="Prescott")
    assert (done.returncode, done.stderr) == (0, "")
    assert benchmark.machine()["cpu"] in done.stdout and f"NumPy {np.__version__}" in done.stdout
    assert "threads for each side: 1;" in done.stdout
    assert all(f"{case.group:<26}{case.size}" in done.stdout for case in benchmark.cases(True, groups))
    assert "NumPy is faster in: " in done.stdout.splitlines()[-1]


def test_passes_are_joined_in_one_object(monkeypatch, capfd):
    monkeypatch.setattr(benchmark, "passes", lambda threads, groups: [(2, ["vector dot"]), (1, ["vector dot"])])
    assert benchmark.main(quick=True, as_json=True, fma_peak=100.0) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["machine"]["fma_peak"] == 100 and found["machine"]["threads"] == 2
    sizes = [case.size for case in benchmark.cases(True, ["vector dot"])]
    assert [(cell["size"], cell["threads"]) for cell in found["cases"]] == [
        (size, threads) for threads in (2, 1) for size in sizes]
    assert found["machine"]["others"] is None or found["machine"]["others"] >= 0


def test_unknown_cases_are_an_error_of_one_line():
    done = bench("--only", "relu6")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fastnn: error: There are no cases 'relu6'. Choose from 'relu', ")
