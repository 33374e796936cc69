"""Data sets under Keras' names: ``from fastnn.datasets import mnist``, then ``mnist.load_data()``."""

from . import mnist

__all__ = ["mnist"]
