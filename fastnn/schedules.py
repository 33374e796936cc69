"""Schedules: learning rates as functions of the step, in Keras' words.

Also reachable as fastnn.optimizers.schedules.  A schedule is given as an optimizer's learning_rate; the rate of a step
depends on its number alone, so training that is resumed takes the same rates.  Computed in float64 by sums,
products and quotients alone: the same bits on every machine.
"""
import math
import numbers
from functools import lru_cache

from .utils import Configured, made

LOG_2 = 0.6931471805599453
LOG_2_NEAR, LOG_2_REST = 0.6931471803691238, 1.9082149292705877e-10    # log(2) in two parts, the first short


class LearningRateSchedule(Configured):
    """The base of the schedules here, and of your own: schedule(step) gives the rate of the step, counted from 0.

    >>> class Falling(LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.1 / (step + 1)
    """

    def __call__(self, step):
        raise TypeError(f"{type(self).__name__} must override __call__(step), the rate of the step, counted from 0.")

    def check(self, word, value, least=0.0, above=None):
        """An error unless value is a finite number >= least, or > above."""
        number = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
        if not number or (value < least if above is None else value <= above):
            bound = f"{least:g} or more" if above is None else f"above {above:g}"
            raise ValueError(f"{type(self).__name__}: {word} must be a finite number, {bound}, received {value!r}.")


class _Decay(LearningRateSchedule):
    """What the two decays by a rate share; staircase: only whole numbers of step / decay_steps."""

    def __init__(self, initial_learning_rate, decay_steps, decay_rate, staircase=False, name=None):
        self.initial_learning_rate, self.decay_steps, self.decay_rate = initial_learning_rate, decay_steps, decay_rate
        self.staircase, self.name = staircase, name or type(self).__name__
        self.check("initial_learning_rate", initial_learning_rate)
        self.check("decay_steps", decay_steps, above=0)
        self.check("decay_rate", decay_rate)

    def past(self, step):
        """step / decay_steps, or the whole part of it."""
        return math.floor(step / self.decay_steps) if self.staircase else step / self.decay_steps


class ExponentialDecay(_Decay):
    """initial_learning_rate decay_rate^(step / decay_steps); staircase: only whole powers."""

    def __call__(self, step):
        return self.initial_learning_rate * power(self.decay_rate, self.past(step))


class InverseTimeDecay(_Decay):
    """initial_learning_rate / (1 + decay_rate step / decay_steps); staircase: only whole step / decay_steps."""

    def __call__(self, step):
        return self.initial_learning_rate / (1 + self.decay_rate * self.past(step))


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] up to step boundaries[0], included, then values[1] up to boundaries[1], ..., values[-1] after the last.

    boundaries: rising numbers.  values: one more.
    """

    def __init__(self, boundaries, values, name="PiecewiseConstant"):
        self.boundaries, self.values, self.name = list(boundaries), list(values), name
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(f"PiecewiseConstantDecay takes one value more than boundaries, received "
                             f"{len(self.boundaries)} boundaries and {len(self.values)} values.")
        for value in self.values:
            self.check("each of values", value)
        for low, high in zip(self.boundaries, self.boundaries[1:], strict=False):
            self.check(f"the boundary after {low!r}", high, above=low)

    def __call__(self, step):
        return self.values[sum(step > boundary for boundary in self.boundaries)]


class PolynomialDecay(LearningRateSchedule):
    """(initial_learning_rate - end_learning_rate) (1 - step / decay_steps)^power + end_learning_rate, and
    end_learning_rate after decay_steps; cycle: instead decay_steps grows to the next multiple that is not passed."""

    def __init__(self, initial_learning_rate, decay_steps, end_learning_rate=0.0001, power=1.0, cycle=False,
                 name="PolynomialDecay"):
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.end_learning_rate, self.power, self.cycle, self.name = end_learning_rate, power, cycle, name
        self.check("initial_learning_rate", initial_learning_rate)
        self.check("decay_steps", decay_steps, above=0)
        self.check("end_learning_rate", end_learning_rate)
        self.check("power", power)

    def __call__(self, step):
        rounds = max(1, math.ceil(step / self.decay_steps)) if self.cycle else 1
        left = 1 - min(step / (self.decay_steps * rounds), 1.0)
        return (self.initial_learning_rate - self.end_learning_rate) * power(left, self.power) + self.end_learning_rate


class CosineDecay(LearningRateSchedule):
    """From initial_learning_rate to its share alpha along half a cosine, in decay_steps (Loshchilov and Hutter 2016):
    rate ((1 - alpha) (1 + cos(pi step / decay_steps)) / 2 + alpha).

    warmup_target: first a line from initial_learning_rate up to it, in warmup_steps (Goyal et al. 2017), from where
    the cosine starts.
    """

    def __init__(self, initial_learning_rate, decay_steps, alpha=0.0, name="CosineDecay", warmup_target=None,
                 warmup_steps=0):
        self.initial_learning_rate, self.decay_steps, self.alpha, self.name = (
            initial_learning_rate, decay_steps, alpha, name)
        self.warmup_target, self.warmup_steps = warmup_target, warmup_steps
        self.check("initial_learning_rate", initial_learning_rate)
        self.check("decay_steps", decay_steps, above=0)
        self.check("alpha", alpha)
        self.check("warmup_steps", warmup_steps)
        if warmup_target is not None:
            self.check("warmup_target", warmup_target)

    def __call__(self, step):
        rate = self.initial_learning_rate
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return (self.warmup_target - rate) * (step / self.warmup_steps) + rate
            rate, step = self.warmup_target, step - self.warmup_steps
        return rate * ((1 - self.alpha) * half_cosine(min(step / self.decay_steps, 1.0)) + self.alpha)


class CosineDecayRestarts(LearningRateSchedule):
    """CosineDecay that starts again after first_decay_steps, then after t_mul times as many, and so on, each time from
    m_mul times the rate (Loshchilov and Hutter 2016)."""

    def __init__(self, initial_learning_rate, first_decay_steps, t_mul=2.0, m_mul=1.0, alpha=0.0, name="SGDRDecay"):
        self.initial_learning_rate, self.first_decay_steps = initial_learning_rate, first_decay_steps
        self.t_mul, self.m_mul, self.alpha, self.name = t_mul, m_mul, alpha, name
        self.check("initial_learning_rate", initial_learning_rate)
        self.check("first_decay_steps", first_decay_steps, above=0)
        self.check("t_mul", t_mul, 1.0)
        self.check("m_mul", m_mul)
        self.check("alpha", alpha)

    def __call__(self, step):
        past, restarts = step / self.first_decay_steps, 0
        if self.t_mul == 1:
            restarts = math.floor(past)
            past -= restarts
        while past >= 1:
            past, restarts = (past - 1) / self.t_mul, restarts + 1
        cosine = half_cosine(past) * power(self.m_mul, restarts)
        return self.initial_learning_rate * ((1 - self.alpha) * cosine + self.alpha)


def power(base, exponent):
    """base ** exponent for both >= 0, exact where that is plain to see."""
    if exponent in (0, 1) or base in (0, 1):
        return float(base if exponent else 1)
    x = exponent * logarithm(base)
    if x < -700:
        return 0.0
    n = round(x / LOG_2)
    r, total = x - n * LOG_2_NEAR - n * LOG_2_REST, 1.0
    for i in range(14, 0, -1):
        total = 1 + total * r / i
    return math.ldexp(total, n)


@lru_cache(64)
def logarithm(x):
    """log(x) for x > 0: of mantissa and exponent, 2 artanh((m - 1) / (m + 1))."""
    mantissa, exponent = math.frexp(x)
    s, total = (mantissa - 1) / (mantissa + 1), 0.0
    for i in range(35, 0, -2):
        total = total * (s * s) + 1 / i
    return exponent * LOG_2 + 2 * s * total


def half_cosine(x):
    """(1 + cos(pi x)) / 2 = cos(pi x / 2)^2 for x from 0 to 1, within 2^-50: Taylor's series, up to pi/4."""
    if x > 0.5:
        return 1 - half_cosine(1 - x)
    square, total = (x * (math.pi / 2)) ** 2, 1.0
    for n in range(18, 0, -2):
        total = 1 - total * square / (n * (n - 1))
    return total * total


SCHEDULES = {cls.__name__: cls for cls in (CosineDecay, CosineDecayRestarts, ExponentialDecay, InverseTimeDecay,
                                           PiecewiseConstantDecay, PolynomialDecay)}


def get(schedule):
    """A LearningRateSchedule from an object, or from what described() gave: its class_name and config."""
    return made("schedule", schedule, LearningRateSchedule, {name.lower(): cls for name, cls in SCHEDULES.items()})
