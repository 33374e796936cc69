"""fastnn.datasets: where mnist.load_data() looks and what it says, downloads that go wrong, and the sample.

No test touches the user's caches or the network: the home folder is a temporary one, the server a local one.
"""

import errno
import hashlib
import io
import os
import re
import socket
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest
from file_server import serving

from fastnn.datasets import files, mnist

REPO = Path(__file__).resolve().parents[1]
FULL = Path(os.environ.get("FASTNN_DATA") or REPO.parent / "shared" / "data").resolve() / "mnist.npz"
needs_full_set = pytest.mark.skipif(
    not FULL.is_file(), reason="needs the whole MNIST: no mnist.npz in $FASTNN_DATA or ../shared/data"
)
INSTALL = 'Downloading MNIST needs pooch. Install it with: pip install "fastnn-cpu[app]"'


def npz_bytes(mark=0, **changes):
    """A file of MNIST's shapes, all zeros but for y_train[0]; ``changes`` replaces arrays, None omits one."""
    arrays = {name: np.zeros(shape, np.uint8) for name, shape in mnist.SHAPES.items()}
    arrays["y_train"][0] = mark
    arrays.update(changes)
    stream = io.BytesIO()
    np.savez_compressed(stream, **{name: array for name, array in arrays.items() if array is not None})
    return stream.getvalue()


def mark_of(pairs):
    """Which of the files below was loaded."""
    (x_train, y_train), (x_test, y_test) = pairs
    for name, array in zip(mnist.SHAPES, (x_train, y_train, x_test, y_test), strict=True):
        assert array.shape == mnist.SHAPES[name]
        assert array.dtype == np.uint8
    return y_train[0]


CACHED, OWN, VARIABLE = npz_bytes(1), npz_bytes(2), npz_bytes(3)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home folder; CACHED counts as Keras' file; nobody answers at the URL."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("FASTNN_DATA", "KERAS_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(mnist, "URL", "http://127.0.0.1:1/mnist.npz")
    monkeypatch.setattr(mnist, "SHA256", hashlib.sha256(CACHED).hexdigest())
    return folder


@pytest.fixture
def cache(home):
    return Path(mnist._cache_file())


@pytest.fixture
def keras(home):
    return home / ".keras" / "datasets" / "mnist.npz"


def put(file, data):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


# --- the places, in their order -----------------------------------------------------------------------------


def test_order_of_the_places(tmp_path, monkeypatch, cache, keras):
    own = put(tmp_path / "own" / "mnist.npz", OWN)
    put(tmp_path / "variable" / "mnist.npz", VARIABLE)
    put(keras, CACHED)
    assert mark_of(mnist.load_data()) == 1
    assert not cache.exists()  # Keras' file is used where it is
    keras.unlink()
    put(cache, CACHED)
    assert mark_of(mnist.load_data()) == 1
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "variable"))
    assert mark_of(mnist.load_data()) == 3
    assert mark_of(mnist.load_data(own)) == 2


def test_fastnns_cache_comes_before_keras_and_the_network(monkeypatch, cache, keras):
    read = []
    monkeypatch.setattr(files, "read", lambda file: read.append(file) or CACHED)
    mnist.load_data()
    assert read == [str(cache)]


@pytest.mark.parametrize("form", ["file", "folder", "str", "relative", "home", "other name"])
def test_path(form, tmp_path, monkeypatch, home):
    file = put(tmp_path / "作業一 data" / "mnist.npz", OWN)
    monkeypatch.chdir(tmp_path)
    path = {
        "file": file,
        "folder": file.parent,
        "str": str(file),
        "relative": "作業一 data/mnist.npz",
        "home": "~/mine",
        "other name": tmp_path / "digits.npz",
    }[form]
    if form == "home":
        put(home / "mine" / "mnist.npz", OWN)
    if form == "other name":
        path.write_bytes(OWN)
    assert mark_of(mnist.load_data(path=path)) == 2


@pytest.mark.parametrize("folder", ["absent", "empty"])
def test_missing_path(folder, tmp_path):
    path = tmp_path / folder
    if folder == "empty":
        path.mkdir()
    with pytest.raises(FileNotFoundError) as info:
        mnist.load_data(path)
    expected = path / "mnist.npz" if folder == "empty" else path
    assert str(info.value) == (
        f"{expected} does not exist. Give path= the file mnist.npz or a folder that holds it, "
        "or call load_data() without path: it searches the caches and downloads the file."
    )


def test_variable_without_the_file(tmp_path, monkeypatch, cache):
    put(cache, CACHED)
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError) as info:
        mnist.load_data()
    assert str(info.value) == (
        f"FASTNN_DATA is set to {str(tmp_path)!r}, but {tmp_path / 'mnist.npz'} does not exist. "
        "Put mnist.npz there, set FASTNN_DATA to the folder that holds it, or unset it."
    )


def test_empty_variable_counts_as_unset(monkeypatch, cache):
    put(cache, CACHED)
    monkeypatch.setenv("FASTNN_DATA", "")
    assert mark_of(mnist.load_data()) == 1


def test_keras_home(tmp_path, monkeypatch):
    put(tmp_path / "k" / "datasets" / "mnist.npz", CACHED)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "k"))
    assert mark_of(mnist.load_data()) == 1


@pytest.mark.parametrize(
    "platform, variable, parts",
    [
        ("linux", None, (".cache",)),
        ("linux", "XDG_CACHE_HOME", ("set",)),
        ("freebsd14", None, (".cache",)),
        ("darwin", None, ("Library", "Caches")),
        ("win32", None, ("AppData", "Local")),
        ("win32", "LOCALAPPDATA", ("set",)),
    ],
)
def test_cache_folder_of_each_platform(platform, variable, parts, monkeypatch, home):
    monkeypatch.setattr(files, "sys", types.SimpleNamespace(platform=platform))
    if variable:
        monkeypatch.setenv(variable, str(home / "set"))
    assert Path(mnist._cache_file()) == home.joinpath(*parts, "fastnn", "mnist.npz")


# --- files that are not what they should be -----------------------------------------------------------------

NOT_NPZ = {
    "empty": b"",
    "text": b"<html>Please log in</html>",
    "truncated": OWN[: len(OWN) // 2],
    "a flipped bit": OWN[:2000] + bytes([OWN[2000] ^ 4]) + OWN[2001:],
    "no zip inside": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("way", ["path", "variable"])
@pytest.mark.parametrize("fault", NOT_NPZ)
def test_damaged_file_of_your_own(fault, way, tmp_path, monkeypatch):
    file = put(tmp_path / "mnist.npz", NOT_NPZ[fault])
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path) if way == "variable" else "")
    with pytest.raises(ValueError) as info:
        mnist.load_data(file if way == "path" else None)
    assert str(info.value).startswith(f"{file} is damaged or not an .npz file (")
    assert str(info.value).endswith("). Replace the file.")


def test_npy_and_pickled_files_are_refused(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "pickled.npz", x_train=np.array([{}]))
    for name in ("array.npy", "pickled.npz"):
        with pytest.raises(ValueError, match=f"{name} is damaged or not an .npz file"):
            mnist.load_data(tmp_path / name)


@pytest.mark.parametrize("way", ["path", "variable"])
@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({"y_test": None}, "y_test is missing, expected (10000,) uint8"),
        (
            {"x_test": np.zeros((10, 28, 28), np.uint8)},
            "x_test is (10, 28, 28) uint8, expected (10000, 28, 28) uint8",
        ),
        ({"y_train": np.zeros(60000, np.int64)}, "y_train is (60000,) int64, expected (60000,) uint8"),
        (
            {"x_test": np.zeros((10, 28, 28), np.float32), "y_train": None},
            "y_train is missing, expected (60000,) uint8; "
            "x_test is (10, 28, 28) float32, expected (10000, 28, 28) uint8",
        ),
    ],
)
def test_other_arrays(changes, complaint, way, tmp_path, monkeypatch):
    file = put(tmp_path / "mnist.npz", npz_bytes(**changes))
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path) if way == "variable" else "")
    with pytest.raises(ValueError) as info:
        mnist.load_data(file if way == "path" else None)
    assert str(info.value) == f"{file} does not have the arrays of Keras' mnist.npz: {complaint}."


def test_arrays_beside_the_expected_ones_are_ignored(tmp_path):
    assert mark_of(mnist.load_data(put(tmp_path / "m.npz", npz_bytes(2, more=np.zeros(3))))) == 2


# --- nothing found ------------------------------------------------------------------------------------------


def assert_lists_the_ways_out(message, cache, keras):
    for part in (
        "FASTNN_DATA is not set",
        str(cache),
        str(keras),
        f"Put Keras' mnist.npz in {cache.parent}, set FASTNN_DATA to a folder",
        "load_data(path=...)",
        "mnist.load_sample()",
    ):
        assert part in message


def test_without_pooch(monkeypatch, cache, keras):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError) as info:
        mnist.load_data()
    assert str(info.value).startswith(INSTALL + "\nLooked in:\n")
    assert_lists_the_ways_out(str(info.value), cache, keras)


def test_wrong_file_in_keras_cache_is_skipped_and_named(monkeypatch, cache, keras):
    monkeypatch.setitem(sys.modules, "pooch", None)
    put(keras, OWN)
    with pytest.raises(ImportError) as info:
        mnist.load_data()
    received = f"{len(OWN)} bytes with SHA-256 {hashlib.sha256(OWN).hexdigest()}, expected {mnist.SHA256}"
    assert f"{keras} is not Keras' mnist.npz: {received}" in str(info.value)
    assert keras.read_bytes() == OWN


def test_wrong_file_in_fastnns_cache_does_not_hide_keras(cache, keras):
    put(cache, OWN)
    put(keras, CACHED)
    assert mark_of(mnist.load_data()) == 1


# --- downloads ----------------------------------------------------------------------------------------------


@pytest.fixture
def server():
    pytest.importorskip("pooch")
    pytest.importorskip("requests")  # imported here, so that short timeouts do not measure the import
    with serving({"mnist.npz": CACHED}, {"mnist.npz": OWN}) as server:
        yield server


def test_download(server, monkeypatch, cache, capfd, caplog):
    monkeypatch.setattr(mnist, "URL", server.url("good", "mnist.npz"))
    assert mark_of(mnist.load_data()) == 1
    assert cache.read_bytes() == CACHED
    assert mark_of(mnist.load_data()) == 1
    assert server.requests == ["/good/mnist.npz"]  # the second time from the cache
    assert os.listdir(cache.parent) == ["mnist.npz"]
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.name == "pooch"]


def test_wrong_file_in_fastnns_cache_is_downloaded_anew(server, monkeypatch, cache):
    put(cache, OWN)
    monkeypatch.setattr(mnist, "URL", server.url("good", "mnist.npz"))
    assert mark_of(mnist.load_data()) == 1
    assert cache.read_bytes() == CACHED


def test_slow_download_may_take_longer_than_the_timeout(server, monkeypatch):
    monkeypatch.setattr(mnist, "URL", server.url("slow", "mnist.npz"))
    monkeypatch.setattr(files, "TIMEOUT", 1.0)
    start = time.monotonic()
    assert mark_of(mnist.load_data()) == 1
    assert time.monotonic() - start > 1.5


@pytest.mark.parametrize(
    "fault, reason",
    [
        ("wrong", "is not Keras' mnist.npz"),
        ("login_page", "is not Keras' mnist.npz: 26 bytes with"),
        ("nothing", "is not Keras' mnist.npz: 0 bytes with"),
        ("truncated", ""),  # IncompleteRead or the hash: as the versions of urllib3 have it
        ("not_found", "404"),
        ("broken", "503"),
        ("redirect", "is not Keras' mnist.npz: 0 bytes with"),
        ("endless", "the server sent more than 1000000 bytes"),
        ("silent", ""),
        ("stalled", "timed out"),
        ("hung_up", ""),
        ("no_http", ""),
    ],
)
def test_faults_of_the_server(fault, reason, server, monkeypatch, cache, keras):
    put(cache, OWN)
    monkeypatch.setattr(mnist, "URL", server.url(fault, "mnist.npz"))
    monkeypatch.setattr(files, "TIMEOUT", 1.0)
    monkeypatch.setattr(mnist, "MAX_BYTES", 1_000_000)
    start = time.monotonic()
    with pytest.raises(ConnectionError) as info:
        mnist.load_data()
    assert time.monotonic() - start < 5
    assert str(info.value).startswith("MNIST could not be downloaded.\nLooked in:\n")
    assert re.search(f"  - {re.escape(mnist.URL)}.*{reason}", str(info.value))
    assert_lists_the_ways_out(str(info.value), cache, keras)
    assert server.requests == [f"/{fault}/mnist.npz"]  # one try
    assert os.listdir(cache.parent) == ["mnist.npz"]
    assert cache.read_bytes() == OWN


@pytest.mark.parametrize("lookup", ["fails", "hangs"])
def test_no_network(lookup, monkeypatch, cache, keras):
    pytest.importorskip("pooch")
    pytest.importorskip("requests")
    over = threading.Event()

    def getaddrinfo(*args, **kwargs):
        if lookup == "hangs":
            over.wait(60)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(mnist, "URL", "https://mnist.invalid/mnist.npz")
    monkeypatch.setattr(files, "TIMEOUT", 1.0)
    start = time.monotonic()
    with pytest.raises(ConnectionError) as info:
        mnist.load_data()
    assert time.monotonic() - start < 3
    over.set()
    assert ("no answer within 1 seconds" if lookup == "hangs" else "not known") in str(info.value)
    assert_lists_the_ways_out(str(info.value), cache, keras)
    assert not cache.parent.exists()


def test_nobody_listens(cache, keras):
    pytest.importorskip("pooch")
    with pytest.raises(ConnectionError) as info:
        mnist.load_data()
    assert_lists_the_ways_out(str(info.value), cache, keras)


def test_the_real_constants():
    text = Path(mnist.__file__).read_text(encoding="utf-8")
    assert 'URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"' in text
    assert 'SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"' in text
    assert files.TIMEOUT < 9  # the promise is 10 seconds, with the imports


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_disk_full(step, server, monkeypatch, cache):
    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    put(cache, OWN)
    monkeypatch.setattr(mnist, "URL", server.url("good", "mnist.npz"))
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match=r"downloaded but cannot be kept \(No space left.*FASTNN_DATA") as info:
        mnist.load_data()
    assert info.value.errno == errno.ENOSPC
    assert info.value.filename == str(cache)
    assert os.listdir(cache.parent) == ["mnist.npz"]
    assert cache.read_bytes() == OWN


def test_cache_folder_cannot_be_made(server, monkeypatch, cache):
    put(cache.parent, b"a file where the folder should be")
    monkeypatch.setattr(mnist, "URL", server.url("good", "mnist.npz"))
    with pytest.raises(OSError, match="downloaded but cannot be kept") as info:
        mnist.load_data()
    assert info.value.filename == str(cache)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows replaces no file that another process reads")
def test_eight_processes_at_once(server, cache):
    script = (
        "from fastnn.datasets import mnist\n"
        f"mnist.URL, mnist.SHA256 = {server.url('slow', 'mnist.npz')!r}, {mnist.SHA256!r}\n"
        "assert mnist.load_data()[0][1][0] == 1"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(8)]
    assert [process.wait(60) for process in processes] == [0] * 8
    assert os.listdir(cache.parent) == ["mnist.npz"]
    assert cache.read_bytes() == CACHED


# --- the data -----------------------------------------------------------------------------------------------


@needs_full_set
def test_full_set():
    (x_train, y_train), (x_test, y_test) = mnist.load_data(FULL)
    found = [hashlib.sha256(array.tobytes()).hexdigest()[:16] for array in (x_train, y_train, x_test, y_test)]
    assert found == ["741c988805d008ac", "1feba77c54802fa5", "6d87418db22cc802", "ddeff807876a9661"]
    assert x_train.shape == (60000, 28, 28)
    assert x_test.shape == (10000, 28, 28)
    # as printed in the course
    assert [*y_train[:3], *y_train[-3:]] == [5, 0, 4, 5, 6, 8]
    assert [*y_test[:3], *y_test[-3:]] == [7, 2, 1, 4, 5, 6]


@needs_full_set
def test_sample_is_part_of_the_training_set():
    (x_train, y_train), _ = mnist.load_data(FULL)
    label_of = {image.tobytes(): label for image, label in zip(x_train, y_train, strict=True)}
    for x, y in mnist.load_sample():
        assert [label_of[image.tobytes()] for image in x] == list(y)


def test_sample():
    (x_train, y_train), (x_test, y_test) = mnist.load_sample()
    assert {array.dtype for array in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}
    assert x_train.shape == (4000, 28, 28)
    assert x_test.shape == (1000, 28, 28)
    assert np.bincount(y_train).tolist() == [400] * 10
    assert np.bincount(y_test).tolist() == [100] * 10
    assert len({image.tobytes() for image in [*x_train, *x_test]}) == 5000
    for y in (y_train, y_test):  # mixed: the digits are at home in every part
        assert all(np.bincount(part, minlength=10).min() > 0 for part in np.split(y, 10))


def test_sample_is_in_the_documented_order_and_has_the_documented_hashes():
    readme = Path(mnist.__file__).with_name("README.md").read_text(encoding="utf-8")
    for part, (x, y) in zip(("train", "test"), mnist.load_sample(), strict=True):
        hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in x]
        assert hashes == sorted(hashes)
        for name, array in ((f"x_{part}", x), (f"y_{part}", y)):
            assert f"| `{name}` | `{hashlib.sha256(array.tobytes()).hexdigest()}` |" in readme


def test_sample_file_is_small():
    assert os.path.getsize(Path(mnist.__file__).with_name("mnist_sample.npz")) < 1_000_000


def test_arrays_belong_to_the_caller():
    first, second = mnist.load_sample(), mnist.load_sample()
    first[0][0][:] = 7
    assert not np.array_equal(first[0][0], second[0][0])


def test_import_is_cheap():
    script = (
        "import sys, numpy; before = set(sys.modules); from fastnn.datasets import mnist\n"
        "heavy = {'urllib.request', 'http.client', 'ssl', 'zipfile', 'csv', 'pooch', 'requests'}\n"
        "print(*(heavy & set(sys.modules) - before))"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == ""
