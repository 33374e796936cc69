"""What is promised of fastnn.ops beside NumPy, and whether the cells that benchmark_ops has measured keep it."""
import statistics
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from . import ops

Found = dict[str, Any]


class Target(NamedTuple):
    """A promise: no cell that counts takes more than bound times NumPy's time, its lower quartile where spread is True.
    bound: at one thread, and at more where that differs."""

    what: str
    counts: Callable[[Found], bool]
    bound: float
    spread: bool = False
    bound_of_more_threads: float | None = None


def of_group(*groups: str) -> Callable[[Found], bool]:
    return lambda cell: cell["group"] in groups


def of_floats(*names: str) -> Callable[[Found], bool]:
    return lambda cell: cell["name"] in names and cell["dtype"] == "float32" and cell["size"] >= 1000


TARGETS = (
    Target("element-wise", of_group("element-wise"), 1.0, spread=True),
    Target("broadcast", of_group("broadcast"), 1.0, spread=True),
    Target("reductions", of_group("reduction"), 1.0, spread=True),
    Target("matrix products, sides up to 256", of_group("product up to 256"), 1.0),
    Target("matrix products, longer sides", of_group("product up to 2,048"), 1.1),
    Target("matrix-vector and vector-matrix", of_group("matrix-vector"), 1.0),
    Target("dot of vectors", of_group("vectors"), 1.0),
    Target("matrix products of integers", of_group("integer product"), 0.2),
    Target("exp, log, tanh, float32 from 1,000 on", of_floats("exp", "log", "tanh"), 1.0, bound_of_more_threads=0.6),
    Target("sigmoid, softmax, float32 from 1,000 on", of_floats("sigmoid", "softmax"), 0.4),
)
MEAN_OF = ("element-wise", "broadcast", "reduction")
MEAN_BOUND = 0.75
OF_COPY = 0.85


def title(cell: Found) -> str:
    return " ".join(filter(None, [cell["name"], cell["case"], cell["dtype"], f"{cell['size']:,}"]))


def target_row(target: Target, cells: list[Found], threads: int) -> Found | None:
    """None where no cell of the promise has been measured."""
    bound = target.bound if threads == 1 or target.bound_of_more_threads is None else target.bound_of_more_threads
    counted = [cell for cell in cells if target.counts(cell)]
    if not counted:
        return None
    above = [cell for cell in counted if (cell["quartiles"][0] if target.spread else cell["ratio"]) > bound]
    worst = max(above or counted, key=lambda cell: cell["ratio"])
    return {"what": target.what, "asked": f"at most {bound:g}" + " within the spread" * target.spread,
            "measured": f"worst {worst['ratio']:.2f} ({title(worst)}); above: {len(above)} of {len(counted)} cells",
            "met": not above}


def mean_row(cells: list[Found]) -> Found | None:
    small = [cell["ratio"] for cell in cells if cell["group"] in MEAN_OF and cell["size"] <= 100_000]
    if not small:
        return None
    mean = statistics.geometric_mean(small)
    return {"what": "geometric mean of these three up to 100,000", "asked": f"at most {MEAN_BOUND:g}",
            "measured": f"{mean:.2f} of {len(small)} cells", "met": mean <= MEAN_BOUND}


def copy_row(cells: list[Found]) -> Found | None:
    """Bytes read and written in a second, of those that copying as many takes in the same round."""
    counted = [cell for cell in cells if cell["of_copy"]]
    if not counted:
        return None
    worst = min(counted, key=lambda cell: cell["of_copy"])
    below = sum(cell["of_copy"] < OF_COPY for cell in counted)
    return {"what": "memory-bound kernels, of the copy bandwidth", "asked": f"at least {100 * OF_COPY:.0f} %",
            "measured": f"worst {100 * worst['of_copy']:.0f} % ({title(worst)}); below: {below} of {len(counted)} "
            f"cells; copy {statistics.median(cell['copy'] for cell in counted) / 1e9:.1f} GB/s", "met": not below}


def target_rows(cells: list[Found], threads: int) -> list[Found]:
    """Every promise of which cells were measured: what, asked, measured, met."""
    bounds = [target_row(target, cells, threads) for target in TARGETS]
    rows = [*bounds[:3], mean_row(cells), *bounds[3:], copy_row(cells)]
    return [row | {"threads": threads} for row in rows if row]


def loses(cell: Found) -> bool:
    """Slower than NumPy by more than the spread."""
    return cell["quartiles"][0] > 1


def means(cells: Iterable[Found]) -> dict[str, float]:
    """The geometric mean of the ratios of each operation."""
    ratios: dict[str, list[float]] = {}
    for cell in cells:
        ratios.setdefault(cell["name"], []).append(cell["ratio"])
    return {name: statistics.geometric_mean(values) for name, values in ratios.items()}


def by_kind(cells: list[Found]) -> list[str]:
    """For each kind of operation, how many cells are above 1, and how many by more than the spread."""
    lines = []
    for kind in dict.fromkeys(operation.kind for operation in ops.OPERATIONS.values()):
        own = [cell for cell in cells if ops.OPERATIONS[cell["name"]].kind == kind]
        if own:
            mean = statistics.geometric_mean(cell["ratio"] for cell in own)
            above = sum(cell["ratio"] > 1 for cell in own)
            lines.append(f"{kind:<12}{len(own):>6} cells, above 1: {above:>4}, by more than the spread: "
                         f"{sum(map(loses, own)):>4}, geometric mean {mean:.2f}")
    return lines
