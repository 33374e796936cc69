"""Where batches come from: arrays, files larger than memory, and whatever can be iterated over."""
import itertools
import math
import sys
import warnings
from typing import Any, NamedTuple

import numpy as np

from . import _core

PART_ROWS = 4096        # of a mapped array that are converted at once for a prediction


class Rows(NamedTuple):
    """Checked arrays for the compiled loop: x, y, and the weights of the samples or None."""

    x: Any
    y: Any
    weights: Any = None

    @property
    def count(self):
        return len(self.x)

    def part(self, rows):
        return Rows(self.x[rows], self.y[rows], None if self.weights is None else self.weights[rows])


class Stretch(NamedTuple):
    """Batches first .. last - 1 of rows, in an order or as they stand."""

    rows: Rows
    order: Any
    batch_size: int
    first: int
    last: int


class Arrays:
    """Batches of arrays in memory: an epoch is one stretch."""

    def __init__(self, rows, batch_size, steps=None):
        self.rows, self.samples, self.batch_size = rows, rows.count, min(batch_size, rows.count)
        self.batches = math.ceil(self.samples / self.batch_size)
        self.wanted, self.steps = steps, steps or self.batches
        self.at, self.order, self.number = 0, None, 0

    def of(self, rows, *cut):
        """The same of other rows, cut differently if that is given."""
        return type(self)(rows, *(cut or (self.batch_size, self.wanted)))

    def epoch(self, seed=None, number=0):
        """The stretches of an epoch, shuffled by seed unless it is None.  With fewer steps than there are batches, an
        epoch goes on where the last one ended."""
        if self.at == 0:
            self.order, self.number = None if seed is None else _core.permutation(self.samples, seed, number), number
        first, last = self.at, min(self.at + self.steps, self.batches)
        if last - first < self.steps:
            ran_out(last - first, self.steps)
        self.at = last % self.batches
        return self.stretches(first, last)

    def restart(self):
        """Have the next epoch begin with the first batch."""
        self.at = 0

    def begun(self):
        """Where the next epoch begins: the batch, and the epoch that drew the order."""
        return self.at, self.number

    def go_to(self, begun, seed):
        """Have the next epoch begin where begun() was asked for."""
        if begun is not None and begun[0]:
            self.at, self.number = begun
            self.order = None if seed is None else _core.permutation(self.samples, seed, self.number)

    def stretches(self, first, last):
        yield Stretch(self.rows, self.order, self.batch_size, first, last)


class Mapped(Arrays):
    """The same of arrays that must be converted batch by batch, because whole they may not fit in memory."""

    def __init__(self, rows, batch_size, steps, check):
        super().__init__(rows, batch_size, steps)
        self.check = check

    def of(self, rows, *cut):
        return type(self)(rows, *(cut or (self.batch_size, self.wanted)), self.check)

    def stretches(self, first, last):
        for batch in range(first, last):
            chosen = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            rows = self.check(*self.rows.part(chosen if self.order is None else self.order[chosen]))
            yield Stretch(rows, None, rows.count, 0, 1)


class Batches:
    """(x, y[, weights]) batches of an iterator, of what can be iterated over anew, or, by index, of an object with a
    length, whose batches are shuffled.  check(x, y, weights) makes Rows of one.

    An iterator goes on where the last epoch ended.  The first batch is checked at once.
    """

    samples = None

    def __init__(self, source, steps, check):
        self.source, self.wanted, self.check = source, steps, check
        self.passing = hasattr(source, "__next__")          # an iterator, which can't begin anew
        self.indexed = hasattr(source, "__getitem__") and hasattr(source, "__len__") and not self.passing
        self.steps = steps or (len(source) if hasattr(source, "__len__") else None)
        self.taken, self.drawn = 0, 0       # batches of the iterator at hand; 1 + the epoch that drew its order
        self.left = self.begin(None)
        first = next(self.left, None)
        if first is None:
            raise ValueError(f"x gives no batches: {source!r} is empty.")
        self.first = self.rows(first)
        self.left = itertools.chain([first], self.left)

    def begin(self, order):
        if not self.indexed:
            return iter(self.source)
        return (self.source[int(i)] for i in (range(len(self.source)) if order is None else order))

    def begun(self):
        """Where the next epoch begins: the batches before it, and what drew their order."""
        return self.taken, self.drawn

    def go_to(self, begun, seed):
        """Pass over the batches before the place that begun() told."""
        if begun is None:
            return
        self.taken, self.drawn = begun
        if self.drawn and seed is not None:
            self.left = self.begin(_core.permutation(len(self.source), seed, self.drawn - 1))
        for _ in itertools.islice(self.left, self.taken):
            pass

    def rows(self, batch):
        return self.check(*unpacked(batch))

    def restart(self):
        if not self.passing:
            self.left = self.begin(None)

    def epoch(self, seed=None, number=0):
        """The batches of an epoch, which goes on where the last one ended if it was told how many to take."""
        order = _core.permutation(len(self.source), seed, number) if self.indexed and seed is not None else None
        if self.indexed and self.wanted is None:
            self.left = self.begin(order)
        batches = list(itertools.islice(self.left, 1))
        if not batches and not self.passing:
            self.left, self.taken, self.drawn = self.begin(order), 0, 0 if order is None else number + 1
            batches = list(itertools.islice(self.left, 1))
        done = 0
        for batch in itertools.islice(itertools.chain(batches, self.left), self.wanted):
            rows = self.rows(batch)
            done, self.taken = done + 1, self.taken + 1
            yield Stretch(rows, None, rows.count, 0, 1)
        if done < (self.wanted or 1):
            ran_out(done, self.wanted or 1)
        if self.wanted is None and not self.passing:
            self.taken = 0                  # the next epoch begins anew
        self.steps = self.wanted or done
        if self.indexed and hasattr(self.source, "on_epoch_end"):
            self.source.on_epoch_end()


def parts(x, steps=None):
    """What x gives batch by batch, without y, or an array some rows at a time."""
    if hasattr(x, "__array__"):
        return (np.array(x[first:first + PART_ROWS], order="C") for first in range(0, len(x), PART_ROWS))
    indexed = hasattr(x, "__getitem__") and hasattr(x, "__len__")
    batches = (x[i] for i in range(len(x))) if indexed else iter(x)
    return (batch[0] if isinstance(batch, (tuple, list)) else batch for batch in itertools.islice(batches, steps))


def unpacked(batch):
    """x, y and weights of a batch."""
    parts = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
    if not 1 <= len(parts) <= 3:
        raise ValueError(f"A batch must be (x, y) or (x, y, sample_weight), received {len(parts)} parts.")
    return parts + (None,) * (3 - len(parts))


def ran_out(done, steps):
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals["__name__"].startswith("fastnn."):
        frame, level = frame.f_back, level + 1
    warnings.warn(f"The data ran out after {done} of the {steps} batches of an epoch. Give at least "
                  "steps_per_epoch * epochs batches, or something that can be iterated over again.",
                  stacklevel=level)


def are_batches(x, y=None):
    """Whether x gives batches rather than being samples."""
    if isinstance(x, (list, tuple)):
        return bool(x) and y is None and all(isinstance(batch, tuple) for batch in x)
    if x is None or hasattr(x, "__array__") or hasattr(x, "tocsr") or isinstance(x, (str, bytes, dict, np.generic)):
        return False
    return hasattr(x, "__iter__") or hasattr(x, "__getitem__") and hasattr(x, "__len__")
