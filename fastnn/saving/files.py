"""Files on disk: a name as users give it, read as one map of memory, written whole or not at all."""
import os
import stat
from contextlib import suppress


class FormatError(ValueError):
    """A file that is not what it should be: damaged, cut short, made by something else, or made to do harm."""


def as_path(filepath):
    """The path as text: pathlib's and bytes' too, with ~ for the home folder."""
    return os.path.expanduser(os.fsdecode(filepath))


def mapped(path):
    """The bytes of a file as a memoryview, mapped and not read.  OSError where it cannot be opened."""
    import mmap

    with open(path, "rb", opener=_open_regular) as file:
        if not os.fstat(file.fileno()).st_size:
            raise FormatError(f"{path} cannot be loaded: it is empty.")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _open_regular(path, flags):
    """A pipe or a device would wait, or never end."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(mode := os.fstat(descriptor).st_mode) and not stat.S_ISDIR(mode):
        os.close(descriptor)
        raise FormatError(f"{path} cannot be loaded: it is not a regular file.")
    return descriptor


def write_whole(path, data):
    """Write a file that is the old one or the new one at every moment, also after a crash or a loss of power.

    Raises OSError with the path, the file as it was, where the disk is full or the folder may not be written to.
    """
    target = os.path.realpath(path)         # of a link, the file that it names
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".fastnn-{os.urandom(8).hex()}.part")
    try:
        if os.path.isdir(target):
            raise IsADirectoryError(21, "Is a directory")
        try:
            _write_new(temporary, data, target)
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(folder)
    except OSError as error:
        raise type(error)(error.errno, _reason(error, folder), os.fspath(path)) from error


def _write_new(temporary, data, target):
    with open(temporary, "xb", buffering=0) as file:
        with suppress(FileNotFoundError):   # who might read the old file may read the new one
            os.fchmod(file.fileno(), stat.S_IMODE(os.stat(target).st_mode))
        rest = memoryview(data)
        while len(rest):
            rest = rest[file.write(rest):]
        os.fsync(file.fileno())


def _sync_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error, folder):
    if isinstance(error, FileNotFoundError) and not os.path.isdir(folder):
        return f"Cannot save: the folder {folder} does not exist. Make it first"
    return f"Cannot save: {error.strerror}"
