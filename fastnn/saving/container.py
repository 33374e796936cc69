"""The layout of a .fastnn file: safetensors, with one JSON text as metadata that holds a digest of the whole file.

    8 bytes     length of the header
    header      {"__metadata__": {"fastnn": JSON text}, name: {"dtype", "shape", "data_offsets"}, ...}
    data        the tensors, one after another

The text is plain data under "digest", "format" and the words of native.py.  The digest is the SHA-256 of the file with
64 zeros in its own place.  What is read may have been made to do harm: every size is checked before memory is taken for
it, and the number of values in the header is limited, since each takes a hundred bytes or more in Python.
"""
import math

import numpy as np

from .files import FormatError

FORMAT = 1
MOST_HEADER = 2**21         # bytes
MOST_VALUES = 2**16         # in the header
DTYPES = {"F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8", "U8": "|u1"}
ZEROS = b"0" * 64


def pack(words, tensors):
    """The bytes of a file that holds `words`, plain data by name, and `tensors`, arrays by name."""
    import hashlib
    import json

    text = json.dumps({"digest": ZEROS.decode(), "format": FORMAT, **words}, ensure_ascii=False, allow_nan=False,
                      separators=(",", ":"))
    packed = bytearray(pack_tensors(tensors, {"fastnn": text}))
    header = packed[8:8 + int.from_bytes(packed[:8], "little")]
    if len(header) > MOST_HEADER or values(header) > MOST_VALUES:
        raise ValueError(f"The model has too many layers for a .fastnn file: its description takes {len(header)} bytes "
                         f"and {values(header)} values of at most {MOST_HEADER} and {MOST_VALUES}.")
    place = packed.index(ZEROS)
    packed[place:place + 64] = hashlib.sha256(packed).hexdigest().encode()
    return packed


def pack_tensors(tensors, metadata):
    """The bytes of a safetensors file of arrays by name, with a text for each name of metadata."""
    from safetensors import TensorSpec, serialize

    arrays = {name: np.ascontiguousarray(array, array.dtype.newbyteorder("<")) for name, array in tensors.items()}
    specs = {name: TensorSpec(dtype=array.dtype.name, shape=array.shape, data_ptr=array.ctypes.data,
                              data_len=array.nbytes) for name, array in arrays.items()}
    return serialize(specs, metadata=metadata)


def tensors_of(data, source):
    """The tensors of any safetensors file of numbers: views of `data`, a memoryview.  FormatError names `source`."""
    try:
        entries = parsed(header := _header(data))
        entries.pop("__metadata__", None)
        return _tensors(entries, data[8 + len(header):])
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{source} cannot be loaded: {error}.") from error


def unpack(data, source):
    """The words and tensors of a packed file: views of `data`, a memoryview.  `source` names it in a FormatError."""
    try:
        header = _header(data)
        entries = parsed(header)
        words = _words(entries.pop("__metadata__", None))
        _check_digest(data, len(header), words.pop("digest", None))
        return words, _tensors(entries, data[8 + len(header):])
    except (ValueError, RecursionError) as error:       # UnicodeDecodeError, JSONDecodeError; nested too deeply
        raise FormatError(f"{source} cannot be loaded: {error}.") from error


def _header(data):
    if len(data) < 8:
        raise FormatError(f"it has {len(data)} bytes, which is too short for a model")
    length = int.from_bytes(data[:8], "little")
    if length > MOST_HEADER:
        raise FormatError(f"it is no .fastnn file, or one with a header of {length} bytes of at most {MOST_HEADER}")
    if length > len(data) - 8:
        raise FormatError(f"it is cut short: its header needs {length} bytes, the file has {len(data)}")
    header = bytes(data[8:8 + length])
    if not header.startswith(b"{"):
        raise FormatError("it is no .fastnn file")
    if values(header) > MOST_VALUES:
        raise FormatError(f"its header holds {values(header)} values of at most {MOST_VALUES}")
    return header


def values(header):
    return sum(header.count(character) for character in b",:[{")


def parsed(text):
    """JSON as the standard has it: no name twice in one object, no NaN or infinity."""
    import json

    return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)


def _object(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        names = list(found)
        twice = next(name for i, (name, _) in enumerate(pairs) if i == len(names) or names[i] != name)
        raise FormatError(f"its header has the name {twice!r} twice")
    return found


def _no_constant(text):
    raise FormatError(f"its header holds the number {text}")


def _finite(text):
    if not math.isfinite(value := float(text)):
        _no_constant(text)
    return value


def _words(metadata):
    text = metadata.get("fastnn") if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise FormatError("it is a safetensors file, but not one that fastnn has saved")
    words = parsed(text)
    version = words.get("format") if isinstance(words, dict) else None
    if type(version) is int and version > FORMAT:
        raise FormatError(f"it was saved by a newer fastnn, in format {version}; this one reads up to {FORMAT}. "
                          "Update fastnn")
    if type(version) is not int or version < 1 or len(metadata) > 1:
        raise FormatError("its metadata are not those of a model")
    del words["format"]
    text.encode()                           # half a surrogate pair, which could never be printed
    return words


def _check_digest(data, length, digest):
    import hashlib

    header = bytes(data[:8 + length])
    if not isinstance(digest, str) or len(digest) != 64 or header.count(place := digest.encode()) != 1:
        raise FormatError("it has no digest")
    found = hashlib.sha256(header.replace(place, ZEROS))
    found.update(data[8 + length:])
    if found.hexdigest() != digest:
        raise FormatError("it is damaged: its digest is not that of its bytes. Copy or save it anew")


def _tensors(entries, data):
    tensors, end = {}, 0
    if not all(isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}
               and _lengths(entry["shape"]) and _lengths(entry["data_offsets"]) and len(entry["data_offsets"]) == 2
               for entry in entries.values()):
        raise FormatError("its header does not describe tensors")
    for name, entry in sorted(entries.items(), key=lambda pair: pair[1]["data_offsets"]):
        if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES or len(entry["shape"]) > 32:
            raise FormatError(f"tensor {name!r} has the dtype {entry['dtype']!r} and {len(entry['shape'])} axes")
        dtype, shape, (first, last) = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"]), entry["data_offsets"]
        if first != end or last - first != math.prod(shape) * dtype.itemsize or last > len(data):
            raise FormatError(f"tensor {name!r} of shape {shape} and dtype {dtype} does not fill the bytes {first} to "
                              f"{last}, next after {end}, of {len(data)}")
        tensors[name] = np.frombuffer(data[first:last], dtype).reshape(shape)
        end = last
    if end != len(data):
        raise FormatError(f"{len(data) - end} bytes at its end belong to no tensor")
    return tensors


def _lengths(values):
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**62 for value in values)
