"""The bench of fastnn.ops: its cells cover the registry, both sides agree, its table adds up.  No time is asserted."""

import json

import numpy as np
import pytest

from fastnn import benchmark_ops, ops

CELLS = [cell for cell in benchmark_ops.cells(quick=True) if cell.size <= 1000]


def test_cells_cover_the_registry():
    found = {(cell.name, cell.dtype) for cell in CELLS}
    kinds = ("unary", "binary", "rows")
    assert found == {(op.name, dtype) for op in ops.OPERATIONS.values() if op.kind in kinds for dtype in op.dtypes}
    assert {cell.size for cell in benchmark_ops.cells(only="add")} == set(benchmark_ops.SIZES)


@pytest.mark.parametrize("name", sorted({cell.name for cell in CELLS}))
def test_sides_agree(name):
    for cell in CELLS:
        if cell.name == name:
            numpy, fastnn = (call() for call in cell.prepare())
            assert numpy.dtype == fastnn.dtype
            np.testing.assert_allclose(fastnn, numpy, rtol=1e-5, atol=1e-5, err_msg=str(cell[:4]))


def cell(ratio, size):
    return {"name": "add", "case": "row", "dtype": "int32", "size": size, "ratio": ratio, "quartiles": [ratio, ratio],
            "numpy": 1e-6, "fastnn": ratio * 1e-6}


def test_the_worst_cells_come_first(monkeypatch, capsys):
    found = iter([cell(0.25, 10), cell(1.5, 10_000_000), cell(1.0, 100_000)])
    monkeypatch.setattr(benchmark_ops, "cells", lambda quick, only: range(3))
    monkeypatch.setattr(benchmark_ops, "measure", lambda _: next(found))
    benchmark_ops.report(quick=True, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[3:7] for line in lines[-5:-2]] == [
        ["10,000,000", "1.00", "1.50", "1.50"], ["100,000", "1.00", "1.00", "1.00"], ["10", "1.00", "0.25", "0.25"]]
    assert lines[-1] == "3 cells; above 1: 1; geometric mean up to 100,000 elements: 0.50."


def test_json(monkeypatch, capsys):
    monkeypatch.setattr(benchmark_ops, "cells", lambda quick, only: CELLS[:1])
    monkeypatch.setattr(benchmark_ops, "STRETCH", 1e-5)
    benchmark_ops.report(quick=True, as_json=True)
    found = json.loads(capsys.readouterr().out)["cells"][0]
    assert (found["name"], found["size"]) == (CELLS[0].name, CELLS[0].size) and found["ratio"] > 0
