"""HDF5 as Keras writes it: read here without the HDF5 library, which a file can crash or stop; written with h5py.

Sections are those of the "HDF5 File Format Specification, version 3.0" (The HDF Group): a superblock of version 0 or 1
(II.A); groups as a B-tree (III.A.1) of symbol nodes (III.B) with names in a local heap (III.D); object headers of
version 1 (IV.A.1); texts of variable length in global heaps (III.E).  Arrays lie in the file as they are.  What Keras
does not write is refused: links to elsewhere, arrays in chunks, compressed, virtual or in other files.  Every address
and size is checked against the file, of which arrays are views, before it is used.
"""
import io
import math
import struct
from contextlib import contextmanager

import numpy as np

from ..utils import optional
from .files import FormatError

MOST_MEMBERS = 10_000                   # of a group, and messages of an object
MOST_TEXT = 2**24                       # bytes of an attribute's strings
NOWHERE = 2**64 - 1
SPACE, TYPE, ELSEWHERE, LAYOUT, FILTERS, ATTRIBUTE, MORE, SYMBOLS = 1, 3, 7, 8, 11, 12, 16, 17     # messages
FLOATS = {4: bytes.fromhex("0000200017080017 7f000000"), 8: bytes.fromhex("00004000340b0034 ff030000")}     # IEEE 754


@contextmanager
def opened(data):
    """The root Group of the HDF5 file in `data`, a memoryview."""
    try:
        if bytes(data[:8]) != b"\x89HDF\r\n\x1a\n":
            raise FormatError("it is no HDF5 file")
        if data[8] > 1 or bytes(data[13:15]) != b"\x08\x08":
            raise FormatError("its HDF5 layout is not the one that Keras writes. Save it anew with h5py's default "
                              "libver")
        base, _, end, _, _, root = struct.unpack_from("<6Q", data, 24 + 4 * data[8])
        if base or end > len(data):
            raise FormatError(f"it is cut short: its HDF5 part has {len(data)} bytes of {base + end}")
        yield Group(data, root)
    except (struct.error, OverflowError, UnicodeDecodeError) as error:
        raise FormatError(f"its HDF5 part is damaged: {error}") from error


def written(fill):
    """The bytes of an HDF5 file that fill(group of h5py) writes into."""
    h5py = optional("h5py", "Writing .keras and .weights.h5 files", "keras")
    made = io.BytesIO()
    with h5py.File(made, "w", libver="earliest") as file:
        fill(file)
    return made.getbuffer()


class Group:
    """A group: what it holds, by name."""

    def __init__(self, data, header, path=""):
        self.data, self.path, self.messages = data, path, _messages(data, header)
        tables = [data[at:at + size] for kind, at, size in self.messages if kind == SYMBOLS]
        if len(tables) != 1:
            raise FormatError(f"its {path or '/'} is no group, or one with links of a kind that Keras does not write: "
                              "only what lies in the file itself is read")
        tree, heap = struct.unpack_from("<2Q", tables[0])
        self.members, self.groups = dict(_symbols(data, tree, heap)), {}

    def names(self):
        return list(self.members)

    def _header(self, name):
        if name not in self.members:
            raise FormatError(f"it has no {self.path}/{name}")
        if self.members[name] is None:
            raise FormatError(f"its {self.path}/{name} is a soft link, and only what lies in the file itself is read")
        return self.members[name]

    def at(self, path):
        """The group below at names joined by slashes."""
        group = self
        for name in path.split("/"):
            if name not in group.groups:
                group.groups[name] = Group(self.data, group._header(name), f"{group.path}/{name}")
            group = group.groups[name]
        return group

    def array(self, path, shape, kinds):
        """The dataset below at `path`, as a view, if it is of the shape and of one of the kinds, such as 'f4'."""
        *groups, name = path.split("/")
        group = self.at("/".join(groups)) if groups else self
        where, found = f"{group.path}/{name}", {}
        for kind, at, size in _messages(self.data, group._header(name)):
            found.setdefault(kind, self.data[at:at + size])
        if not {SPACE, TYPE, LAYOUT} <= found.keys():
            raise FormatError(f"its {where} is not an array")
        if ELSEWHERE in found:
            raise FormatError(f"its {where} lies in another file, and only what lies in the file itself is read")
        dtype, lengths = _dtype(found[TYPE]), _shape(found[SPACE])
        if dtype is None or dtype.str[1:] not in kinds or lengths != tuple(shape):
            raise FormatError(f"its {where} is {dtype or 'no number'} of shape {lengths}, expected "
                              f"{' or '.join(kinds)} of shape {tuple(shape)}")
        contents = self._contents(found[LAYOUT], where) if FILTERS not in found else _refuse(where)
        if len(contents) != math.prod(lengths) * dtype.itemsize:
            raise FormatError(f"its {where} declares {math.prod(lengths)} numbers, which the file does not hold")
        return np.frombuffer(contents, dtype).reshape(lengths)

    def _contents(self, layout, where):
        """The bytes of an array, of layout version 3 (IV.A.2.i)."""
        version, kind = layout[0], layout[1]
        if version == 3 and kind == 0:      # in the header itself
            size, = struct.unpack_from("<H", layout, 2)
            return layout[4:4 + size]
        if version != 3 or kind != 1:
            _refuse(where)
        at, size = struct.unpack_from("<2Q", layout, 2)
        return self.data[at:at + size] if at != NOWHERE and at + size <= len(self.data) else self.data[:0]

    def texts(self, name, most):
        """The attribute of that name, one string or several up to `most`, as a list; None where there is none."""
        for kind, at, size in self.messages:
            if kind == ATTRIBUTE:
                found, type_, space, values = _attribute(self.data[at:at + size])
                if found == name:
                    return self._strings(f"attribute {name!r} of {self.path or '/'}", type_, _shape(space), values,
                                         most)
        return None

    def _strings(self, where, type_, shape, values, most):
        count, kind, size = math.prod(shape), type_[0] & 15, struct.unpack_from("<I", type_, 4)[0]
        if count == 0:
            return []
        if count > most or kind not in (3, 9) or count * size > len(values) or kind == 9 and (type_[1] & 15) != 1:
            raise FormatError(f"its {where} is not text of at most {most} strings")
        parts = [values[i * size:(i + 1) * size] for i in range(count)]
        strings = [bytes(part) for part in parts] if kind == 3 else _from_heaps(self.data, parts, where)
        return [string.rstrip(b"\0").decode() for string in strings]


def _refuse(where):
    raise FormatError(f"its {where} is in chunks, compressed or virtual, and only plain arrays, which Keras writes, "
                      "are read")


def _messages(data, header):
    """Kind, place and size of each message of the object whose header is there (IV.A.1.a)."""
    version, count, size = struct.unpack_from("<BxH4xI", data, header)
    if version != 1 or count > MOST_MEMBERS:
        raise FormatError("its HDF5 part is damaged, or has objects in a layout that Keras does not write")
    found, blocks = [], [(header + 16, size)]
    for start, length in blocks:            # grows on the way
        place, end = start, start + length
        while place + 8 <= end and len(found) < count:
            kind, size, flags = struct.unpack_from("<HHB", data, place)
            place += 8
            if place + size > min(end, len(data)) or flags & 2:
                raise FormatError("its HDF5 part is damaged, or shares messages, which Keras does not write")
            if kind == MORE:
                blocks.append(struct.unpack_from("<2Q", data, place))
            found.append((kind, place, size))
            place += size
    return found


def _symbols(data, tree, heap):
    """The members of a group: names with the places of their headers, None for a soft link."""
    mark, names = data[heap:heap + 4], data[:0]
    if bytes(mark) == b"HEAP":
        length, _, start = struct.unpack_from("<3Q", data, heap + 8)
        names = data[start:start + length]
    nodes, seen, members = [tree], set(), 0
    while nodes:
        node = nodes.pop()
        mark, count = bytes(data[node:node + 4]), struct.unpack_from("<H", data, node + 6)[0]
        members += count
        if node in seen or members > MOST_MEMBERS or mark not in (b"TREE", b"SNOD"):
            raise FormatError(f"its HDF5 part is damaged, or has a group of more than {MOST_MEMBERS} members")
        seen.add(node)
        for i in range(count):
            if mark == b"TREE":
                nodes += struct.unpack_from("<Q", data, node + 32 + 16 * i)
                continue
            at, header, kind = struct.unpack_from("<2QI", data, node + 8 + 40 * i)
            name = bytes(names[at:at + 1000]).partition(b"\0")[0].decode()
            yield name, header if kind < 2 else None


def _dtype(message):
    """A datatype of numbers (IV.A.2.d), or None."""
    size, = struct.unpack_from("<I", message, 4)
    kind, order = message[0] & 15, ">" if message[1] & 1 else "<"
    if kind == 0 and size in (1, 2, 4, 8) and bytes(message[8:12]) == struct.pack("<2H", 0, 8 * size):
        return np.dtype(f"{order}{'i' if message[1] & 8 else 'u'}{size}")
    if kind == 1 and size in FLOATS and bytes(message[8:20]) == FLOATS[size] and not message[1] & 64:
        return np.dtype(f"{order}f{size}")
    return None


def _shape(message):
    """A dataspace (IV.A.2.b): () for one number, (0,) for none."""
    version, rank = message[0], message[1]
    if version not in (1, 2) or rank > 32:
        raise FormatError("its HDF5 part is damaged")
    if version == 2 and message[3] == 2:
        return (0,)
    return struct.unpack_from(f"<{rank}Q", message, 8 if version == 1 else 4)


def _attribute(message):
    """Name, datatype, dataspace and values of an attribute (IV.A.2.m)."""
    version, *lengths = struct.unpack_from("<Bx3H", message)
    if version not in (1, 3):
        raise FormatError("its HDF5 part has attributes in a layout that Keras does not write")
    parts, place = [], 8 if version == 1 else 9
    for length in lengths:
        parts.append(message[place:place + length])
        place += (length + 7) // 8 * 8 if version == 1 else length
    return bytes(parts[0]).rstrip(b"\0").decode(), parts[1], parts[2], message[place:]


def _from_heaps(data, references, where):
    """The strings of variable length that references name in the file's global heaps."""
    strings, total = [], 0
    for reference in references:
        length, heap, number = struct.unpack_from("<IQI", reference)
        place = heap + 16
        end = heap + struct.unpack_from("<Q", data, heap + 8)[0]
        if bytes(data[heap:heap + 4]) != b"GCOL" or end > len(data):
            raise FormatError(f"its {where} is damaged")
        while place + 16 <= end:
            found, size = struct.unpack_from("<H6xQ", data, place)
            if found in (0, number):
                break
            place += 16 + (size + 7) // 8 * 8
        total += length
        if place + 16 + length > end or found != number or not found or length > size or total > MOST_TEXT:
            raise FormatError(f"its {where} is damaged, or of more than {MOST_TEXT} bytes")
        strings.append(bytes(data[place + 16:place + 16 + length]))
    return strings
