"""Long parts of a configuration as tensors of the file: lists of numbers, and the packed masks of SparseDense."""
import base64

import numpy as np

LONG = 64                   # numbers that may stand in the text
MOST_NUMBERS = 2**18        # attached, which Python objects are made of
MOST_BYTES = 2**23          # of masks, which become text twice
MASK = {"shape", "gaps"}


def detached(value, tensors):
    """`value` with its long parts replaced by the names under which they are put into `tensors`."""
    if isinstance(value, dict):
        if value.keys() == MASK and isinstance(value["gaps"], str):
            return {**value, "gaps": _kept(np.frombuffer(base64.b64decode(value["gaps"]), "uint8"), tensors)}
        return {key: detached(part, tensors) for key, part in value.items()}
    if isinstance(value, list):
        if len(value) > LONG and all(isinstance(part, float) for part in value):
            return _kept(np.array(value), tensors)
        return [detached(part, tensors) for part in value]
    return value


def _kept(array, tensors):
    kept = [other.size for name, other in tensors.items() if name.startswith("config.") and other.dtype == array.dtype]
    most = MOST_BYTES if array.dtype == np.uint8 else MOST_NUMBERS
    if sum(kept) + array.size > most:
        raise ValueError(f"A model whose layers' words hold more than {most} numbers, or connections of a mask, cannot "
                         "be saved.")
    name = f"config.{sum(name.startswith('config.') for name in tensors)}"
    tensors[name] = array
    return {"tensor": name}


def attached(value, tensors, room=None):
    """What detached() was given; the tensors that it names are taken out of `tensors`."""
    room = room or {"float64": MOST_NUMBERS, "uint8": MOST_BYTES}
    if isinstance(value, dict):
        if value.keys() == {"tensor"}:
            array = tensors.pop(value["tensor"])
            kind = array.dtype.name
            room[kind] = room.get(kind, 0) - array.size
            if array.ndim != 1 or room[kind] < 0:
                raise ValueError(f"it holds {array.shape} {kind} in a configuration")
            return base64.b64encode(array).decode() if kind == "uint8" else array.tolist()
        return {key: attached(part, tensors, room) for key, part in value.items()}
    return [attached(part, tensors, room) for part in value] if isinstance(value, list) else value
