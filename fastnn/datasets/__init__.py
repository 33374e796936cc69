"""Data sets under Keras' names: ``from fastnn.datasets import mnist``, then ``mnist.load_data()``."""

from . import fashion_mnist, mnist

__all__ = ["fashion_mnist", "mnist"]
