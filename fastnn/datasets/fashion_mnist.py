"""Fashion-MNIST: 70,000 images of clothing, 28 x 28 pixels, with their labels 0 to 9: MNIST's shapes, harder to tell.

``load_data()`` returns the whole set, as Keras does, and downloads it once; ``CLASS_NAMES`` says what the labels are.

Fashion-MNIST is by Zalando SE (H. Xiao, K. Rasul and R. Vollgraf, arXiv 1708.07747), MIT licence.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable

import numpy as np

from . import files
from .mnist import SHAPES, Arrays

CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip

URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
DEBIAN = "/usr/share/datasets/fashion-mnist"  # of Debian's package dataset-fashion-mnist
FOLDER = "fashion-mnist"
MAX_BYTES = 32 << 20  # of one file as it is downloaded; the largest has 26,421,880

# Of what is in the .gz files: Debian's differ from Zalando's and Keras' in the headers of the .gz.
SHA256 = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
NAMES = dict(zip(SHAPES, SHA256, strict=True))  # x_train, y_train, x_test, y_test


def load_data(path: str | os.PathLike[str] | None = None) -> Arrays:
    """Return Fashion-MNIST as ``(x_train, y_train), (x_test, y_test)``, all uint8, in the original order.

    x_train is (60000, 28, 28), y_train (60000,), x_test (10000, 28, 28), y_test (10000,); pixels run from 0
    to 255.

    The set is four files, ``train-images-idx3-ubyte.gz`` and so on. They are taken from the folder ``path`` if
    it is given, otherwise each from the first of these places:

    1. the folder named by the environment variable ``FASTNN_DATA``, or ``fashion-mnist`` in it;
    2. ``/usr/share/datasets/fashion-mnist``, where Debian's package ``dataset-fashion-mnist`` puts them;
    3. ``fashion-mnist`` in fastnn's cache, and in Keras' (see ``mnist.load_data``);
    4. the server Keras downloads from, which needs ``pip install "fastnn-cpu[app]"``; fastnn's cache then
       keeps the files, 31 MB.

    Files in ``path`` have to have these names and shapes. In the other places they have to be Zalando's
    (SHA-256 of what is inside the .gz): one that is not is passed over.

    Raises:
        FileNotFoundError: ``path`` does not hold one of the files.
        ValueError: a file in ``path`` is damaged, or not of the shape above.
        ImportError: a file has to be downloaded and pooch is not installed.
        ConnectionError: it could not be downloaded; without a network this takes less than 10 seconds.
        OSError: a file cannot be read, or the download cannot be written to the cache.

    Example::

        (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()
        print(fashion_mnist.CLASS_NAMES[y_train[0]])    # Ankle boot
    """
    load = _find if path is None else _own_folder(path)
    arrays = {key: _array(key, *load(key)) for key in SHAPES}
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])


def places() -> list[str]:
    """Return the folders in which ``load_data()`` looks for the files, in order."""
    own = os.path.expanduser(os.environ.get("FASTNN_DATA") or "")
    caches = [os.path.join(folder, FOLDER) for folder in (files.cache_folder(), files.keras_folder())]
    return [*([own, os.path.join(own, FOLDER)] if own else []), DEBIAN, *caches]


def _find(key: str) -> tuple[str, bytes]:
    name = NAMES[key]

    def verify(source: str, data: bytes) -> bytes:
        return files.check_sha256(source, _unzipped(key, source, data), SHA256[name], f"Fashion-MNIST's {name}")

    keep = os.path.join(files.cache_folder(), FOLDER)
    ways_out = (
        f"Put Zalando's files, such as {name}, in {keep}, set FASTNN_DATA to a folder that holds them, or give that "
        "folder to load_data(path=...). On Debian and Ubuntu: apt-get install dataset-fashion-mnist."
    )
    wanted = files.Wanted("Fashion-MNIST", URL + name, verify, MAX_BYTES, ways_out)
    return files.find(wanted, [os.path.join(place, name) for place in places()], os.path.join(keep, name))


def _own_folder(path: str | os.PathLike[str]) -> Callable[[str], tuple[str, bytes]]:
    folder = os.path.expanduser(os.fsdecode(path))

    def load(key: str) -> tuple[str, bytes]:
        file = os.path.join(folder, NAMES[key])
        if not os.path.exists(file):
            raise FileNotFoundError(
                f"{file} does not exist. Give path= a folder that holds {', '.join(SHA256)}, or call load_data() "
                "without path: it searches the caches and downloads the files."
            )
        return file, _unzipped(key, file, files.read(file))

    return load


def _size(key: str) -> int:
    """Return how many bytes a file of idx has: its header and the elements."""
    return 4 + 4 * len(SHAPES[key]) + int(np.prod(SHAPES[key]))


def _unzipped(key: str, source: str, data: bytes) -> bytes:
    """Return what is in the .gz file ``data``, never more than one byte beyond what the wanted file has."""
    unzip = zlib.decompressobj(wbits=31)
    try:
        content = unzip.decompress(data, _size(key) + 1)
    except zlib.error as error:
        raise ValueError(f"{source} is damaged or not a .gz file ({error}). Replace the file.") from error
    if not unzip.eof:
        problem = f"it holds more than {_size(key)} bytes" if len(content) > _size(key) else "it ends too early"
        raise ValueError(f"{source} is damaged or not Fashion-MNIST's {NAMES[key]}: {problem}. Replace the file.")
    return content


def _array(key: str, source: str, content: bytes) -> np.ndarray:
    """Return the array in ``content``, which has to be an idx file of uint8 of the wanted shape."""
    shape = SHAPES[key]
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">i4").tobytes()
    if len(content) != _size(key) or not content.startswith(header):
        raise ValueError(
            f"{source} does not hold {shape} uint8 as idx: {len(content)} bytes that begin with "
            f"{content[: len(header)].hex()}, expected {_size(key)} with {header.hex()}."
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape).copy()
