"""Fixtures: each instruction set of this CPU, each element type, thread counts, and the full MNIST."""

import os
from pathlib import Path

import pytest

from fastnn import _core

os.environ["PYTHONSAFEPATH"] = "1"     # subprocesses import the installed package, not the source folder

ROOT = Path(__file__).resolve().parent.parent
ISAS = [name for name, supported in _core.isas().items() if supported]


def pytest_collection_modifyitems(config, items):
    """A test that hangs fails after five minutes where pytest-timeout is installed."""
    if config.pluginmanager.hasplugin("timeout"):
        for item in items:
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture
def set_isa():
    """`_core.set_isa`, undone after the test."""
    before = _core.get_isa()
    yield _core.set_isa
    _core.set_isa(before)


@pytest.fixture(params=ISAS)
def isa(request, set_isa):
    """Each compiled instruction set that this CPU has, in use during the test."""
    set_isa(request.param)
    return request.param


@pytest.fixture
def fma_isas():
    """Names of the instruction sets that agree bit for bit: all but the baseline."""
    return [name for name in ISAS if name != "baseline"] or pytest.skip("this CPU has no FMA")


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def set_threads():
    """`_core.set_threads`, undone after the test."""
    before = _core.get_threads()
    yield _core.set_threads
    _core.set_threads(before)


@pytest.fixture(scope="session")
def mnist_path():
    """The full MNIST in Keras' layout: $FASTNN_DATA/mnist.npz or ../shared/data/mnist.npz; skips without."""
    path = Path(os.environ.get("FASTNN_DATA") or ROOT.parent / "shared" / "data") / "mnist.npz"
    return path if path.is_file() else pytest.skip("needs mnist.npz in $FASTNN_DATA or ../shared/data")
