"""What surrounds an optimizer's rule: weight decay, clipping, penalties, schedules, frozen layers.

Expected numbers come from the NumPy twins of reference.py or from hand calculation; test_kernels.py has the rules.
"""
import hashlib
import json

import numpy as np
import pytest
import reference

from fastnn import _core, layers, models, ops, optimizers, regularizers, utils
from fastnn.optimizers import schedules

INPUTS, CLASSES = 12, 4
RULES = [lambda **w: optimizers.SGD(0.1, **w), lambda **w: optimizers.SGD(0.1, momentum=0.9, **w),
         lambda **w: optimizers.SGD(0.1, momentum=0.9, nesterov=True, **w), lambda **w: optimizers.RMSprop(0.01, **w),
         lambda **w: optimizers.Adagrad(0.01, **w), lambda **w: optimizers.Adam(0.01, **w),
         lambda **w: optimizers.AdamW(0.01, **w), lambda **w: optimizers.Nadam(0.01, **w),
         lambda **w: optimizers.Adam(0.01, amsgrad=True, **w)]
IDS = ["sgd", "momentum", "nesterov", "rmsprop", "adagrad", "adam", "adamw", "nadam", "amsgrad"]
WORDS = {"plain": {}, "weight_decay": {"weight_decay": 0.1}, "clipvalue": {"clipvalue": 0.01},
         "clipnorm": {"clipnorm": 0.05}, "global_clipnorm": {"global_clipnorm": 0.06},
         "both": {"weight_decay": 0.1, "global_clipnorm": 0.05}}


def samples(n=70, inputs=INPUTS, classes=CLASSES, dtype="float32"):
    rng = np.random.default_rng(n)
    x = np.maximum(rng.standard_normal((n, inputs)), 0).astype(dtype)
    return x, np.eye(classes)[rng.integers(0, classes, n)]


def network(optimizer="sgd", *hidden, dtype=None, inputs=INPUTS, classes=CLASSES, seed=7, **words):
    utils.set_random_seed(seed)
    dense = [layers.Dense(units, "tanh", **words) for units in hidden or (9,)]
    model = models.Sequential([layers.Input((inputs,), dtype=dtype), *dense, layers.Dense(classes, "softmax", **words)])
    model.compile(optimizer, "categorical_crossentropy")
    return model


def state(model):
    return [*model.weights, *(slot for slots in model.optimizer.slots for slot in slots)]


def digest(model):
    return hashlib.sha256(b"".join(array.tobytes() for array in state(model))).hexdigest()


class InPython(optimizers.Optimizer):
    """A Python optimizer that hands each gradient to the rule of a compiled one, without its words."""

    def __init__(self, compiled, **words):
        super().__init__(0.5, **words)
        self.learning_rate, self.inner, self.slot_names = compiled._learning_rate, compiled, compiled.slot_names

    def first_slot(self, weight):
        return self.inner.first_slot(weight)

    def update_step(self, gradient, weight, slots):
        self.inner.iterations = self.iterations
        self.inner.update_step(gradient, weight, slots)


# ---------------------------------------------------------------- decay, clips and penalties


@pytest.mark.parametrize("words", [{}, {"l1": 0.3}, {"l2": 0.2}, {"clipvalue": 0.7}, {"weight_decay": 0.1},
                                   {"l1": 0.3, "l2": 0.2, "clipvalue": 0.7, "weight_decay": 0.1}], ids=str)
@pytest.mark.parametrize("n", [1, 7, 8, 31, 97, 1200])
def test_a_gradient_is_prepared_as_the_twin_says(n, words, dtype, isa):
    """One step of a Dense of one input 1 on the gradient g: with learning rate 0.5, where decay is 0.5 weight_decay."""
    rng = np.random.default_rng(n)
    weight, g = rng.standard_normal((1, n)), rng.standard_normal((1, n))
    weight[0, ::5] = 0
    dense = _core.Dense(weight.astype(dtype), None, "linear")
    dense.regularize([type("Penalty", (), {"l1": words.get("l1", 0), "l2": words.get("l2", 0)})])
    rule = _core.Rule("sgd", 0.5, weight_decay=words.get("weight_decay", 0), clipvalue=words.get("clipvalue", 0))
    dense.bind([[]])
    truth = weight - n / 2 * g                              # mse's gradient is 2 / n (weight - truth) = g
    _core.Network([dense], "mse").run(np.ones((1, 1), dtype), truth.astype(dtype), None, 0, 1, 1, np.zeros(1), rule,
                                      True)
    decay = {"decay": 0.5 * words["weight_decay"]} if "weight_decay" in words else {}
    others = {word: value for word, value in words.items() if word != "weight_decay"}
    gradient, decayed = reference.prepared(g, weight, **others, **decay)
    found = dense.learned()[0]
    np.testing.assert_allclose(found, decayed - 0.5 * gradient, rtol=0, atol=n * 8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("make", RULES, ids=IDS)
def test_one_step_follows_the_twin_in_every_place(make, words, dtype):
    """decay, clip and rule on paper, for a gradient that a Recorder has seen."""
    x, y = samples(dtype=dtype)
    seen = []

    class Recorder(optimizers.Optimizer):
        def update_step(self, gradient, weight, slots):
            seen.append(gradient.copy())

    network(Recorder(0.1), dtype=dtype).train_on_batch(x, y)
    model = network(make(**WORDS[words]), dtype=dtype)
    optimizer, before = model.optimizer, [w.astype("float64") for w in model.get_weights()]
    model.train_on_batch(x, y)
    squares = [float((g.astype("float64") ** 2).sum()) for g in seen]
    name = {"adamw": "adam"}.get(IDS[RULES.index(make)], IDS[RULES.index(make)])
    numbers = {k: v for k, v in optimizer.numbers().items() if name != "sgd" or k == "learning_rate"}
    for weight, g, square, found in zip(before, seen, squares, model.weights, strict=True):
        clip, limit = optimizer.clipnorm or optimizer.global_clipnorm, square if optimizer.clipnorm else sum(squares)
        scale = clip / max(clip, limit**0.5) if clip else 1
        g, weight = reference.prepared(g.astype("float64"), weight, scale=scale, clipvalue=optimizer.clipvalue or 0,
                                       decay=optimizer.learning_rate * (optimizer.weight_decay or 0))
        slots = [np.full_like(weight, 0.1 if name == "adagrad" else 0) for _ in optimizer.slot_names]
        expected = reference.RULES[name](g, 1, weight, *slots, **numbers)[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=4 * np.spacing(np.abs(expected).max().astype(dtype)))


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("make", RULES, ids=IDS)
def test_fused_equals_unfused(make, words, dtype):
    x, y = samples(dtype=dtype)
    words = {"weight_decay": 0.004 if make is RULES[6] else None, **WORDS[words]}
    penalties = {"kernel_regularizer": regularizers.L1L2(0.01, 0.02), "bias_regularizer": "l1"}
    fused = network(make(**words), 40, 9, dtype=dtype, **penalties)
    unfused = network(InPython(make(**words), **words), 40, 9, dtype=dtype, **penalties)
    histories = [model.fit(x, y, batch_size=16, epochs=2, verbose=0).history for model in (fused, unfused)]
    assert histories[0] == histories[1] and digest(fused) == digest(unfused)


@pytest.mark.parametrize("penalty", [None, "l2", "l1"])
@pytest.mark.parametrize("words", ["plain", "weight_decay", "clipvalue"])
@pytest.mark.parametrize("make", RULES, ids=IDS)
def test_fused_equals_unfused_in_whole_tiles(make, words, penalty, dtype, isa):
    x, y = samples(90, inputs=98, dtype=dtype)
    words = {"weight_decay": 0.004 if make is RULES[6] else None, **WORDS[words]}
    fused = network(make(**words), 100, dtype=dtype, inputs=98, kernel_regularizer=penalty)
    unfused = network(InPython(make(**words), **words), 100, dtype=dtype, inputs=98, kernel_regularizer=penalty)
    histories = [model.fit(x, y, batch_size=45, verbose=0).history for model in (fused, unfused)]
    assert histories[0] == histories[1] and digest(fused) == digest(unfused)


@pytest.mark.parametrize("words", ["weight_decay", "clipvalue", "clipnorm", "global_clipnorm"])
def test_threads_and_instruction_sets_change_no_bits(words, fma_isas, set_isa, set_threads):
    x, y = samples(200, inputs=97, classes=10)
    found = set()
    for isa in fma_isas:
        for threads in (1, 2, 4):
            set_isa(isa)
            set_threads(threads)
            model = network(optimizers.Nadam(0.01, **WORDS[words]), 1031, 31, inputs=97, classes=10,
                            kernel_regularizer=regularizers.L1L2(0.001 * (words == "clipnorm"), 0.002))
            history = model.fit(x, y, batch_size=64, epochs=2, verbose=0).history
            found.add((digest(model), str(history), str(model.evaluate(x, y))))
    assert len(found) == 1


def test_sparse_rows_decay_as_dense_ones():
    sparse = pytest.importorskip("scipy.sparse")
    x, y = samples(60, inputs=300)
    x[:, ::3] = 0
    x *= np.random.default_rng(0).random(x.shape) < 0.1
    for make in RULES[:1] + RULES[4:]:
        for penalties in ({}, {"kernel_regularizer": "l1"}):
            pair = [network(make(weight_decay=0.1), 33, inputs=300, **penalties) for _ in range(2)]
            for model, rows in zip(pair, (x, sparse.csr_array(x)), strict=True):
                model.fit(rows, y, batch_size=16, verbose=0)
            assert digest(pair[0]) == digest(pair[1])


def test_a_clipped_gradient_has_the_norm_that_was_asked_for():
    for word, expected in (("clipnorm", [0.25, 0.25, 0.25, 0.25]), ("global_clipnorm", None)):
        x, y = samples()
        model = network(optimizers.SGD(1.0, **{word: 0.25}))
        model.set_weights([10 * w for w in model.get_weights()])
        before = model.get_weights()
        model.train_on_batch(x, 100 * y)
        moves = [np.linalg.norm(a - b) for a, b in zip(before, model.weights, strict=True)]
        np.testing.assert_allclose(moves if expected else np.linalg.norm(moves), expected or 0.25, rtol=1e-4)


def test_a_small_gradient_is_not_clipped():
    x, y = samples()
    plain = network("adam")
    plain.fit(x, y, verbose=0)
    for word in ("clipnorm", "global_clipnorm", "clipvalue"):
        model = network(optimizers.Adam(**{word: 1e6}))
        model.fit(x, y, verbose=0)
        assert digest(model) == digest(plain)


def test_weights_may_be_spared_from_decay():
    x, y = samples()

    def moved(optimizer):
        model = network(optimizer)
        model.layers[2].bias = np.full(CLASSES, 0.5)
        before = model.get_weights()
        model.train_on_batch(x, np.zeros_like(y))           # no gradient at all
        return [bool((a != b).any()) for a, b in zip(before, model.weights, strict=True)]

    plain, spared = optimizers.AdamW(0.1), optimizers.AdamW(0.1)
    spared.exclude_from_weight_decay(var_names=["bias"])
    assert moved(plain) == [True, False, True, True]        # the first bias is zero
    assert moved(spared) == [True, False, True, False]
    model = network(optimizers.SGD(0.1, weight_decay=0.5))
    model.optimizer.exclude_from_weight_decay(var_list=[model.layers[1].weight])
    before = model.get_weights()
    model.train_on_batch(x, np.zeros_like(y))
    np.testing.assert_array_equal(model.weights[0], before[0])
    np.testing.assert_allclose(model.weights[2], 0.95 * before[2], rtol=1e-6)


@pytest.mark.parametrize("words, message", [
    ({"clipnorm": 1.0, "clipvalue": 0.5}, "only one of clipnorm, clipvalue and global_clipnorm can be set, received "
                                          "clipnorm=1.0, clipvalue=0.5."),
    ({"clipnorm": 0}, "clipnorm must be above 0, or None for no clipping, received 0."),
    ({"clipvalue": float("nan")}, "clipvalue must be a finite number, 0 or more, received nan."),
    ({"weight_decay": -0.1}, "weight_decay must be a finite number, 0 or more, received -0.1."),
    ({"use_ema": True}, "use_ema=True is not supported. Leave it out"),
    ({"learning_rate": "fast"}, "learning_rate must be a finite number, 0 or more, received 'fast'."),
])
def test_refused_words(words, message):
    with pytest.raises(ValueError) as error:
        optimizers.Adam(**words)
    assert message in str(error.value)


def test_words_of_keras_that_change_nothing_are_accepted_and_others_named():
    optimizers.RMSprop(momentum=0.0, centered=False, use_ema=False, ema_momentum=0.5, loss_scale_factor=None)
    with pytest.raises(ValueError, match="RMSprop: centered=True is not supported"):
        optimizers.RMSprop(centered=True)
    with pytest.raises(TypeError, match="Adam has no argument 'learning_rat'"):
        optimizers.Adam(learning_rat=0.1)
    with pytest.raises(ValueError, match="AdamW: weight_decay must be a number, received None"):
        optimizers.AdamW(weight_decay=None)


# ---------------------------------------------------------------- regularizers


def test_penalties_on_paper():
    weight = np.array([[1.0, -2.0], [0.5, 0.0]])
    assert regularizers.L1(0.1)(weight) == pytest.approx(0.35, rel=1e-15)
    assert regularizers.L2(0.1)(weight) == pytest.approx(0.525, rel=1e-15)
    assert regularizers.L1L2(0.1, 1)(weight.astype("float32")) == pytest.approx(5.6, rel=1e-15)
    assert regularizers.l2 is regularizers.L2 and regularizers.l1_l2(l2=0.1).l1 == 0
    named = {name: regularizers.get(name) for name in ("l1", "L2", "l1_l2", "l1l2")}
    assert [(r.l1, r.l2) for r in named.values()] == [(0.01, 0), (0, 0.01), (0.01, 0.01), (0, 0)]


@pytest.mark.parametrize("n", [1, 31, 33, 4096, 4097, 5_000_000])
def test_sizes_of_arrays(n, dtype, set_threads):
    x = np.random.default_rng(0).standard_normal(n).astype(dtype)
    found = set()
    for threads in (1, 2, 3):
        set_threads(threads)
        found.add(_core.sizes(x))
    assert len(found) == 1
    np.testing.assert_allclose(found.pop(), [np.abs(x).sum(dtype="float64"), (x.astype("float64") ** 2).sum()],
                               rtol=100 * np.finfo(dtype).eps)


def test_the_reported_loss_has_the_penalty_of_the_weights_before_each_step():
    x, y = samples(32)
    plain, penal = network(optimizers.SGD(0.1)), network(optimizers.SGD(0.1), kernel_regularizer=regularizers.L2(0.1),
                                                         bias_regularizer="l1")
    penal.set_weights([*plain.get_weights()[:3], np.full(CLASSES, 0.5)])
    plain.set_weights(penal.get_weights())
    expected = sum(0.1 * (w.astype("float64") ** 2).sum() if w.ndim == 2 else 0.01 * np.abs(w).sum()
                   for w in plain.weights)
    assert penal.evaluate(x, y) == pytest.approx(plain.evaluate(x, y) + expected, rel=1e-6)
    assert penal.evaluate(x, y, batch_size=5) == pytest.approx(plain.evaluate(x, y) + expected, rel=1e-6)
    assert penal.train_on_batch(x, y) == pytest.approx(plain.train_on_batch(x, y) + expected, rel=1e-6)
    after = penal.evaluate(x, y)
    assert penal.fit(x, y, batch_size=32, verbose=0).history["loss"] == [pytest.approx(after, rel=1e-6)]


def test_a_penalty_that_begins_at_zero_is_counted_when_it_grows():
    x, y = samples(32)
    model = network(optimizers.SGD(0.1), kernel_initializer="zeros", kernel_regularizer="l2")
    model.set_weights([w + (w.ndim == 1) for w in model.get_weights()])
    whole = model.fit(x, y, batch_size=8, shuffle=False, verbose=0).history["loss"][0]
    again = network(optimizers.SGD(0.1), kernel_initializer="zeros", kernel_regularizer="l2")
    again.set_weights([w + (w.ndim == 1) for w in again.get_weights()])
    steps = [again.train_on_batch(x[at:at + 8], y[at:at + 8]) for at in range(0, 32, 8)]
    assert whole == pytest.approx(np.mean(steps), rel=1e-12) and digest(model) == digest(again)


def test_penalized_gradients_equal_finite_differences():
    x, y = samples(20, dtype="float64")
    seen = []

    class Recorder(optimizers.Optimizer):
        def update_step(self, gradient, weight, slots):
            seen.append(gradient.copy())

    model = network(Recorder(0.0), dtype="float64", kernel_regularizer=regularizers.L1L2(0.03, 0.05),
                    bias_regularizer=regularizers.L2(0.2))
    model.set_weights([w + 0.1 for w in model.get_weights()])
    model.train_on_batch(x, y)
    for weight, gradient in zip(model.weights, seen, strict=True):
        for at in [np.unravel_index(i, weight.shape) for i in range(0, weight.size, 7)]:
            kept, ends = weight[at], []
            for step in (1e-6, -1e-6):
                weight[at] = kept + step
                ends.append(model.evaluate(x, y))
            weight[at] = kept
            assert gradient[at] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-6)


@pytest.mark.parametrize("make, message", [
    (lambda: regularizers.L2(-1), "L2: l2 must be a finite number, 0 or more, received -1."),
    (lambda: regularizers.L1L2(l1=float("inf")), "L1L2: l1 must be a finite number"),
    (lambda: layers.Dense(3, kernel_regularizer="l3"), "Unknown regularizer 'l3'. Available: l1, l1_l2, l1l2, l2."),
    (lambda: layers.Dense(3, kernel_regularizer=np.sum), "Unknown regularizer <function sum"),
])
def test_refused_regularizers(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)


# ---------------------------------------------------------------- schedules

ON_PAPER = [
    (schedules.ExponentialDecay(0.5, 2, 0.25), [0.5, 0.25, 0.125, 0.0625]),
    (schedules.ExponentialDecay(0.5, 2, 0.25, staircase=True), [0.5, 0.5, 0.125, 0.125, 0.03125]),
    (schedules.InverseTimeDecay(0.5, 2, 2), [0.5, 0.25, 1 / 6]),
    (schedules.InverseTimeDecay(0.5, 2, 2, staircase=True), [0.5, 0.5, 1 / 6, 1 / 6, 0.1]),
    (schedules.PiecewiseConstantDecay([1, 3], [3, 2, 1]), [3, 3, 2, 2, 1, 1]),
    (schedules.PolynomialDecay(1, 4, 0.2), [1, 0.8, 0.6, 0.4, 0.2, 0.2]),
    (schedules.PolynomialDecay(1, 2, 0.2, power=2, cycle=True), [1, 0.4, 0.2, 0.25, 0.2, 0.2 + 0.8 / 36]),
    (schedules.CosineDecay(1, 4, alpha=0.2), [1, 0.2 + 0.8 * (2 + 2**0.5) / 4, 0.6, 0.2 + 0.8 * (2 - 2**0.5) / 4,
                                              0.2, 0.2]),
    (schedules.CosineDecay(0.2, 2, warmup_target=1, warmup_steps=4), [0.2, 0.4, 0.6, 0.8, 1, 0.5, 0, 0]),
    (schedules.CosineDecayRestarts(1, 2, m_mul=0.5), [1, 0.5, 0.5, 0.25 + 0.125 * 2**0.5, 0.25,
                                                      0.25 - 0.125 * 2**0.5, 0.25]),
    (schedules.CosineDecayRestarts(1, 2, t_mul=1.0, m_mul=0.5), [1, 0.5, 0.5, 0.25, 0.25, 0.125]),
]


@pytest.mark.parametrize("schedule, rates", ON_PAPER, ids=[type(s).__name__ for s, _ in ON_PAPER])
def test_schedules_on_paper(schedule, rates):
    np.testing.assert_allclose([schedule(step) for step in range(len(rates))], rates, rtol=1e-14, atol=1e-15)
    again = schedules.get({"class_name": type(schedule).__name__, "config": json.loads(json.dumps(
        schedule.get_config()))})
    assert [again(step) for step in range(9)] == [schedule(step) for step in range(9)]


def test_powers_and_cosines_are_exact_to_the_last_places():
    x = np.linspace(0, 1, 1001)
    np.testing.assert_allclose([schedules.half_cosine(v) for v in x], (1 + np.cos(np.pi * x)) / 2, atol=4e-16)
    found = [schedules.power(b, e) for b in (0.25, 0.9, 3.0) for e in (0, 0.5, 1, 7, 20.25)]
    np.testing.assert_allclose(found, [b**e for b in (0.25, 0.9, 3.0) for e in (0, 0.5, 1, 7, 20.25)], rtol=2e-14)
    assert [schedules.power(0, 0), schedules.power(0, 2), schedules.power(1, 5)] == [1, 0, 1]


class Halves(schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1 / 2**step


@pytest.mark.parametrize("make", RULES, ids=IDS)
def test_each_step_takes_the_rate_of_its_number(make):
    """A scheduled fit equals one whose rate is assigned before each batch; a Python optimizer sees the same rates."""
    x, y = samples(64)
    scheduled, assigned, python = network(make()), network(make()), network(InPython(make()))
    scheduled.optimizer.learning_rate = Halves()
    python.optimizer.learning_rate = python.optimizer.inner.learning_rate = Halves()
    if make is RULES[6]:
        python.optimizer.weight_decay = 0.004
    for model in (scheduled, python):
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for step in range(8):
        assigned.optimizer.learning_rate = 0.1 / 2**step
        assigned.train_on_batch(x[8 * step:8 * step + 8], y[8 * step:8 * step + 8])
    assert digest(scheduled) == digest(assigned) == digest(python)
    assert scheduled.optimizer.learning_rate == python.optimizer.learning_rate == 0.1 / 2**8


def test_a_schedule_goes_on_where_it_was():
    x, y = samples(64)
    whole, parts = (network(optimizers.Nadam(schedules.CosineDecay(0.05, 16))) for _ in range(2))
    whole.fit(x, y, batch_size=8, epochs=2, verbose=0)
    for epoch in range(2):
        parts.fit(x, y, batch_size=8, epochs=epoch + 1, initial_epoch=epoch, verbose=0)
    assert digest(whole) == digest(parts) and whole.optimizer.learning_rate == 0


def test_a_scheduled_rate_is_not_assigned():
    optimizer = optimizers.SGD(schedules.ExponentialDecay(0.1, 10, 0.5))
    with pytest.raises(TypeError, match="follows the schedule ExponentialDecay, so its learning_rate cannot be"):
        optimizer.learning_rate = 0.01
    optimizer.learning_rate = schedules.ExponentialDecay(0.2, 10, 0.5)
    again = optimizers.get({"class_name": "SGD", "config": json.loads(json.dumps(optimizer.get_config()))})
    assert again.learning_rate == 0.2 and again.get_config() == optimizer.get_config()


def test_a_schedule_that_fails_takes_no_step():
    x, y = samples(64)
    for rate, kind, message in ((float("nan"), ValueError, "0 or more, but the schedule gave nan for step 3"),
                                (-1.0, ValueError, "gave -1.0 for step 3"), ("1", TypeError, "must be real number")):
        class Fails(schedules.LearningRateSchedule):
            def __call__(self, step, rate=rate):
                return rate if step == 3 else 0.1

        model, expected = network(optimizers.SGD(Fails())), network(optimizers.SGD(0.1))
        with pytest.raises(kind, match=message):
            model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
        expected.fit(x[:24], y[:24], batch_size=8, shuffle=False, verbose=0)
        assert digest(model) == digest(expected) and model.optimizer.iterations == 3


@pytest.mark.parametrize("make, message", [
    (lambda: schedules.CosineDecay(0.1, 0), "CosineDecay: decay_steps must be a finite number, above 0, received 0."),
    (lambda: schedules.ExponentialDecay(-0.1, 5, 0.5), "initial_learning_rate must be a finite number, 0 or more"),
    (lambda: schedules.CosineDecayRestarts(0.1, 5, t_mul=0.5), "t_mul must be a finite number, 1 or more"),
    (lambda: schedules.PiecewiseConstantDecay([1, 2], [1, 2]), "one value more than boundaries, received 2 boundaries "
                                                               "and 2 values."),
    (lambda: schedules.PiecewiseConstantDecay([2, 1], [1, 2, 3]), "the boundary after 2 must be a finite"),
    (lambda: schedules.get("cosine"), "Unknown schedule 'cosine'. Did you mean"),
])
def test_refused_schedules(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)


# ---------------------------------------------------------------- frozen layers


@pytest.mark.parametrize("words", [{}, {"clipnorm": 0.1}, {"weight_decay": 0.1}], ids=str)
def test_a_frozen_layer_does_not_move_and_its_gradients_are_not_computed(words):
    x, y = samples()
    model = network(optimizers.Adam(0.01, **words), 9, 8, kernel_regularizer="l2")
    model.layers[1].trainable = model.layers[2].trainable = False
    before = model.get_weights()
    model.fit(x, y, batch_size=16, verbose=0)
    moved = [bool((a != b).any()) for a, b in zip(before, model.weights, strict=True)]
    assert moved == [False] * 4 + [True] * 2
    alone = models.Sequential([layers.Input((8,)), layers.Dense(CLASSES, "softmax", kernel_regularizer="l2")])
    alone.compile(optimizers.Adam(0.01, **words), "categorical_crossentropy")
    alone.set_weights(before[4:])
    hidden = models.Sequential(model.layers[1:3]).predict(x)
    utils.set_random_seed(7)
    alone._seed = model._seed
    alone.fit(hidden, y, batch_size=16, verbose=0)
    for got, expected in zip(model.weights[4:], alone.weights, strict=True):
        np.testing.assert_array_equal(got, expected)
    model.layers[0].trainable = False
    assert len(model.trainable_weights) == 2 and len(model.non_trainable_weights) == 4


def test_frozen_in_the_middle_passes_gradients_on():
    x, y = samples()
    model, python = network("sgd", 9, 8), network(InPython(optimizers.SGD()), 9, 8)
    for each in (model, python):
        each.layers[2].trainable = False
        before = each.get_weights()
        each.fit(x, y, batch_size=16, verbose=0)
        moved = [bool((a != b).any()) for a, b in zip(before, each.weights, strict=True)]
        assert moved == [True, True, False, False, True, True]
    assert digest(model) == digest(python)


def test_thawing_keeps_the_slots_of_the_others():
    x, y = samples()
    model = network("adam")
    model.fit(x, y, verbose=0)
    slots = [[slot.copy() for slot in slots] for slots in model.optimizer.slots]
    model.layers[1].trainable = False
    model.fit(x, y, verbose=0)
    model.layers[1].trainable = True
    first = model.optimizer.slots[0][0]
    np.testing.assert_array_equal(first, slots[0][0])       # as it was when the layer was frozen
    assert (model.optimizer.slots[2][0] != slots[2][0]).any()
    model.fit(x, y, verbose=0)
    assert (first != slots[0][0]).any() and model.optimizer.slots[0][0] is first
    model.add(layers.Dense(CLASSES))
    model.train_on_batch(x, y)                              # slots of a new layer join
    assert model.optimizer.slots[0][0] is first and len(model.optimizer.slots) == 6


def test_a_model_frozen_whole_is_only_measured():
    x, y = samples()
    for optimizer in ("adam", optimizers.SGD(0.1, clipnorm=0.1), InPython(optimizers.SGD())):
        model = network(optimizer, kernel_regularizer="l2")
        penal = model.evaluate(x, y)
        model.trainable = False
        assert model.trainable is False and model.trainable_weights == []
        before, plain = model.get_weights(), model.evaluate(x, y)
        assert plain < penal                                # Keras too counts the penalties of what trains
        assert model.fit(x, y, verbose=0).history["loss"][0] == pytest.approx(plain)
        for got, expected in zip(model.weights, before, strict=True):
            np.testing.assert_array_equal(got, expected)
        model.trainable = True
        assert model.evaluate(x, y) == pytest.approx(penal) and len(model.trainable_weights) == 4


def test_frozen_first_layers_pass_nothing_on_to_a_function(monkeypatch):
    """The pullback of a Lambda under the first layer that learns is not called."""
    monkeypatch.setattr("fastnn.gradients.with_pullback", lambda *arguments: pytest.fail("a pullback was made"))
    x, y = samples()
    model = models.Sequential([layers.Input((INPUTS,)), layers.Dense(9), layers.Lambda(lambda x: ops.tanh(x)),
                               layers.Dense(CLASSES, "softmax")])
    model.compile("sgd", "categorical_crossentropy")
    model.layers[1].trainable = False
    model.fit(x, y, verbose=0)


# ---------------------------------------------------------------- as data


@pytest.mark.parametrize("make", RULES, ids=IDS)
def test_optimizers_as_plain_data(make):
    made = make(weight_decay=0.1, global_clipnorm=2.0)
    config = json.loads(json.dumps(made.get_config()))
    again = optimizers.get({"class_name": type(made).__name__, "config": config})
    assert again.get_config() == made.get_config() and type(again) is type(made)
    assert (again.weight_decay, again.global_clipnorm, again.clipnorm) == (0.1, 2.0, None)


def test_regularized_layers_as_plain_data():
    words = {"kernel_regularizer": regularizers.L1L2(0.1, 0.2), "bias_regularizer": "l2"}
    model = models.Sequential([layers.Dense(3, input_shape=(2,), **words), layers.Dense(2, **words)])
    copy = models.clone_model(model)
    assert json.dumps(copy.get_config()) == json.dumps(model.get_config())
    assert (copy.layers[0].kernel_regularizer.l1, copy.layers[1].bias_regularizer.l2) == (0.1, 0.01)
