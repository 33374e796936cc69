"""Long parts of a configuration as tensors of the file: lists of numbers, and the packed masks of SparseDense."""
import base64

import numpy as np

LONG = 64                   # numbers that may stand in the text
MOST_NUMBERS = 2**18        # attached, which Python objects are made of
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
    name = f"config.{sum(other.startswith('config.') for other in tensors)}"
    tensors[name] = array
    return {"tensor": name}


def attached(value, tensors, room=None):
    """What detached() was given; the tensors that it names are taken out of `tensors`."""
    room = room or [MOST_NUMBERS]
    if isinstance(value, dict):
        if value.keys() == {"tensor"}:
            array = tensors.pop(value["tensor"])
            if array.dtype == np.uint8:
                return array
            room[0] -= array.size
            if array.ndim != 1 or array.dtype != np.float64 or room[0] < 0:
                raise ValueError(f"it holds {array.shape} {array.dtype} in a configuration")
            return array.tolist()
        return {key: attached(part, tensors, room) for key, part in value.items()}
    return [attached(part, tensors, room) for part in value] if isinstance(value, list) else value
