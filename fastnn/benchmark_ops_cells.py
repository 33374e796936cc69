"""The cells of benchmark_ops: each operation of the registry, by element type, operands and size.

The lists of shapes are here; what can be computed follows from `fastnn.ops.OPERATIONS`.
"""
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from . import ops

SIZES = (1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000)
QUICK_SIZES = (1, 1000, 100_000)
LARGEST = SIZES[-1]
OUT_FROM = 1_000_000
THREADED_FROM = 9000     # multiply-adds: OpenBLAS takes fewer on one thread
SMALL = 256              # the longest side of a small matrix

SQUARES = (8, 16, 32, 64, 100, 128, 200, 256, 512, 1000, 1024, 2048)
MATRICES = ((1000, 100, 10), (10, 1000, 100), (100, 10_000, 10), (10, 100_000, 10), (10_000, 10, 100), (2000, 64, 64),
            (128, 784, 512), (64, 64, 2000))
WITH_VECTORS = ((10, 10), (100, 100), (1000, 1000), (100, 10_000), (10_000, 100), (10, 100_000), (2000, 2000))
BATCHES = (((32, 8, 8), (32, 8, 8)), ((32, 64, 64), (32, 64, 64)))
OUTER = ((10, 10), (100, 100), (1000, 1000), (10_000, 100))

CHEAP = ("relu", "negative", "absolute", "square", "add", "subtract", "multiply", "maximum", "minimum", "sum", "mean",
         "max", "min")
Shape = tuple[int, ...]


class Prepared(NamedTuple):
    """The calls of a cell, and how many bytes fastnn's has to read and write."""

    numpy: Callable[[], Any]
    fastnn: Callable[[], Any]
    nbytes: int


class Cell(NamedTuple):
    """One comparison.  group: what is promised of it.  size: elements, those of the largest operand."""

    group: str
    name: str
    case: str
    dtype: str
    size: int
    prepare: Callable[[], Prepared]
    wakes_blas: bool = False    # NumPy may use OpenBLAS' threads, which spin after a call
    memory_bound: bool = False


@cache
def drawn(seed: int) -> np.ndarray:
    return 1 + 9 * np.random.default_rng(seed).random(100_000)


@lru_cache(maxsize=3)
def flat(n: int, dtype: str, seed: int) -> np.ndarray:
    return np.resize(drawn(seed).astype(dtype), n)


def numbers(shape: Shape, dtype: str, seed: int = 0) -> np.ndarray:
    """Numbers from 1 to 10, for which every operation is defined; their products and sums fit an int32."""
    return flat(math.prod(shape), dtype, seed).reshape(shape)


def prepared(operation: ops.Operation, arguments: Sequence[Any], **keywords: Any) -> Prepared:
    """Up to a million elements each call makes its result; from there on both write to one that is there already.
    What NumPy composes takes no out=."""
    fast, reference, theirs = operation.function, operation.reference, arguments
    if operation.name == "relu":
        reference, theirs = np.maximum, [*arguments, 0]
    result = fast(*arguments, **keywords)
    nbytes = sum(x.nbytes for x in [*arguments, result] if isinstance(x, np.ndarray))
    ours = partial(fast, *arguments, **keywords)
    numpy = partial(reference, *theirs, **keywords)
    if np.size(result) < OUT_FROM or operation.kind == "shape":
        return Prepared(numpy, ours, nbytes)
    if operation.kind != "rows" and operation.name not in ("sigmoid", "tensordot"):
        numpy = partial(numpy, out=np.empty_like(result))
    return Prepared(numpy, partial(ours, out=result), nbytes)


def cell(operation: ops.Operation, dtype: str, size: int, group: str, case: str, operands: Sequence[Any],
         wakes_blas: bool = False, **keywords: Any) -> Cell:
    """operands: shapes, or Python's numbers."""
    def prepare() -> Prepared:
        arguments = [numbers(x, dtype, seed) if isinstance(x, tuple) else x for seed, x in enumerate(operands)]
        if case == "transposed":
            arguments[0] = arguments[0].T
        return prepared(operation, arguments, **keywords)

    memory_bound = (operation.name in CHEAP and size == LARGEST and case != "transposed"
                    and dtype in (ops.FLOATS if operation.name == "mean" else ops.SIGNED))
    return Cell(group, operation.name, case, dtype, size, prepare, wakes_blas, memory_bound)


def unary(operation: ops.Operation, dtype: str, n: int) -> Iterator[Cell]:
    yield cell(operation, dtype, n, "element-wise", "", [(n,)])


def rows(operation: ops.Operation, dtype: str, n: int) -> Iterator[Cell]:
    for cols in (10, 100, 1000):
        if n >= cols:
            yield cell(operation, dtype, n, "element-wise", f"rows of {cols}", [(n // cols, cols)])


def binary(operation: ops.Operation, dtype: str, n: int) -> Iterator[Cell]:
    this = partial(cell, operation, dtype, n)
    yield this("element-wise", "", [(n,), (n,)])
    yield this("broadcast", "number", [(n,), 2])
    if n >= 1000:
        yield this("broadcast", "row", [(n // 100, 100), (100,)])
        yield this("broadcast", "column", [(n // 100, 100), (n // 100, 1)])
        yield this("element-wise", "transposed", [(100, n // 100), (n // 100, 100)])
    if n >= 100_000:
        yield this("broadcast", "(..., 32, 10) + (32, 10)", [(n // 960, 3, 32, 10), (32, 10)])


def reduced_shapes(n: int) -> Iterator[tuple[Shape, int | None]]:
    """Shapes of about n elements and the axis to reduce: all, the first, the last, the middle."""
    side = math.isqrt(n)
    yield (n,), None
    if n < 100:
        yield (n,), 0
        return
    square = (side, n // side)
    long = [(n // 10, 10), (10, n // 10)] if 1000 <= n < LARGEST else []
    for shape in (square, *long):
        yield from [(shape, 0), (shape, -1)]
    if n >= 1000:
        yield (10, n // 100, 10), 1


def reduction(operation: ops.Operation, dtype: str, n: int) -> Iterator[Cell]:
    for shape, axis in reduced_shapes(n):
        yield cell(operation, dtype, n, "reduction", f"{shape} axis {axis}", [shape], axis=axis)


def shape(operation: ops.Operation, dtype: str, n: int) -> Iterator[Cell]:
    """What moves no element is measured by one element type and two sizes."""
    view = operation.name not in ("concatenate", "one_hot")
    if view and (dtype != "float32" or n not in (1, 100_000)) or operation.name == "one_hot" and n > 1_000_000:
        return
    x = numbers((1, n), dtype)
    arguments: dict[str, list[Any]] = {
        "reshape": [x, (n, 1)], "transpose": [x], "expand_dims": [x, 0], "squeeze": [x], "concatenate": [[x, x]],
        "one_hot": [np.minimum(x[0], 9).astype(dtype), 10]}
    yield Cell("shape", operation.name, "", dtype, n, lambda: prepared(operation, arguments[operation.name]))


def product_shapes(name: str, dtype: str, quick: bool) -> Iterator[tuple[str, Shape, Shape]]:
    """What is promised of a product, and the shapes of its operands."""
    floats, step = dtype in ops.FLOATS, 3 if quick else 1
    squares = SQUARES[::step] if floats and name == "matmul" else (8, 64, 256)
    matrices = [((m, k), (k, n)) for m, k, n in [(n, n, n) for n in squares] + list(MATRICES[::2 * step])
                + (list(MATRICES[1::2 * step]) if name == "matmul" and floats else [])]
    for x, y in matrices + list(BATCHES if name == "matmul" else ()):
        group = "product up to 256" if max(*x, *y) <= SMALL else "product up to 2,048"
        yield group if floats else "other product" if dtype == "uint8" else "integer product", x, y
    if name == "dot":
        for m, n in WITH_VECTORS[::step]:
            yield "matrix-vector" if floats else "other product", (m, n), (n,)
            yield "matrix-vector" if floats else "other product", (m,), (m, n)
        for n in QUICK_SIZES if quick else SIZES:
            yield "vectors" if floats else "other product", (n,), (n,)


def products(operation: ops.Operation, dtype: str, quick: bool) -> Iterator[Cell]:
    found: list[tuple[str, Shape, Shape]]
    if operation.name == "outer":
        found = [("other product", (m,), (n,)) for m, n in (OUTER[:2] if quick else OUTER)]
    elif operation.name == "tensordot":
        found = [("other product", (m, 8, 16), (8, 16, m)) for m in (4, 64)]
    else:
        found = list(product_shapes(operation.name, dtype, quick))
    for group, x, y in found:
        inner = y[0] if len(y) < 3 and operation.name != "outer" else 1
        work = math.prod(x) * math.prod(y) // inner
        yield cell(operation, dtype, max(math.prod(x), math.prod(y)), group, f"{x} . {y}", [x, y],
                   wakes_blas=dtype in ops.FLOATS and operation.name != "outer" and work >= THREADED_FROM)


BY_SIZE = {"unary": unary, "binary": binary, "rows": rows, "reduction": reduction, "shape": shape}


def unknown(names: Sequence[str]) -> list[str]:
    """Those that are neither an operation nor a kind of them."""
    return [name for name in names if name not in ops.OPERATIONS and name not in (*BY_SIZE, "product")]


def cells(quick: bool = False, only: Sequence[str] = ()) -> Iterator[Cell]:
    """The table, by the registry: every operation for each of its element types.  only: names or kinds."""
    for operation in ops.OPERATIONS.values():
        if only and operation.name not in only and operation.kind not in only:
            continue
        for dtype in operation.dtypes:
            if operation.kind == "product":
                yield from products(operation, dtype, quick)
                continue
            for n in QUICK_SIZES if quick else SIZES:
                yield from BY_SIZE[operation.kind](operation, dtype, n)
