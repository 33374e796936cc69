"""Optimizers: how weights move along their gradients.  Formulas and defaults are Keras'.

Each names a compiled rule, its numbers, and the slots: arrays of a weight's shape that the rule keeps for it.
"""
import math
import numbers

from . import _core, schedules
from .utils import Configured, described, made, raise_unknown

# Words of Keras that mean something else here than their one value that is accepted.
ABSENT = {"centered": False, "momentum": 0.0, "use_ema": False, "ema_momentum": 0.99,
          "ema_overwrite_frequency": None, "loss_scale_factor": None, "gradient_accumulation_steps": None}
INSTEAD = {"decay": "Give learning_rate a schedule: fastnn.optimizers.schedules.InverseTimeDecay(rate, 1, decay)."}


class Optimizer(Configured):
    """The base of the optimizers here, and of one written in Python.

    learning_rate (or lr): the size of a step, a number or a schedule of fastnn.optimizers.schedules.
    weight_decay: each step first takes the share learning_rate weight_decay off every weight (Loshchilov and Hutter
    2019).  Gradients are clipped before that, by one of: clipvalue, the largest size of an element; clipnorm, of each
    weight's gradient as a vector; global_clipnorm, of all of them as one vector.
    iterations: steps taken.  slots: for each weight, its slot arrays.
    A Python optimizer leaves `compiled_rule` None and overrides update_step:

    >>> class Sign(Optimizer):
    ...     def update_step(self, gradient, weight, slots):
    ...         weight -= self.learning_rate * np.sign(gradient)
    """

    compiled_rule: str | None = None
    slot_names: tuple[str, ...] = ()

    def __init__(self, learning_rate, lr=None, weight_decay=None, clipnorm=None, clipvalue=None, global_clipnorm=None,
                 name=None, **absent):
        self._refuse(absent)
        self.iterations, self._stepping = 0, 0
        self.learning_rate = learning_rate if lr is None else lr
        self.weight_decay, self.clipnorm = weight_decay, clipnorm
        self.clipvalue, self.global_clipnorm = clipvalue, global_clipnorm
        self.name = name or type(self).__name__.lower()
        self.slots = None
        self._weights, self._lasting, self._spared = [], [], ([], [])
        for key, value in self.numbers().items():
            self.check(key, value)
        self._check_words()

    def _refuse(self, absent):
        for word, value in absent.items():
            if word not in ABSENT:
                raise_unknown(type(self), word, INSTEAD)
            if value != ABSENT[word] and word != "ema_momentum":
                raise ValueError(f"{type(self).__name__}: {word}={value!r} is not supported. Leave it out, or write an "
                                 "Optimizer of your own with update_step().")

    def _check_words(self):
        if self.weight_decay is not None:
            self.check("weight_decay", self.weight_decay)
        clips = {word: getattr(self, word) for word in ("clipnorm", "clipvalue", "global_clipnorm")}
        given = {word: value for word, value in clips.items() if value is not None}
        for word, value in given.items():
            self.check(word, value)
            if not value:
                raise ValueError(f"{type(self).__name__}: {word} must be above 0, or None for no clipping, received "
                                 f"{value!r}.")
        if len(given) > 1:
            raise ValueError(f"{type(self).__name__}: only one of clipnorm, clipvalue and global_clipnorm can be set, "
                             f"received {', '.join(f'{word}={value!r}' for word, value in given.items())}.")

    def check(self, key, value):
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value) or value < 0:
            raise ValueError(f"{type(self).__name__}: {key} must be a finite number, 0 or more, received {value!r}.")

    @property
    def learning_rate(self):
        """The rate of the coming step.  It may be assigned, unless it follows a schedule."""
        schedule = self.schedule
        return self._learning_rate if schedule is None else schedule(self.iterations - self._stepping)

    @learning_rate.setter
    def learning_rate(self, value):
        if isinstance(value, dict):
            value = schedules.get(value)
        if getattr(self, "schedule", None) is not None and not isinstance(value, schedules.LearningRateSchedule):
            raise TypeError(f"This {type(self).__name__} follows the schedule {type(self.schedule).__name__}, so its "
                            f"learning_rate cannot be assigned, received {value!r}. Give the optimizer a number as "
                            "learning_rate if it is to be changed later, or assign another schedule.")
        self._learning_rate = value

    @property
    def schedule(self):
        """The schedule that the learning rate follows, or None."""
        rate = getattr(self, "_learning_rate", None)
        return rate if isinstance(rate, schedules.LearningRateSchedule) else None

    def get_config(self):
        """The constructor's words and their values, as plain data."""
        schedule = self.schedule
        config = super().get_config()
        return config if schedule is None else {**config, "learning_rate": described(schedule)}

    def numbers(self):
        """The rule's numbers by name."""
        return {"learning_rate": self.learning_rate}

    def build(self, weights, names=None):
        """Slots for weights, those that there are already by identity.  names: of the weights, for
        exclude_from_weight_decay.  An optimizer keeps to the model whose weights it has first seen."""
        known = {id(w): slots for w, slots in zip(self._weights, self.slots or (), strict=True)}
        if known and not any(id(w) in known for w in weights):
            raise ValueError(f"This {type(self).__name__} already belongs to another model's weights. "
                             "Give each model an optimizer of its own.")
        self.slots = [known[id(w)] if id(w) in known else [self.first_slot(w) for _ in self.slot_names]
                      for w in weights]
        self._weights = list(weights)
        arrays, parts = self._spared
        self._lasting = [any(w is a for a in arrays) or any(part in name for part in parts)
                         for w, name in zip(weights, names or [""] * len(weights), strict=True)]

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Spare from weight_decay the weights in var_list, and those in whose name ('kernel', 'bias', ...) one of the
        strings of var_names occurs: exclude_from_weight_decay(var_names=['bias']).  Takes effect with the next fit."""
        self._spared = list(var_list or ()), list(var_names or ())

    @property
    def asks_names(self):
        """Whether weights are spared from weight decay by their names."""
        return bool(self._spared[1])

    def lasting(self, weights):
        """For each of the weights, whether it is spared from weight decay."""
        spared = {id(w) for w, lasts in zip(self._weights, self._lasting, strict=True) if lasts}
        return [id(w) in spared for w in weights]

    def first_slot(self, weight):
        return _core.aligned(weight.shape, weight.dtype)

    def rule(self):
        """The compiled rule with today's numbers, or None for an optimizer written in Python."""
        if self.compiled_rule is None or type(self).update_step is not Optimizer.update_step:
            return None
        return self._rule(self.compiled_rule, self.numbers(), self._words())

    def _rule(self, name, numbers, words):
        self.check("learning_rate", numbers["learning_rate"])
        return _core.Rule(name, step=self.iterations, schedule=self.schedule, **numbers, **words)

    def _words(self):
        """What comes before the rule, where it is asked for."""
        words = ("weight_decay", "clipnorm", "clipvalue", "global_clipnorm")
        return {word: value for word in words if (value := getattr(self, word))}

    def apply(self, gradients, weights):
        """One step: every weight moves along its gradient, in place, or none if update_step raises."""
        own = {id(w): i for i, w in enumerate(self._weights)}
        if not all(id(w) in own for w in weights):
            self.build(weights)
            own = {id(w): i for i, w in enumerate(self._weights)}
        slots = [self.slots[own[id(w)]] for w in weights]
        arrays = [array for weight, its in zip(weights, slots, strict=True) for array in (weight, *its)]
        before = [array.copy() for array in arrays]
        self.iterations, self._stepping = self.iterations + 1, 1
        try:
            for gradient, weight, its in zip(self._prepared(gradients, weights), weights, slots, strict=True):
                self.update_step(gradient, weight, its)
        except BaseException:
            self.iterations -= 1
            for array, old in zip(arrays, before, strict=True):
                array[...] = old
            raise
        finally:
            self._stepping = 0

    def _prepared(self, gradients, weights):
        """The gradients clipped; weights decay in place."""
        if not self._words():
            return gradients
        copies = [gradient.copy() for gradient in gradients]
        rule = self._rule("sgd", {"learning_rate": self.learning_rate}, self._words())
        total = sum(_core.sizes(gradient)[1] for gradient in copies)
        for weight, gradient, lasts in zip(weights, copies, self.lasting(weights), strict=True):
            rule.prepare(weight, gradient, lasts, total, self.iterations)
        return copies

    def update_step(self, gradient, weight, slots):
        """Move one weight and its slots, in place, in step number `iterations`."""
        if self.compiled_rule is None:
            raise TypeError(f"{type(self).__name__} must override update_step(gradient, weight, slots).")
        self._rule(self.compiled_rule, self.numbers(), {}).update(weight, slots, gradient, self.iterations)


class SGD(Optimizer):
    """weight -= learning_rate gradient; with momentum,
    velocity = momentum velocity - learning_rate gradient and weight += velocity
    (nesterov: weight += momentum velocity - learning_rate gradient; Sutskever et al. 2013)."""

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, **options):
        self.momentum, self.nesterov = momentum, nesterov
        super().__init__(learning_rate, **options)
        if momentum > 1:
            raise ValueError(f"SGD: momentum must be from 0 to 1, received {momentum!r}.")
        if momentum:
            self.compiled_rule, self.slot_names = "nesterov" if nesterov else "momentum", ("velocity",)

    compiled_rule = "sgd"

    def numbers(self):
        return {"learning_rate": self.learning_rate, "momentum": self.momentum}


class RMSprop(Optimizer):
    """mean_square = rho mean_square + (1 - rho) gradient^2;
    weight -= learning_rate gradient / sqrt(mean_square + epsilon) (Tieleman and Hinton 2012)."""

    compiled_rule, slot_names = "rmsprop", ("mean_square",)

    def __init__(self, learning_rate=0.001, rho=0.9, epsilon=1e-7, **options):
        self.rho, self.epsilon = rho, epsilon
        super().__init__(learning_rate, **options)
        if rho > 1:
            raise ValueError(f"RMSprop: rho must be from 0 to 1, received {rho!r}.")

    def numbers(self):
        return {"learning_rate": self.learning_rate, "rho": self.rho, "epsilon": self.epsilon}


class Adagrad(Optimizer):
    """accumulator += gradient^2; weight -= learning_rate gradient / sqrt(accumulator + epsilon)
    (Duchi, Hazan and Singer 2011)."""

    compiled_rule, slot_names = "adagrad", ("accumulator",)

    def __init__(self, learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-7, **options):
        self.initial_accumulator_value, self.epsilon = initial_accumulator_value, epsilon
        super().__init__(learning_rate, **options)
        self.check("initial_accumulator_value", initial_accumulator_value)

    def first_slot(self, weight):
        return _core.aligned(weight.shape, weight.dtype, self.initial_accumulator_value)

    def numbers(self):
        return {"learning_rate": self.learning_rate, "epsilon": self.epsilon}


class _Moments(Optimizer):
    """m += (gradient - m)(1 - beta_1); v += (gradient^2 - v)(1 - beta_2)"""

    slot_names: tuple[str, ...] = ("m", "v")

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, **options):
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        super().__init__(learning_rate, **options)
        for key in ("beta_1", "beta_2"):
            if getattr(self, key) >= 1:
                raise ValueError(f"{type(self).__name__}: {key} must be below 1, received {getattr(self, key)!r}.")

    def numbers(self):
        return {"learning_rate": self.learning_rate, "beta_1": self.beta_1, "beta_2": self.beta_2,
                "epsilon": self.epsilon}


class Adam(_Moments):
    """m += (gradient - m)(1 - beta_1); v += (gradient^2 - v)(1 - beta_2);
    weight -= learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon) (Kingma and Ba 2015).
    amsgrad: in the root the largest v so far of each element (Reddi, Kale and Kumar 2018)."""

    compiled_rule = "adam"

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False, **options):
        self.amsgrad = bool(amsgrad)
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        if amsgrad:
            self.compiled_rule, self.slot_names = "amsgrad", ("m", "v", "v_hat")


class AdamW(Adam):
    """Adam with weight_decay of 0.004 unless another is given, which may not be None (Loshchilov and Hutter 2019)."""

    def __init__(self, learning_rate=0.001, weight_decay=0.004, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False,
                 **options):
        if weight_decay is None:
            raise ValueError("AdamW: weight_decay must be a number, received None. Use Adam for none.")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **options)


class Nadam(_Moments):
    """m and v as in Adam, with Nesterov's look ahead (Dozat 2016): u_t = beta_1 (1 - 0.5 0.96^t), U_t = u_1 ... u_t;
    weight -= learning_rate (u_{t+1} m / (1 - U_{t+1}) + (1 - u_t) gradient / (1 - U_t))
    / (sqrt(v / (1 - beta_2^t)) + epsilon)."""

    compiled_rule = "nadam"


OPTIMIZERS = {cls.__name__.lower(): cls for cls in (SGD, RMSprop, Adagrad, Adam, AdamW, Nadam)}


def get(optimizer):
    """An Optimizer from an object, a class, a name, or its class_name and config."""
    return made("optimizer", optimizer, Optimizer, OPTIMIZERS)
