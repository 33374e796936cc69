"""Every case of `fastnn.benchmark`, side by side: a loop in Python, NumPy and fastnn in one group.

    pytest benches/ --benchmark-only --benchmark-group-by=group
"""
import pytest

from fastnn.benchmark import cases, warm_up

SIDES = [pytest.param(f"{case.group} {case.size}", make, id=f"{case.group} {case.size}-{name}")
         for case in cases() for name, make in case.sides.items()]


@pytest.mark.benchmark(min_rounds=3, max_time=0.3)
@pytest.mark.parametrize("group, make", SIDES)
def test_bench(benchmark, group, make):
    try:
        call = make()
    except ImportError as error:
        pytest.skip(f"needs {error.name}")
    warm_up(call)
    benchmark.group = group
    benchmark(call)
