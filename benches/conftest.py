"""What the benches need of pytest: a process in which NumPy is not held back, and the machine's name on the result."""
import os
import sys

import pytest

from fastnn import benchmark


def pytest_configure(config):
    """Begin again with the environment that NumPy reads when it is imported, unless this process has it."""
    fair = benchmark.fair_environment()
    if fair != dict(os.environ) and not hasattr(config, "workerinput"):
        config.pluginmanager.getplugin("capturemanager").suspend_global_capture(in_=True)
        os.execve(sys.executable, sys.orig_argv, fair)


def pytest_report_header():
    return benchmark.describe(benchmark.machine())


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info):
    """For --benchmark-json."""
    machine_info |= benchmark.machine()
