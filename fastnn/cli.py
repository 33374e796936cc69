"""The command ``fastnn``: train the course's network, save it, and let it read digits, without writing a script."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import time
from typing import Any

from .callbacks import Callback, printable

# What is slow to import is imported in the function that needs it: `fastnn info` answers at once.

DEFAULT_DATA = "mnist where it is found or can be fetched, otherwise sample"
PREDICT_HELP = """\
An image file of 28 x 28 pixels is taken as it is. In one of any other size the digit is looked for: it is cut out,
scaled to 20 x 20 pixels and placed in the middle of 28 x 28, as the digits of MNIST were. Colours become grey, what
is transparent becomes white. MNIST has white digits on black: an image with a light border is inverted.

An array file (.npy, or .npz with one array) holds one image (28, 28), or n of them as (n, 28, 28) or (n, 784), with
integers from 0 to 255 or floats from 0 to 1."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line ``argv`` (by default the program's own) and return its exit code.

    0 is success, 2 an error the user can mend (one line on standard error), 130 an interruption with Ctrl-C.
    """
    try:
        args = _parser().parse_args(argv)
        return args.run(args)
    except SystemExit as stop:  # argparse: --help, or a wrong option
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        _note("interrupted")
        return 130
    except (ValueError, TypeError, RuntimeError, ArithmeticError, MemoryError, ImportError, OSError) as error:
        _note(f"error: {_message(error)}")
        return 2
    finally:
        _settle(sys.stdout)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        self.exit(2, f"fastnn: error: {message} (see {self.prog} --help)\n")


def _parser() -> _Parser:
    parser = _Parser(prog="fastnn", description="Dense neural networks on CPUs, trained on images of digits.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Any, text: str, more: str | None = None) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=text, description=text + (f"\n\n{more}" if more else ""),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=run)
        sub.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        return sub

    sub = command("train", _train, "Train a network on MNIST, or on data of your own.")
    _add_training(sub)

    sub = command("evaluate", _evaluate, "Measure a saved network on the test images.")
    sub.add_argument("model", metavar="MODEL", help="a file of fastnn train --save or model.save")
    _add_data(sub, DEFAULT_DATA)

    sub = command("predict", _predict, "Say which digit is on an image.", PREDICT_HELP)
    sub.add_argument("model", metavar="MODEL", help="a file of fastnn train --save or model.save")
    sub.add_argument("files", nargs="+", metavar="FILE", help="an image, or an array file .npy or .npz")
    sub.add_argument("--invert", choices=["auto", "yes", "no"], default="auto",
                     help="make dark digits on light ground light on dark; auto (default): where the border is light")

    sub = command("info", _info, "Show the version, instruction sets, threads, and where data are looked for.",
                  "With MODEL, show the layers of a saved network instead.")
    sub.add_argument("model", metavar="MODEL", nargs="?", help="a file of fastnn train --save or model.save")

    sub = command("bench", _bench, "Compare fastnn with NumPy and with loops in Python on this machine.",
                  "Each operation of fastnn.ops beside NumPy, by size and element type: python -m fastnn.benchmark_ops")
    sub.add_argument("--quick", action="store_true", help="fewer sizes and repetitions")
    sub.add_argument("--only", metavar="A,B", help='only the cases of these names, as "epoch of digits,prediction"')
    sub.add_argument("--fma-peak", type=float, metavar="GFLOPS", help="of one thread, to show the share of it reached")
    _add_threads(sub)
    return parser


def _add_training(sub: argparse.ArgumentParser) -> None:
    _add_data(sub, DEFAULT_DATA)
    sub.add_argument("--epochs", type=_positive, metavar="N", help="default: 5, or 10 on the sample")
    sub.add_argument("--batch-size", type=_positive, default=128, metavar="N", help="default: %(default)s")
    sub.add_argument("--hidden", type=_positive, nargs="+", default=[512], metavar="UNITS",
                     help="units of the hidden layer, or of several: --hidden 256 128 (default: 512)")
    sub.add_argument("--optimizer", default="rmsprop", metavar="NAME", help="sgd, rmsprop (default), adagrad or adam")
    sub.add_argument("--learning-rate", type=float, metavar="RATE", help="default: the optimizer's own")
    sub.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0; the same seed, the same weights")
    _add_threads(sub)
    sub.add_argument("--save", metavar="FILE", help="write the trained network to FILE, which ends in .fastnn")
    sub.add_argument("--verbose", type=int, choices=[0, 1, 2], default=1,
                     help="0: no progress, 1: a bar on a terminal (default), 2: one line an epoch")


def _add_data(sub: argparse.ArgumentParser, default: str) -> None:
    sub.add_argument("--data", metavar="mnist|sample|PATH", help="PATH is an .npz file with x_train, y_train, x_test "
                     f"and y_test: uint8 (0 to 255) or floats, and integer labels (default: {default})")


def _add_threads(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--threads", type=_positive, metavar="N", help="default: as many as there are CPUs to use")


def _positive(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, received {text!r}")
    return value


# Commands: each takes the parsed arguments and returns the exit code


def _train(args: argparse.Namespace) -> int:
    from . import info, optimizers, threads, utils

    _check_save(args.save)
    optimizer = optimizers.get(args.optimizer)
    if args.learning_rate is not None:
        optimizer = type(optimizer)(learning_rate=args.learning_rate)
    utils.set_random_seed(args.seed)
    x_train, y_train, x_test, y_test, data = _load_data(args.data)
    classes = int(max(y_train.max(), y_test.max())) + 1
    layers = [(units, "relu") for units in args.hidden] + [(classes, "softmax")]
    model = _build(x_train.shape[1], layers, optimizer)

    epochs, clock = args.epochs or (10 if data == "sample" else 5), _Clock()
    with threads(args.threads) if args.threads else contextlib.nullcontext():
        history = model.fit(x_train, y_train, epochs=epochs, batch_size=args.batch_size, callbacks=[clock],
                            verbose=0 if args.json else args.verbose).history
        test = model.evaluate(x_test, y_test, return_dict=True)
        facts = info()
    weights = model.get_weights()
    if args.save:
        model.save(args.save)

    result = {
        "data": data, "epochs": epochs, "learning_rate": optimizer.learning_rate,
        **{name: getattr(args, name) for name in ("hidden", "optimizer", "batch_size", "seed", "save")},
        "loss": history["loss"], "accuracy": history["accuracy"], "seconds": clock.seconds,
        "test_loss": test["loss"], "test_accuracy": test["accuracy"], "weights_sha256": _sha256(weights),
        **{name: facts[name] for name in ("version", "isa", "threads")},
    }
    saved = [f"Saved: {args.save}"] if args.save else []
    return _report(args, result, [_test_line(test, len(x_test), data), f"Weights: sha256 {_sha256(weights)}", *saved])


def _evaluate(args: argparse.Namespace) -> int:
    from .utils import to_categorical

    model = _load_model(args.model)
    if model.loss is None:
        raise ValueError(f"{args.model} holds a model that is not compiled, so it has no loss to measure.")
    _, _, x_test, y_test, data = _load_data(args.data)
    if model.loss.name == "categorical_crossentropy":
        y_test = to_categorical(y_test, model.output_shape[-1])
    test = model.evaluate(_shaped(x_test, model, args.model), y_test, return_dict=True)
    result = {"model": args.model, "data": data, **{f"test_{name}": value for name, value in test.items()}}
    return _report(args, result, [_test_line(test, len(x_test), data)])


def _predict(args: argparse.Namespace) -> int:
    model = _load_model(args.model)
    rows = []
    for file in args.files:
        outputs = model.predict(_shaped(_read_images(file, args.invert).reshape(-1, 784), model, args.model))
        outputs = outputs.reshape(len(outputs), -1)
        for i, output in enumerate(outputs):
            rows.append({
                "image": file if len(outputs) == 1 else f"{file}[{i}]", "digit": int(output.argmax()),
                "probability": float(output.max()), "probabilities": output.tolist(),
            })
    lines = [f"{row['image']}: {row['digit']} ({100 * row['probability']:.1f} %)" for row in rows]
    return _report(args, {"model": args.model, "predictions": rows}, lines)


def _info(args: argparse.Namespace) -> int:
    from . import info

    if args.model:
        return _info_of_model(args)
    facts = info()
    sets = ", ".join(name if supported else f"{name} (not on this CPU)" for name, supported in facts["isas"].items())
    lines = [
        f"fastnn {facts['version']}, numpy {facts['numpy']}, Python {sys.version.split()[0]}",
        f"instruction set: {facts['isa']} (compiled: {sets})",
        f"threads: {facts['threads']}",
        "MNIST is looked for in:",
        *(f"  {place}" for place in facts["data"]),
    ]
    return _report(args, facts, lines)


def _info_of_model(args: argparse.Namespace) -> int:
    from .saving import load_model

    model, lines = load_model(args.model), []  # type: ignore[var-annotated]
    model.summary(print_fn=lines.append)
    result = {"model": args.model, "params": model.count_params(), **json.loads(model.to_json())}
    if model.loss is not None:
        steps = model.optimizer.iterations
        lines.append(f"Compiled: {model.optimizer.name}, {model.loss.name}; trained for {steps} steps")
        result |= {"optimizer": model.optimizer.name, "loss": model.loss.name, "steps": steps}
    return _report(args, result, lines)


def _bench(args: argparse.Namespace) -> int:
    from . import benchmark

    return benchmark.main(args.threads, args.quick, args.json, args.only.split(",") if args.only else (), args.fma_peak)


# Data and models: what these return is ready for use; their errors name the file


def _load_data(name: str | None) -> tuple[Any, Any, Any, Any, str]:
    """Return x_train, y_train, x_test and y_test, with x as float32 rows, and the name of the data taken."""
    from .datasets import mnist

    if name in (None, "mnist"):
        try:
            train, test = mnist.load_data()
            name = "mnist"
        except (ImportError, OSError) as error:
            if name == "mnist" or os.environ.get("FASTNN_DATA"):
                raise
            _note(f"training on the sample of 5,000 images instead of MNIST: {str(error).splitlines()[0]}")
            name = "sample"
    if name == "sample":
        train, test = mnist.load_sample()
    elif name != "mnist":
        train, test = _load_own_data(name)
    return _as_rows(train[0]), train[1], _as_rows(test[0]), test[1], name


def _load_own_data(file: str) -> list[tuple[Any, Any]]:
    arrays, pairs = _read_arrays(file), []
    for part in ("train", "test"):
        x, y = arrays.get(f"x_{part}"), arrays.get(f"y_{part}")
        if (
            x is None or x.size == 0 or x.ndim < 2 or x.dtype.kind not in "uif"
            or y is None or y.shape != x.shape[:1] or y.dtype.kind not in "ui" or y.min() < 0
            or x.shape[1:] != arrays["x_train"].shape[1:]
        ):
            received = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in arrays.items())
            raise ValueError(
                f"{file} must hold x_{part} (n, ...), numbers, and y_{part} (n,), integer labels from 0, with the "
                f"samples of x_train and x_test in one shape. Received: {received}."
            )
        pairs.append((x, y))
    return pairs


def _read_arrays(file: str) -> dict[str, Any]:
    """Return the arrays of an .npz file by name, or that of an .npy file as ``{"array": ...}``."""
    import numpy as np

    try:
        with open(file, "rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            return {"array": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # a damaged zip: BadZipFile, zlib.error, EOFError, ValueError, KeyError, ...
        raise ValueError(f"{file} is damaged, or not an .npy or .npz file of plain arrays.") from error


def _as_rows(x: Any) -> Any:
    """Return x (n, ...) as float32 rows (n, I); bytes from 0 to 255 become 0 to 1."""
    rows = x.reshape(len(x), -1).astype("float32")
    if x.dtype == "uint8":
        rows /= 255
    return rows


def _build(inputs: int, layers: list[Any], optimizer: Any = "rmsprop") -> Any:
    from .layers import Dense, Input
    from .models import Sequential

    model = Sequential([Input((inputs,)), *(Dense(units, activation=activation) for units, activation in layers)])
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _check_save(file: str | None) -> None:
    """Raise what would otherwise be noticed only after the training."""
    if file is not None:
        from .saving import MODELS

        folder = os.path.dirname(os.path.abspath(file))
        if not file.lower().endswith(tuple(MODELS)):
            raise ValueError(f"--save {file}: the name has to end in {' or '.join(MODELS)}")
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK) or os.path.isdir(file):
            raise ValueError(f"--save {file}: no file can be written there. Check that the folder {folder} exists")


def _load_model(file: str) -> Any:
    from .saving import load_model

    model = load_model(file)
    if not model.built or not model.layers:
        raise ValueError(f"{file} holds a model that does not know the shape of its input. Train it, then save it.")
    return model


def _shaped(images: Any, model: Any, file: str) -> Any:
    """Return rows of pixels (n, I) in the shape that the model takes."""
    shape = model.input_shape[1:]
    if math.prod(shape) != images.shape[1]:
        raise ValueError(f"{file} holds a model for inputs of shape {shape}; an image here has "
                         f"{images.shape[1]} pixels.")
    return images.reshape(-1, *shape)


# Images: float32 from 0 to 1, light digits on dark ground, as in MNIST


def _read_images(file: str, invert: str) -> Any:
    """Return the images of an image file or an array file, as (n, 28, 28)."""
    import numpy as np

    from .pictures import SIDE, fit_digit, read_picture

    if not file.lower().endswith((".npy", ".npz")):
        return fit_digit(read_picture(file), invert)[None]
    arrays = _read_arrays(file)
    x = next(iter(arrays.values())) if len(arrays) == 1 else np.zeros(0)
    scale = 255 if x.dtype.kind in "ui" else 1
    if (
        x.dtype.kind not in "uifb" or x.ndim not in (2, 3) or x.shape[-2:] != (SIDE, SIDE) and x.shape[1:] != (SIDE**2,)
        or x.size == 0 or not 0 <= x.min() <= x.max() <= scale
    ):
        received = ", ".join(f"{a.shape} {a.dtype}" for a in arrays.values())
        if x.size and x.dtype.kind in "uif":
            received += f" from {x.min():g} to {x.max():g}"
        raise ValueError(
            f"{file} must hold one array (28, 28), (n, 28, 28) or (n, 784), of integers from 0 to 255 or floats from "
            f"0 to 1. Received: {received}."
        )
    return np.stack([fit_digit(image / np.float32(scale), invert) for image in x.reshape(-1, SIDE, SIDE)])


# Output


class _Clock(Callback):
    """Takes the seconds of each epoch."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self.start)


def _sha256(weights: list[Any]) -> str:
    """Return one SHA-256 for the bytes of all weights, in the order of get_weights()."""
    import hashlib

    return hashlib.sha256(b"".join(weight.tobytes() for weight in weights)).hexdigest()


def _test_line(test: dict[str, float], images: int, data: str) -> str:
    numbers = {"accuracy": test.get("accuracy", test.get("acc")), **test}
    named = ", ".join(f"{name}: {value:.4f}" for name, value in numbers.items() if value is not None and name != "acc")
    return f"Test {named} ({images} test images of {data})"


def _report(args: argparse.Namespace, result: dict[str, Any], lines: list[str]) -> int:
    text = json.dumps(result) if args.json else "\n".join(lines)
    if sys.stdout is not None:
        with contextlib.suppress(BrokenPipeError):  # `fastnn train | head -1`: who wanted to read has read
            print(printable(text, sys.stdout), flush=True)
    return 0


def _note(text: str) -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(printable(f"fastnn: {text}", sys.stderr), file=sys.stderr, flush=True)


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _settle(stream: Any) -> None:
    """Leave nothing that Python would try to write once more at its end, with a complaint when it cannot."""
    try:
        stream.flush()
    except (AttributeError, ValueError):  # no standard output, or a closed one
        pass
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
