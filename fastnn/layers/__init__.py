"""The layers of a Sequential model, in Keras' words, one file each.

A layer knows its parameters as plain arrays and the compiled stages that run it; the arithmetic is theirs.
"""
from ..utils import made
from .activation import ELU, Activation, LeakyReLU, ReLU, Softmax
from .base import Layer
from .dense import Dense
from .dropout import Dropout
from .function import Lambda
from .normalization import BatchNormalization, LayerNormalization, Normalization
from .rescaling import Rescaling
from .shapes import Flatten, Input, Reshape
from .sparse_dense import SparseDense

LAYERS = {cls.__name__: cls for cls in (
    ELU, Activation, BatchNormalization, Dense, Dropout, Flatten, Input, Lambda, LayerNormalization, LeakyReLU,
    Normalization, ReLU, Rescaling, Reshape, Softmax, SparseDense)}


def get(layer):
    """A Layer from an object or from what its get_config() gave, with its class: {"class_name": ..., "config": ...}."""
    return made("layer", layer, Layer, LAYERS)


InputLayer = Input          # Keras' name of what is in the model
__all__ = [*LAYERS, "LAYERS", "InputLayer", "Layer"]
