"""The command ``fastnn``: train the course's network, save it, and let it read digits, without writing a script."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from typing import Any

from .callbacks import Callback, printable

# What is slow to import is imported in the function that needs it: `fastnn info` answers at once.

SIDE = 28  # an image of MNIST is 28 x 28 pixels,
DIGIT_SIDE = 20  # and its digit was scaled to fit into 20 x 20 of them, and placed by its centre of mass

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
    _add_data(sub, "mnist where it is found or can be fetched, otherwise sample")
    sub.add_argument("--epochs", type=_positive, metavar="N", help="default: 5, or 10 on the sample")
    sub.add_argument("--batch-size", type=_positive, default=128, metavar="N", help="default: %(default)s")
    sub.add_argument("--hidden", type=_positive, nargs="+", default=[512], metavar="UNITS",
                     help="units of the hidden layer, or of several: --hidden 256 128 (default: 512)")
    sub.add_argument("--optimizer", default="rmsprop", metavar="NAME", help="sgd, rmsprop (default), adagrad or adam")
    sub.add_argument("--learning-rate", type=float, metavar="RATE", help="default: the optimizer's own")
    sub.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0; the same seed, the same weights")
    _add_threads(sub)
    sub.add_argument("--save", metavar="FILE", help="write the trained network to FILE, which ends in .npz")
    sub.add_argument("--verbose", choices=["auto", "0", "1", "2"], default="auto",
                     help="0: no progress, 1: a bar on a terminal (default), 2: one line an epoch")

    sub = command("evaluate", _evaluate, "Measure a saved network on the test images.")
    sub.add_argument("model", metavar="MODEL", help="a file written by fastnn train --save")
    _add_data(sub, "mnist or sample, whichever the network was trained on")

    sub = command("predict", _predict, "Say which digit is on an image.", PREDICT_HELP)
    sub.add_argument("model", metavar="MODEL", help="a file written by fastnn train --save")
    sub.add_argument("files", nargs="+", metavar="FILE", help="an image, or an array file .npy or .npz")
    sub.add_argument("--invert", choices=["auto", "yes", "no"], default="auto",
                     help="make dark digits on light ground light on dark; auto (default): where the border is light")

    command("info", _info, "Show the version, instruction sets, threads, and where data are looked for.")

    sub = command("bench", _bench, "Compare fastnn with NumPy and with loops in Python on this machine.")
    sub.add_argument("--quick", action="store_true", help="fewer sizes and repetitions")
    _add_threads(sub)
    return parser


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


# Commands: each takes the parsed arguments and returns the exit code.


def _train(args: argparse.Namespace) -> int:
    from . import info, optimizers, threads, utils

    _check_save(args.save)
    optimizer = optimizers.get(args.optimizer)
    if args.learning_rate is not None:
        optimizer = type(optimizer)(learning_rate=args.learning_rate)
    utils.set_random_seed(args.seed)
    arrays, data = _load_data(args.data)
    x_train, y_train, x_test, y_test = arrays
    layers = [[units, "relu"] for units in args.hidden] + [[int(y_train.max()) + 1, "softmax"]]
    architecture = {"inputs": x_train.shape[1], "layers": layers, "data": data}
    model = _build(architecture)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])

    epochs = args.epochs or (10 if data == "sample" else 5)
    verbose = 0 if args.json else args.verbose if args.verbose == "auto" else int(args.verbose)
    clock = _Clock()
    with threads(args.threads) if args.threads else contextlib.nullcontext():
        history = model.fit(
            x_train, y_train, epochs=epochs, batch_size=args.batch_size, verbose=verbose, callbacks=[clock]
        ).history
        test = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
        used = info()
    if args.save:
        _save(args.save, model.get_weights(), architecture)

    digest = _sha256(model.get_weights())
    result = {
        "data": data, "hidden": args.hidden, "optimizer": args.optimizer, "learning_rate": optimizer.learning_rate,
        "batch_size": args.batch_size, "epochs": epochs, "seed": args.seed, "loss": history["loss"],
        "accuracy": history["accuracy"], "seconds": clock.seconds, "test_loss": test["loss"],
        "test_accuracy": test["accuracy"], "weights_sha256": digest, "version": used["version"], "isa": used["isa"],
        "threads": used["threads"], "saved": args.save,
    }
    lines = [_test_line(test, len(x_test), data), f"Weights: sha256 {digest}"]
    if args.save:
        lines.append(f"Saved: {args.save}")
    return _report(args, result, lines)


def _evaluate(args: argparse.Namespace) -> int:
    model, architecture = _load_model(args.model)
    name = args.data or architecture.get("data")
    if args.data is None and name not in ("mnist", "sample"):
        raise ValueError(f"{args.model} was trained on data of your own. Name the file: --data PATH")
    (_, _, x_test, y_test), data = _load_data(name)
    if x_test.shape[1] != architecture["inputs"] or y_test.max() >= architecture["layers"][-1][0]:
        raise ValueError(
            f"{args.model} takes {architecture['inputs']} values and knows {architecture['layers'][-1][0]} classes, "
            f"but {data} has {x_test.shape[1]} values a sample and labels up to {y_test.max()}."
        )
    test = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
    result = {"model": args.model, "data": data, "test_loss": test["loss"], "test_accuracy": test["accuracy"]}
    return _report(args, result, [_test_line(test, len(x_test), data)])


def _predict(args: argparse.Namespace) -> int:
    import numpy as np

    model, architecture = _load_model(args.model)
    if architecture["inputs"] != SIDE * SIDE:
        raise ValueError(f"{args.model} takes {architecture['inputs']} values, which is no image of 28 x 28 pixels.")
    names, images = [], []
    for file in args.files:
        found = _read_images(file, args.invert)
        names += [file] if len(found) == 1 else [f"{file}[{i}]" for i in range(len(found))]
        images.append(found)
    x = np.concatenate(images).reshape(-1, SIDE * SIDE).astype("float32")
    outputs = model.predict(x, verbose=0)
    rows = [
        {"image": name, "digit": int(output.argmax()), "probability": float(output.max()),
         "probabilities": output.tolist()}
        for name, output in zip(names, outputs, strict=True)
    ]
    lines = [f"{row['image']}: {row['digit']} ({100 * row['probability']:.1f} %)" for row in rows]
    return _report(args, {"model": args.model, "predictions": rows}, lines)


def _info(args: argparse.Namespace) -> int:
    from . import info

    facts = info()
    sets = ", ".join(name if supported else f"{name} (not on this CPU)" for name, supported in facts["isas"].items())
    lines = [
        f"fastnn {facts['version']}, numpy {facts['numpy']}, Python {sys.version.split()[0]}",
        f"instruction set: {facts['isa']}, of those compiled: {sets}",
        f"threads: {facts['threads']}",
        "MNIST is looked for in:",
        *(f"  {place}" for place in facts["data"]),
    ]
    return _report(args, facts, lines)


def _bench(args: argparse.Namespace) -> int:
    from . import benchmark

    return benchmark.main(args)


# Data and models: each of these returns what is ready for use, or raises an error that names the file and the fix.


def _load_data(name: str | None) -> tuple[tuple[Any, Any, Any, Any], str]:
    """Return x_train, y_train, x_test, y_test with x as float32 rows, and which data these are."""
    from .datasets import mnist

    if name in (None, "mnist"):
        try:
            (x_train, y_train), (x_test, y_test) = mnist.load_data()
            name = "mnist"
        except (ImportError, OSError) as error:
            if name == "mnist" or os.environ.get("FASTNN_DATA"):
                raise
            _note(f"training on the sample of 5,000 images instead of MNIST: {str(error).splitlines()[0]}")
            name = "sample"
    if name == "sample":
        (x_train, y_train), (x_test, y_test) = mnist.load_sample()
    elif name != "mnist":
        (x_train, y_train), (x_test, y_test) = _load_own_data(name)
    return (_as_rows(x_train), y_train, _as_rows(x_test), y_test), name


def _load_own_data(file: str) -> Any:
    names = ("x_train", "y_train", "x_test", "y_test")
    arrays = _read_npz(file)
    if missing := [name for name in names if name not in arrays]:
        raise ValueError(f"{file} lacks {', '.join(missing)}: it needs x_train, y_train, x_test and y_test.")
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.ndim < 2 or x.dtype.kind not in "uif" or x.size == 0:
            raise ValueError(f"{file}: x_{part} must hold numbers of shape (n, ...), received {x.dtype} {x.shape}.")
        if y.shape != x.shape[:1] or y.dtype.kind not in "ui" or y.min() < 0:
            raise ValueError(
                f"{file}: y_{part} must hold {len(x)} integer labels from 0, received {y.dtype} {y.shape}."
            )
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        raise ValueError(f"{file}: x_train and x_test must have samples of one shape.")
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])


def _read_npz(file: str) -> dict[str, Any]:
    """Return the arrays of an .npz file, or of a .npy file as ``{"array": ...}``."""
    import numpy as np

    if not os.path.isfile(file):
        raise FileNotFoundError(f"{file} does not exist" if not os.path.exists(file) else f"{file} is not a file")
    try:
        with open(file, "rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            return {"array": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded}
    except PermissionError:
        raise
    except Exception as error:  # a damaged zip: BadZipFile, zlib.error, EOFError, ValueError, KeyError, ...
        raise ValueError(f"{file} is damaged, or no array file ({type(error).__name__}: {error})") from error


def _as_rows(x: Any) -> Any:
    """Return x (n, ...) as float32 rows (n, I); bytes from 0 to 255 become 0 to 1."""
    rows = x.reshape(len(x), -1).astype("float32")
    if x.dtype == "uint8":
        rows /= 255
    return rows


def _build(architecture: dict[str, Any]) -> Any:
    from . import layers, models

    stack = [layers.Dense(units, activation=activation) for units, activation in architecture["layers"]]
    return models.Sequential([layers.Input((architecture["inputs"],)), *stack])


def _check_save(file: str | None) -> None:
    """Raise what would otherwise be noticed only after the training."""
    if file is None:
        return
    folder = os.path.dirname(os.path.abspath(file))
    if not file.endswith(".npz"):
        raise ValueError(f"--save {file}: the name has to end in .npz")
    if not os.path.isdir(folder):
        raise ValueError(f"--save {file}: the folder {folder} does not exist")
    if os.path.isdir(file) or not os.access(folder, os.W_OK):
        raise ValueError(f"--save {file}: a file cannot be written there")


def _save(file: str, weights: list[Any], architecture: dict[str, Any]) -> None:
    """Write through a temporary file beside it: ``file`` is never half written."""
    import numpy as np

    temporary = f"{file}.{os.getpid()}.part"
    try:
        with open(temporary, "xb") as stream:
            named = {f"weight_{i}": weight for i, weight in enumerate(weights)}
            np.savez(stream, architecture=np.array(json.dumps(architecture)), **named)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _load_model(file: str) -> tuple[Any, dict[str, Any]]:
    """Return the model saved in ``file``, compiled for evaluate, and its architecture."""
    arrays = _read_npz(file)
    try:
        architecture = json.loads(str(arrays.pop("architecture")))
        weights = [arrays[f"weight_{i}"] for i in range(len(arrays))]
        units = [architecture["inputs"]] + [units for units, _ in architecture["layers"]]
        shapes = [shape for i, o in zip(units, units[1:]) for shape in ((i, o), (o,))]  # noqa: B905
        if [weight.shape for weight in weights] != shapes:
            raise ValueError(f"weights of other shapes than {shapes}")
        model = _build(architecture)
        model.set_weights(weights)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file} is no model written by fastnn train --save ({type(error).__name__}: {error})"
        ) from error
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, architecture


# Images: float arrays from 0 to 1, of shape (n, 28, 28), with light digits on dark ground.


def _read_images(file: str, invert: str) -> Any:
    import numpy as np

    if not file.lower().endswith((".npy", ".npz")):
        return _fit_digit(_read_picture(file), invert)[None]
    arrays = _read_npz(file)
    if len(arrays) != 1:
        raise ValueError(f"{file} must hold one array, received {len(arrays)}: {', '.join(arrays)}")
    (x,) = arrays.values()
    if x.shape[-2:] == (SIDE, SIDE) and x.ndim in (2, 3) or x.ndim == 2 and x.shape[1] == SIDE * SIDE:
        scale, images = 255 if x.dtype.kind in "ui" else 1, x.reshape(-1, SIDE, SIDE)
        if x.dtype.kind in "uifb" and x.size and 0 <= x.min() and x.max() <= scale:
            return np.stack([_fit_digit(image / np.float32(scale), invert) for image in images])
        raise ValueError(f"{file} must hold integers from 0 to 255 or floats from 0 to 1, received {x.dtype} "
                         f"from {x.min()} to {x.max()}" if x.size else f"{file} holds no images")
    raise ValueError(f"{file} must have the shape (28, 28), (n, 28, 28) or (n, 784), received {x.shape}")


def _read_picture(file: str) -> Any:
    """Return the grey values of an image file, from 0 to 1, as (height, width)."""
    import numpy as np

    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        needs_pillow = 'Reading image files needs pillow. Install it with: pip install "fastnn-cpu[app]"'
        raise ImportError(needs_pillow) from error
    if not os.path.exists(file):
        raise FileNotFoundError(f"{file} does not exist")
    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode[0] in "IF":  # 16 and 32 bits a pixel
                grey = np.asarray(image, "float32")
                return (grey - grey.min()) / max(float(np.ptp(grey)), 1e-6)
            image = image.convert("RGBA")
            ground = Image.new("RGBA", image.size, "white")
            return np.asarray(Image.alpha_composite(ground, image).convert("L"), "float32") / 255
    except Exception as error:  # pillow raises SyntaxError, struct.error and others for damaged files
        raise ValueError(f"{file} cannot be read as an image ({type(error).__name__}: {error})") from error


def _fit_digit(image: Any, invert: str) -> Any:
    """Return ``image`` (height, width) light on dark and 28 x 28; the help of ``fastnn predict`` tells how."""
    import numpy as np

    ground = float(np.median(np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])))
    if invert == "yes" or invert == "auto" and ground > 0.5:
        image, ground = 1 - image, 1 - ground
    if image.shape == (SIDE, SIDE):
        return image

    from PIL import Image

    ink = np.clip(image - ground, 0, None)
    ink = ink / max(float(ink.max()), 1e-6)
    rows, columns = (np.flatnonzero((ink > 0.3).any(axis)) for axis in (1, 0))
    digit = ink[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1] if len(rows) else ink
    height, width = (max(1, round(DIGIT_SIDE * side / max(digit.shape))) for side in digit.shape)
    digit = np.asarray(Image.fromarray(digit).resize((width, height), Image.Resampling.BOX))
    weight = max(float(digit.sum()), 1e-6)
    top = SIDE / 2 - (digit.sum(1) @ (np.arange(height) + 0.5)) / weight
    left = SIDE / 2 - (digit.sum(0) @ (np.arange(width) + 0.5)) / weight
    top, left = (min(max(round(start), 0), SIDE - side) for start, side in ((top, height), (left, width)))
    fitted = np.zeros((SIDE, SIDE), "float32")
    fitted[top:top + height, left:left + width] = digit
    return fitted


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
    return f"Test accuracy: {test['accuracy']:.4f}, loss: {test['loss']:.4f} ({images} test images of {data})"


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
