"""With --coming-from FILE, the page that tells users of other libraries what is here, from what the tests compare.

    python -m pytest tests/peers --coming-from docs/coming_from.md

Every object of fastnn that a passing test here has made counts as compared; what a peer's class takes and ours does not
is read off their constructors.
"""
import collections
import functools
import inspect
from pathlib import Path

import pytest

import fastnn

PLACES = ("layers", "losses", "metrics", "optimizers", "regularizers", "constraints", "initializers", "callbacks")
EVERYWHERE = {"x", "args", "kwargs", "dtype", "name", "reduction", "lr", "input_dim", "input_shape", "trainable"}
compared = collections.defaultdict(collections.Counter)     # place: {class: tests}
HEAD = """# Coming from Keras, scikit-learn or PyTorch

Written by `python -m pytest tests/peers --coming-from docs/coming_from.md`, beside keras {keras}, torch {torch} and
scikit-learn {sklearn}: a row is here because so many tests have compared it with its peer and passed.
"""
FILES = """
## Files

| from | in | out |
|---|---|---|
| Keras 3 | `load_model("m.keras")`, `load_weights("m.weights.h5")` | `save`, `save_weights` of the same names |
| older Keras | `load_model("m.h5")` | |
| PyTorch | `saving.torch.from_state_dict(net.state_dict(), activation=...)` | `saving.torch.to_state_dict(model)` |
| ONNX, C | | `model.export("m.onnx")`, `model.export("m.c")` |
"""


def pytest_addoption(parser):
    parser.addoption("--coming-from", help="write the page of peers to this file")


def classes(place):
    module = getattr(fastnn, place)
    return [cls for name, cls in vars(module).items() if inspect.isclass(cls) and cls.__name__ == name
            and cls.__module__.startswith("fastnn.") and not name.startswith("_")]


def noting(plain, places, made):
    """A constructor that also tells of which class it has made an object."""
    @functools.wraps(plain)
    def init(self, *args, **words):
        if type(self) in places:
            made.add((places[type(self)], type(self).__name__))
        plain(self, *args, **words)
    return init


@pytest.fixture(autouse=True)
def note(request, monkeypatch):
    """Count what the test makes, if it passes."""
    made = set()
    if request.config.getoption("--coming-from", None):
        places = {cls: place for place in PLACES for cls in classes(place)}
        for cls in {base for one in places for base in one.__mro__ if "__init__" in vars(base)} - {object}:
            monkeypatch.setattr(cls, "__init__", noting(cls.__init__, places, made))
        name = getattr(request.node, "callspec", None) and request.node.callspec.params.get("name")
        if name in fastnn.activations.FUNCTIONS and hasattr(fastnn.activations, name):
            made.add(("activations", name))
    yield
    if not getattr(request.node, "failed", False):
        for place, name in made:
            compared[place][name] += 1


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    result = (yield).get_result()
    item.failed = result.failed or result.skipped


def words_of(thing):
    """The words that a class is constructed with, or a function called."""
    return [word for word in inspect.signature(thing).parameters if word not in EVERYWHERE]


def pytest_sessionfinish(session):
    page = session.config.getoption("--coming-from", None)
    if not page or not compared:
        return
    import keras
    import sklearn
    import torch

    lines = [HEAD.format(keras=keras.__version__, sklearn=sklearn.__version__, torch=torch.__version__)]
    lines.append("## Keras\n\nThe words of constructors are Keras'; the third column names those that fastnn lacks.\n")
    for place in ("activations", *PLACES):
        lines += [f"| `keras.{place}` | `fastnn.{place}` | without | tests |", "|---|---|---|---|"]
        for name, tests in sorted(compared[place].items()):
            theirs = getattr(getattr(keras, place), name, None)
            if theirs is not None:
                ours = getattr(getattr(fastnn, place), name)
                ours = fastnn.utils.constructor_words(ours) if inspect.isclass(ours) else words_of(ours)
                without = ", ".join(f"`{word}`" for word in words_of(theirs) if word not in ours)
                lines.append(f"| `{name}` | `{name}` | {without} | {tests} |")
        lines.append("")
    lines += sklearn_rows() + [FILES]
    Path(page).write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def sklearn_rows():
    import sklearn.neural_network

    import fastnn.sklearn

    lines = ["## scikit-learn\n", "Every check of `sklearn.utils.estimator_checks` passes: `tests/test_sklearn.py`.\n",
             "| `sklearn.neural_network` | `fastnn.sklearn` | without | more |", "|---|---|---|---|"]
    for name in ("MLPClassifier", "MLPRegressor"):
        theirs, ours = (getattr(module, name)().get_params() for module in (sklearn.neural_network, fastnn.sklearn))
        cells = [", ".join(f"`{word}`" for word in sorted(one.keys() - other.keys()))
                 for one, other in ((theirs, ours), (ours, theirs))]
        lines.append(f"| `{name}` | `{name}` | {cells[0]} | {cells[1]} |")
    return lines
