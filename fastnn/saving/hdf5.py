"""HDF5 as Keras writes it, read without trust: plain arrays of numbers, nothing linked, filtered or elsewhere."""
import io
import math
from contextlib import contextmanager

from ..utils import optional
from .files import FormatError

MOST_TEXT = 2**24                       # bytes that the strings of one attribute may take
MOST_MEMBERS = 10_000                   # of a group


@contextmanager
def opened(data):
    """The root Group of the HDF5 file in `data`, a memoryview; what h5py raises about it becomes a FormatError."""
    h5py = optional("h5py", "Reading .keras and .h5 files", "keras")
    try:
        with h5py.File(_Bytes(data), "r") as file:
            yield Group(file, data)
    except (OSError, RuntimeError, KeyError, UnicodeError) as error:
        raise FormatError(f"its HDF5 part is damaged: {error}") from error


def written(fill):
    """The bytes of an HDF5 file that fill(group) writes into."""
    h5py = optional("h5py", "Writing .keras and .weights.h5 files", "keras")
    made = io.BytesIO()
    with h5py.File(made, "w", libver="earliest") as file:
        fill(file)
    return made.getbuffer()


class _Bytes(io.RawIOBase):
    """A memoryview as a file, which nothing copies."""

    def __init__(self, data):
        self.data, self.place = data, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        self.place = offset + (0, self.place, len(self.data))[whence]
        return self.place

    def tell(self):
        return self.place

    def readinto(self, buffer):
        part = self.data[self.place:self.place + len(buffer)]
        buffer[:len(part)] = part
        self.place += len(part)
        return len(part)


class Group:
    """A group of the file, whose members are reached by hard links alone."""

    def __init__(self, group, data, path=""):
        self.group, self.data, self.path = group, data, path

    def names(self):
        if len(self.group) > MOST_MEMBERS:
            raise FormatError(f"its group {self.path or '/'} has {len(self.group)} members of at most {MOST_MEMBERS}")
        return list(self.group)

    def _member(self, name, kind):
        import h5py

        path, links = f"{self.path}/{name}", self.group.id.links
        if not name or not links.exists(name.encode()):
            raise FormatError(f"it has no {path}")
        if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise FormatError(f"its {path} is a soft, external or user-defined link, and only what lies in the file "
                              "itself is read")
        member = self.group[name]
        if not isinstance(member, getattr(h5py, kind)):
            raise FormatError(f"its {path} is not a {kind.lower()}")
        return member, path

    def at(self, path):
        """The group below at names joined by slashes."""
        group = self
        for name in path.split("/"):
            group = Group((found := group._member(name, "Group"))[0], self.data, found[1])
        return group

    def array(self, path, shape, kinds):
        """The dataset below at `path`, once its header is known to describe what is expected and is there.

        kinds: the dtypes that it may have, as a letter and bytes, such as ('f4',).
        """
        *groups, name = path.split("/")
        dataset, where = (self.at("/".join(groups)) if groups else self)._member(name, "Dataset")
        _check_plain(dataset, where)
        found, shape = dataset.shape, tuple(shape)
        if found != shape or dataset.dtype.str[1:] not in kinds:
            raise FormatError(f"its {where} is {dataset.dtype.name} of shape {found}, expected {' or '.join(kinds)} of "
                              f"shape {shape}")
        if dataset.id.get_storage_size() != math.prod(shape) * dataset.dtype.itemsize or \
                math.prod(shape) * dataset.dtype.itemsize > len(self.data):
            raise FormatError(f"its {where} declares {math.prod(shape)} numbers, which the file does not hold")
        return dataset[()]

    def texts(self, name, most):
        """The attribute of that name, one string or several up to `most`, as a list; None where there is none."""
        import h5py

        if not h5py.h5a.exists(self.group.id, name.encode()):
            return None
        attribute = h5py.h5a.open(self.group.id, name.encode())
        count, kind = math.prod(attribute.shape), attribute.dtype.kind
        longest = attribute.dtype.itemsize if kind == "S" else _longest_string(self.data)
        if count > most or count * longest > MOST_TEXT or kind not in "SO" and count:
            raise FormatError(f"its attribute {name!r} of {self.path or '/'} is not text of at most {most} strings")
        value = self.group.attrs[name] if count else []
        texts = [value] if isinstance(value, (str, bytes)) else list(value)
        if not all(isinstance(text, (str, bytes)) for text in texts):
            raise FormatError(f"its attribute {name!r} of {self.path or '/'} is not text")
        return [text.decode() if isinstance(text, bytes) else str(text) for text in texts]


def _check_plain(dataset, where):
    """Numbers one after the other in this file."""
    import h5py

    plan = dataset.id.get_create_plist()
    if plan.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or plan.get_nfilters():
        raise FormatError(f"its {where} is in chunks, compressed or virtual, and only the plain arrays that Keras "
                          "writes are read")
    if plan.get_external_count():
        raise FormatError(f"its {where} lies in another file, and only what lies in the file itself is read")


def _longest_string(data):
    """No string of variable length is longer than the largest heap ("GCOL") that holds such strings."""
    import re

    return min(len(data), max((int.from_bytes(data[at.end() + 4:at.end() + 12], "little")
                               for at in re.finditer(b"GCOL", data)), default=0))
