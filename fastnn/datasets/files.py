"""The files of data sets: where they are kept, how they are downloaded, and how a wrong one is told."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import threading

# Everything else is imported in the function that needs it: `import fastnn` comes through here.

TIMEOUT = 7.0  # seconds: from the request to the first byte, and from then on between two pieces


class Wanted(NamedTuple):
    """A file that is known byte for byte.

    verify: called with where bytes come from, and the bytes; returns what is in them, raises ValueError if they are
    not the file's.  most_bytes: more are not downloaded.  ways_out: what a user can do when there is no such file.
    """

    title: str  # of the data set
    url: str
    verify: Callable[[str, bytes], bytes]
    most_bytes: int
    ways_out: str


def find(wanted: Wanted, places: list[str], keep: str, looked_in: tuple[str, ...] = ()) -> tuple[str, bytes]:
    """Return the first of the files ``places`` that is the wanted one, else the download, which ``keep`` then holds.

    Returns the place and what ``wanted.verify`` returned.  Raises ImportError without pooch, ConnectionError if the
    download fails, with all the places; and OSError if it cannot be kept.
    """
    lines = list(looked_in)
    for place in places:
        try:
            return place, wanted.verify(place, read(place))
        except (OSError, ValueError) as error:
            lines.append(str(error))
    try:
        data = download(wanted.url, wanted.most_bytes)
        content = wanted.verify(wanted.url, data)
    except ImportError as error:
        needs_pooch = f'Downloading {wanted.title} needs pooch. Install it with: pip install "fastnn-cpu[app]"'
        raise ImportError(f"{needs_pooch}\n{_ways_out(lines, wanted)}") from error
    except (OSError, ValueError) as error:
        lines.append(str(error))
        raise ConnectionError(f"{wanted.title} could not be downloaded.\n{_ways_out(lines, wanted)}") from error
    store(keep, data, wanted.title)
    return wanted.url, content


def _ways_out(looked_in: list[str], wanted: Wanted) -> str:
    """Return the end of an error message: where the file was looked for, and what the user can do."""
    places = "\n".join(f"  - {place}" for place in looked_in)
    return f"Looked in:\n{places}\n{wanted.ways_out}"


def check_sha256(source: str, data: bytes, sha256: str, name: str) -> bytes:
    """Return ``data``; raise ValueError, naming its ``source``, if it is not ``name``."""
    import hashlib

    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(f"{source} is not {name}: {len(data)} bytes with SHA-256 {found}, expected {sha256}")
    return data


def cache_folder() -> str:
    """Return where fastnn keeps downloads: in the user's cache folder, wherever the platform has that."""
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        folder = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        folder = os.path.join(home, "Library", "Caches")
    else:
        folder = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return os.path.join(folder, "fastnn")


def keras_folder() -> str:
    """Return where Keras keeps its downloads."""
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    return os.path.join(home, "datasets")


def read(file: str) -> bytes:
    with open(file, "rb") as stream:
        return stream.read()


class _Receiver(io.BytesIO):
    """A download in memory; sets the event ``begun`` at its first byte, refuses more than ``most_bytes``."""

    def __init__(self, begun: threading.Event, most_bytes: int) -> None:
        super().__init__()
        self.begun, self.most_bytes = begun, most_bytes

    def write(self, piece: bytes) -> int:  # type: ignore[override]
        self.begun.set()
        if self.tell() + len(piece) > self.most_bytes:
            raise ValueError(f"the server sent more than {self.most_bytes} bytes")
        return super().write(piece)


def download(url: str, most_bytes: int) -> bytes:
    """Return the bytes behind ``url``; raise ConnectionError if nothing comes for ``TIMEOUT`` seconds.

    A socket's timeout counts anew for each address of a name, and does not cover looking the name up. So a
    thread does the work, and is left behind when its first byte is late; after that byte a download may take
    as long as it needs. Redirects are not followed: they could lead away from https.
    """
    import threading

    from pooch import HTTPDownloader

    begun = threading.Event()
    receiver = _Receiver(begun, most_bytes)
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


def store(file: str, data: bytes, title: str) -> None:
    """Write ``data`` to ``file`` through a temporary file beside it: ``file`` is never half written."""
    import tempfile

    folder = os.path.dirname(file)
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix="fastnn-", suffix=".part", dir=folder)
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
            f"{title} was downloaded but cannot be kept ({error.strerror}). Make that folder writable, "
            "or download the file yourself and set FASTNN_DATA to its folder",
            file,
        ) from error
