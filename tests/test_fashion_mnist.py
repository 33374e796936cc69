"""fastnn.datasets.fashion_mnist: where load_data() looks, files that are not what they should be, and downloads.

No test touches the user's caches or the network: the home folder is a temporary one, the server a local one.
"""

import gzip
import hashlib
import os
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from file_server import serving

from fastnn.datasets import fashion_mnist, files

NAMES = list(fashion_mnist.NAMES.values())
LABELS = fashion_mnist.NAMES["y_train"]


def packed(content, **options):
    return gzip.compress(content, compresslevel=1, **options)


def contents(mark):
    """The four files before they are zipped, all zeros but for y_train[0]."""
    made = {}
    for (key, shape), name in zip(fashion_mnist.SHAPES.items(), NAMES, strict=True):
        array = np.zeros(shape, np.uint8)
        if key == "y_train":
            array[0] = mark
        made[name] = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes() + array.tobytes()
    return made


GOOD, OTHER = contents(1), contents(2)
GOOD_GZ, OTHER_GZ = ({name: packed(content) for name, content in made.items()} for made in (GOOD, OTHER))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home folder; GOOD counts as Zalando's files; no Debian, and nobody answers at the URL."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("FASTNN_DATA", "KERAS_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(fashion_mnist, "DEBIAN", str(tmp_path / "debian"))
    monkeypatch.setattr(fashion_mnist, "URL", "http://127.0.0.1:1/")
    for name, content in GOOD.items():
        monkeypatch.setitem(fashion_mnist.SHA256, name, hashlib.sha256(content).hexdigest())
    return folder


@pytest.fixture
def cache(home):
    return Path(files.cache_folder()) / "fashion-mnist"


@pytest.fixture
def server():
    pytest.importorskip("pooch")
    pytest.importorskip("requests")
    with serving(GOOD_GZ, OTHER_GZ) as server:
        yield server


def put(folder, packed_files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in packed_files.items():
        (folder / name).write_bytes(data)
    return folder


def mark_of(pairs):
    (x_train, y_train), (x_test, y_test) = pairs
    for shape, array in zip(fashion_mnist.SHAPES.values(), (x_train, y_train, x_test, y_test), strict=True):
        assert array.shape == shape
        assert array.dtype == np.uint8
        assert array.flags.writeable
    return y_train[0]


# --- the places


@pytest.mark.parametrize("place", ["variable", "folder in the variable", "debian", "cache", "keras"])
def test_each_place(place, tmp_path, monkeypatch, cache, home):
    folder = {"variable": tmp_path / "data", "folder in the variable": tmp_path / "data" / "fashion-mnist",
              "debian": tmp_path / "debian", "cache": cache,
              "keras": home / ".keras" / "datasets" / "fashion-mnist"}[place]
    put(folder, GOOD_GZ)
    if "variable" in place:
        monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "data"))
    assert str(folder) in fashion_mnist.places()
    assert mark_of(fashion_mnist.load_data()) == 1
    assert place == "cache" or not cache.exists()


def test_a_wrong_file_is_passed_over_and_the_files_may_lie_apart(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("FASTNN_DATA", str(put(tmp_path / "data", OTHER_GZ)))
    put(tmp_path / "debian", {LABELS: GOOD_GZ[LABELS]})
    put(cache, GOOD_GZ)
    assert mark_of(fashion_mnist.load_data()) == 1


def test_another_zip_of_the_same_file_is_as_good(tmp_path):
    put(tmp_path / "debian", {name: gzip.compress(content, 9, mtime=1) for name, content in GOOD.items()})
    assert mark_of(fashion_mnist.load_data()) == 1


@pytest.mark.parametrize("form", ["path", "str", "home"])
def test_path(form, tmp_path, home):
    put(tmp_path / "作業一", OTHER_GZ)
    put(home / "mine", OTHER_GZ)
    path = {"path": tmp_path / "作業一", "str": str(tmp_path / "作業一"), "home": "~/mine"}[form]
    assert mark_of(fashion_mnist.load_data(path)) == 2


def test_path_without_a_file(tmp_path):
    put(tmp_path / "some", {name: GOOD_GZ[name] for name in NAMES[:2]})
    with pytest.raises(FileNotFoundError) as info:
        fashion_mnist.load_data(tmp_path / "some")
    assert str(info.value).startswith(f"{tmp_path / 'some' / NAMES[2]} does not exist. Give path= a folder that holds")


# --- files that are not what they should be

LABELS_CONTENT = GOOD[LABELS]
FAULTS = {
    "empty": (b"", "it ends too early"),
    "text": (b"<html>Please log in</html>", "damaged or not a .gz file"),
    "truncated": (packed(LABELS_CONTENT)[:-9], "it ends too early"),
    "a wrong checksum": (packed(LABELS_CONTENT)[:-8] + bytes(8), "damaged or not a .gz file"),
    "a bomb": (packed(bytes(100 << 20)), "it holds more than 60008 bytes"),
    "one byte more": (packed(LABELS_CONTENT + b"x"), "60009 bytes that begin with 000008010000ea60, expected 60008"),
    "one byte less": (packed(LABELS_CONTENT[:-1]), "60007 bytes that begin with 000008010000ea60, expected 60008"),
    "another dtype": (packed(b"\0\0\x09" + LABELS_CONTENT[3:]), "begin with 000009010000ea60"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_file_of_your_own(fault, tmp_path):
    data, problem = FAULTS[fault]
    folder = put(tmp_path / "own", {**GOOD_GZ, LABELS: data})
    with pytest.raises(ValueError, match=re.escape(problem)) as info:
        fashion_mnist.load_data(folder)
    assert str(info.value).startswith(str(folder / LABELS))


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_file_in_a_cache_is_passed_over_and_named(fault, tmp_path, monkeypatch, cache):
    put(cache, {**GOOD_GZ, LABELS: FAULTS[fault][0]})
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError) as info:
        fashion_mnist.load_data()
    message = str(info.value)
    assert message.startswith("Downloading Fashion-MNIST needs pooch. Install it with: pip install \"fastnn-cpu[app]\"")
    for part in (str(cache / LABELS), str(tmp_path / "debian" / LABELS), "apt-get install dataset-fashion-mnist"):
        assert part in message


# --- downloads


def test_download(server, monkeypatch, cache, capfd):
    monkeypatch.setattr(fashion_mnist, "URL", server.url("good"))
    assert mark_of(fashion_mnist.load_data()) == 1
    assert {file.name: file.read_bytes() for file in cache.iterdir()} == GOOD_GZ
    assert mark_of(fashion_mnist.load_data()) == 1
    assert server.requests == [f"/good/{name}" for name in NAMES]   # the second time from the cache
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("fault, reason", [
    ("wrong", "is not Fashion-MNIST's train"), ("login_page", "not a .gz file"), ("nothing", "ends too early"),
    ("truncated", ""), ("not_found", "404"), ("redirect", "ends too early"), ("endless", "more than 1000000 bytes"),
    ("silent", ""), ("hung_up", ""), ("no_http", "")])
def test_faults_of_the_server(fault, reason, server, monkeypatch, cache):
    monkeypatch.setattr(fashion_mnist, "URL", server.url(fault))
    monkeypatch.setattr(fashion_mnist, "MAX_BYTES", 1_000_000)
    monkeypatch.setattr(files, "TIMEOUT", 1.0)
    if fault == "wrong":
        put(cache, {name: data for name, data in GOOD_GZ.items() if name != LABELS})
    start = time.monotonic()
    with pytest.raises(ConnectionError) as info:
        fashion_mnist.load_data()
    assert time.monotonic() - start < 5
    name = LABELS if fault == "wrong" else NAMES[0]
    assert str(info.value).startswith("Fashion-MNIST could not be downloaded.\nLooked in:\n")
    assert re.search(f"  - {re.escape(server.url(fault, name))}.*{reason}", str(info.value))
    assert server.requests == [f"/{fault}/{name}"]
    assert not (cache / name).exists()


# --- the data


def test_class_names():
    assert len(fashion_mnist.CLASS_NAMES) == 10
    assert fashion_mnist.CLASS_NAMES[0] == "T-shirt/top"
    assert fashion_mnist.CLASS_NAMES[9] == "Ankle boot"


@pytest.mark.skipif(not os.path.isdir("/usr/share/datasets/fashion-mnist"),
                    reason="needs Debian's package dataset-fashion-mnist")
def test_debians_files_are_zalandos(monkeypatch):
    monkeypatch.undo()
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()
    assert [*y_train[:5]] == [9, 0, 0, 3, 0]
    assert [*y_test[:5]] == [9, 2, 1, 1, 6]
    assert np.bincount(y_train).tolist() == [6000] * 10
    assert np.bincount(y_test).tolist() == [1000] * 10
    # the mean and deviation that are published for the training set: 0.2860 and 0.3530
    assert abs(x_train.mean() / 255 - 0.2860) < 1e-4
    assert abs(x_train.std() / 255 - 0.3530) < 1e-4
    assert x_test.shape == (10000, 28, 28)
