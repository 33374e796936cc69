"""Zip archives with uncompressed entries, read without copies and without trust, and written."""
import io
import struct
import zipfile
import zlib

from .files import FormatError

END, ENTRY, LOCAL = "<4s4H2LH", "<4s6H3L5H2L", "<4s5H3L2H"      # of the archive, of its list, before an entry
MOST_ENTRIES = 16


def entries(data):
    """The entries of an archive by name: views of `data`, a memoryview.

    Refused are entries that are compressed, encrypted, there twice, larger than the file or with another check sum.
    """
    end = len(data) - struct.calcsize(END)
    if end < 0 or bytes(data[end:end + 4]) != b"PK\5\6":
        raise FormatError("it is no zip archive, or cut short")
    _, disk, first_disk, here, count, length, place, comment = struct.unpack_from(END, data, end)
    if disk or first_disk or comment or here != count or count > MOST_ENTRIES or place + length != end:
        raise FormatError(f"its list of {count} entries is damaged or has more than {MOST_ENTRIES}")
    found, taken = {}, 0
    for _ in range(count):
        if place + struct.calcsize(ENTRY) > end:
            raise FormatError("its list of entries is cut short")
        name, view, start, place = _entry(data, place)
        if name in found or start < taken:
            raise FormatError(f"its entry {name!r} is there twice, or lies in another")
        found[name], taken = view, start + len(view)
    return found


def _entry(data, place):
    """The entry that is listed at `place`: its name, contents, and where they start; and the next place."""
    (mark, _, _, flags, method, _, _, crc, packed, size, name_length, extra, comment, _, _, _,
     start) = struct.unpack_from(ENTRY, data, place)
    name = bytes(data[place + 46:place + 46 + name_length]).decode()
    if mark != b"PK\1\2" or start + struct.calcsize(LOCAL) > len(data):
        raise FormatError("its list of entries is damaged")
    if method or flags & 1 or packed != size:
        raise FormatError(f"its entry {name!r} is compressed or encrypted; Keras stores entries as they are (zip -0)")
    local = struct.unpack_from(LOCAL, data, start)
    start += struct.calcsize(LOCAL) + local[9] + local[10]
    view = data[start:start + size]
    if local[0] != b"PK\3\4" or len(view) != size or bytes(data[start - local[9] - local[10]:][:local[9]]) != \
            name.encode() or zlib.crc32(view) != crc:
        raise FormatError(f"its entry {name!r} is damaged or cut short")
    return name, view, start, place + struct.calcsize(ENTRY) + name_length + extra + comment


def packed(files):
    """The bytes of an archive of uncompressed entries: contents by name."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, contents in files.items():
            archive.writestr(zipfile.ZipInfo(name), contents)
    return made.getbuffer()
