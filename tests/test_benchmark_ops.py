"""The bench of fastnn.ops: its cells cover the registry, both sides agree, its table adds up.  No time is asserted."""

import json

import numpy as np
import pytest

from fastnn import benchmark_ops, ops
from fastnn import benchmark_ops_cells as table
from fastnn import benchmark_ops_targets as targets

CELLS = [cell for cell in table.cells(quick=True) if cell.size <= 10_000]


def test_cells_cover_the_registry():
    found = {(cell.name, cell.dtype) for cell in table.cells()}
    once = {"reshape", "transpose", "expand_dims", "squeeze"}     # views: the element type does not matter
    assert found == {(op.name, dtype) for op in ops.OPERATIONS.values() for dtype in op.dtypes
                     if op.name not in once or dtype == "float32"}
    for name in ("add", "exp", "sum"):
        assert {cell.size for cell in table.cells(only=[name])} == set(table.SIZES)
    assert {cell.name for cell in table.cells(only=["rows", "dot"])} == {"softmax", "log_softmax", "dot"}
    assert {case.rpartition(" ")[2] for case in (cell.case for cell in table.cells(only=["max"]))} == {
        "None", "0", "-1", "1"}
    assert {cell.case for cell in table.cells(only=["add"])} == {
        "", "number", "row", "column", "transposed", "(..., 32, 10) + (32, 10)"}


@pytest.mark.parametrize("name, shapes, group, wakes", [
    ("matmul", "(8, 8) . (8, 8)", "product up to 256", False),
    ("matmul", "(256, 256) . (256, 256)", "product up to 256", True),
    ("matmul", "(2048, 2048) . (2048, 2048)", "product up to 2,048", True),
    ("matmul", "(100, 10000) . (10000, 10)", "product up to 2,048", True),
    ("dot", "(1000, 1000) . (1000,)", "matrix-vector", True),
    ("dot", "(1000,) . (1000, 1000)", "matrix-vector", True),
    ("dot", "(1000,) . (1000,)", "vectors", False),
    ("dot", "(10000,) . (10000,)", "vectors", True),
])
def test_groups_of_products(name, shapes, group, wakes):
    cell, = (cell for cell in table.cells(only=[name]) if (cell.case, cell.dtype) == (shapes, "float32"))
    assert (cell.group, cell.wakes_blas) == (group, wakes)


def test_every_promise_has_cells_and_every_group_is_known():
    plain = [cell._asdict() for cell in table.cells()]
    assert all(any(map(target.counts, plain)) for target in targets.TARGETS)
    named = {cell["group"] for cell in plain if any(target.counts(cell) for target in targets.TARGETS)}
    assert {cell["group"] for cell in plain} - named == {"other product", "shape"}
    assert {cell["group"] for cell in plain if cell["memory_bound"]} == {"element-wise", "broadcast", "reduction"}


@pytest.mark.parametrize("name", sorted({cell.name for cell in CELLS}))
def test_sides_agree(name):
    for cell in CELLS:
        if cell.name == name:
            numpy, fastnn = (call() for call in cell.prepare()[:2])
            assert numpy.dtype == fastnn.dtype
            np.testing.assert_allclose(fastnn, numpy, rtol=1e-5, atol=1e-5, err_msg=str(cell[:5]))


@pytest.mark.parametrize("name", ["relu", "add", "sum", "softmax", "sigmoid", "outer"])
def test_large_results_are_written_to_one_array(name, monkeypatch):
    monkeypatch.setattr(table, "OUT_FROM", 2)
    cell = list(table.cells(quick=True, only=[name]))[-1]
    numpy, fastnn, nbytes = cell.prepare()
    assert fastnn() is fastnn()
    np.testing.assert_allclose(fastnn(), numpy(), rtol=1e-5)
    assert nbytes >= cell.size * np.dtype(cell.dtype).itemsize


# The promises and the table


def cell(ratio, size, **changes):
    return {"group": "broadcast", "name": "add", "case": "row", "dtype": "int32", "size": size, "ratio": ratio,
            "quartiles": [0.9 * ratio, ratio], "numpy": 1e-6, "fastnn": ratio * 1e-6, "copy": None, "of_copy": None,
            **changes}


def rows(*cells, threads=2):
    return {row["what"]: (row["met"], row["measured"]) for row in targets.target_rows(list(cells), threads)}


def test_promises():
    found = rows(cell(0.25, 10), cell(1.05, 1000), cell(2.0, 1_000_000, of_copy=0.8, copy=2e10))
    assert found == {
        "broadcast": (False, "worst 2.00 (add row int32 1,000,000); above: 1 of 3 cells"),   # 1.05: within the spread
        "geometric mean of these three up to 100,000": (True, "0.51 of 2 cells"),
        "memory-bound kernels, of the copy bandwidth": (
            False, "worst 80 % (add row int32 1,000,000); below: 1 of 1 cells; copy 20.0 GB/s")}
    assert rows(cell(1.05, 10, group="vectors"))["dot of vectors"][0] is False
    exp = cell(0.7, 1000, group="element-wise", name="exp", dtype="float32")
    assert [rows(exp, threads=n)["exp, log, tanh, float32 from 1,000 on"][0] for n in (1, 2)] == [True, False]


def test_share_of_the_copy_bandwidth():
    rounds = [[2.0, 1.0], [4.0, 1.0], [1.0, 1.0]]      # seconds of fastnn and of the copy
    assert benchmark_ops.of_copy(rounds, nbytes=100, copied=200) == (200, 0.25)
    assert benchmark_ops.of_copy([[1.0]], 100, 0) == (None, None)


@pytest.mark.parametrize("threads", [1, 2])
def test_copying_copies(threads, monkeypatch):
    monkeypatch.setattr(benchmark_ops, "LARGEST", 1001)
    call, nbytes = benchmark_ops.copying.__wrapped__(threads)
    call()
    assert nbytes == 2 * 4 * 1001


def test_sides_rest_where_threads_spin(monkeypatch):
    slept = []
    monkeypatch.setattr(benchmark_ops.time, "sleep", slept.append)
    monkeypatch.setattr(benchmark_ops, "WARM_UP", 0)
    monkeypatch.setattr(benchmark_ops, "STRETCH", 0)
    for settle, times in ((False, {0}), (True, {benchmark_ops.SETTLE})):
        slept.clear()
        found = benchmark_ops.take_turns([lambda: 1, lambda: 2], settle)
        assert [len(seconds) for seconds in found] == [2] * benchmark_ops.ROUNDS
        assert set(slept) == times and len(slept) == 1 + 2 * benchmark_ops.ROUNDS * settle


def test_the_worst_cells_come_first(monkeypatch, capsys):
    found = iter([cell(0.25, 10), cell(1.5, 10_000_000), cell(1.0, 100_000)])
    monkeypatch.setattr(benchmark_ops, "cells", lambda quick, only: range(3))
    monkeypatch.setattr(benchmark_ops, "measure", lambda _: next(found))
    benchmark_ops.report(quick=True, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[3:6] for line in lines[4:7]] == [
        ["10,000,000", "1.00", "1.50"], ["100,000", "1.00", "1.00"], ["10", "1.00", "0.25"]]
    assert lines[8].split() == ("binary 3 cells, above 1: 1, by more than the spread: 1, geometric mean 0.72").split()
    assert [line.split()[0] for line in lines if "MISSED" in line] == ["broadcast"]


def test_json(monkeypatch, capsys):
    monkeypatch.setattr(benchmark_ops, "cells", lambda quick, only: CELLS[:1])
    monkeypatch.setattr(benchmark_ops, "STRETCH", 1e-5)
    benchmark_ops.report(quick=True, as_json=True)
    written = json.loads(capsys.readouterr().out)
    found = written["cells"][0]
    assert (found["name"], found["size"]) == (CELLS[0].name, CELLS[0].size) and found["ratio"] > 0
    assert written["targets"][0]["threads"] == written["machine"]["threads"]


def test_unknown_names_are_an_error(capsys):
    with pytest.raises(SystemExit) as stop:
        benchmark_ops.main(["--only", "exp,rows,cube"])
    assert stop.value.code == 2 and "no such operation or kind: cube" in capsys.readouterr().err
