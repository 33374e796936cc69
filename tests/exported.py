"""Models with every layer that is exported, by name: each gives its layers, for the tests of the formats."""
import numpy as np

from fastnn import layers


def moving(layer):
    """A layer that normalizes, whose parameters are random once it is built."""
    build = layer.build

    def build_at_random(*arguments):
        build(*arguments)
        for i, weight in enumerate(layer.weights):
            weight[...] = np.random.default_rng(i).uniform(0.5, 2, weight.shape)

    layer.build = build_at_random
    return layer


LAYERS = {
    "batch normalization": lambda: [layers.Dense(5, input_shape=(3,)), moving(layers.BatchNormalization(epsilon=0.1))],
    "without a scale": lambda: [moving(layers.BatchNormalization(scale=False, input_shape=(3, 5))), layers.Flatten()],
    "layer normalization": lambda: [layers.Dense(40, input_shape=(3,)), moving(layers.LayerNormalization())],
    "of rows, without a beta": lambda: [moving(layers.LayerNormalization(center=False, input_shape=(3, 5)))],
    "normalization": lambda: [layers.Normalization(mean=[1, -2, 0.5], variance=[4, 0.1, 0], input_shape=(3,))],
    "one normalization of all": lambda: [layers.Normalization(None, 3.0, 2.0, input_shape=(4, 5))],
    "rescaling with an offset": lambda: [layers.Rescaling(1 / 3, -0.7, input_shape=(4, 5)), layers.Reshape((2, -1))],
    "rescaling in between": lambda: [layers.Dense(4, input_shape=(3,)), layers.Rescaling(1 / 3), layers.Dense(2)],
    "relu with numbers": lambda: [layers.ReLU(3.0, 0.1, 0.5, input_shape=(9,))],
    "relu with a threshold": lambda: [layers.ReLU(threshold=0.5, input_shape=(9,))],
    "leaky relu": lambda: [layers.LeakyReLU(0.15, input_shape=(9,))],
    "elu": lambda: [layers.ELU(0.7, input_shape=(9,))],
    "softmax": lambda: [layers.Dense(12, input_shape=(4,)), layers.Softmax()],
    "sparse": lambda: [layers.SparseDense(40, "relu", density=0.3, input_shape=(30,)), layers.SparseDense(
        3, density=0.2, use_bias=False)],
    "dropout": lambda: [layers.Dense(12, input_shape=(4,)), layers.Dropout(0.5), layers.Dense(2)],
    "rescaling": lambda: [layers.Rescaling(1 / 255, input_shape=(4, 5)), layers.Flatten(), layers.Dense(3)],
    "an input, nothing else": lambda: [layers.Input((7,)), layers.Activation("linear")],
    "softmax of the last axis": lambda: [layers.Activation("softmax", input_shape=(3, 5))],
}
