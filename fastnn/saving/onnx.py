"""A model as ONNX, for the runtimes that read it: float32 or float64, any number of samples."""
import numpy as np

from .. import activations, layers
from ..utils import optional

OPSET, IR_VERSION = 17, 8               # read by ONNX Runtime from 1.12 on


def export(model, path):
    """The model as ONNX, {path: its bytes}: input `input` (batch, ...), output `output` (batch, ...)."""
    onnx = optional("onnx", "Writing .onnx files", "onnx")
    if not model.built:
        raise RuntimeError("The model has no weights yet: give its first layer input_shape=, or call fit(x, y) first.")
    graph = Graph(np.dtype(model.dtype))
    for layer in model.layers:
        if type(layer) not in NODES:
            raise TypeError(f"Layer {layer.name!r} is a {type(layer).__name__}, which cannot be exported as ONNX. "
                            f"These can: {', '.join(sorted(cls.__name__ for cls in NODES))}.")
        NODES[type(layer)](graph, layer)
    graph.end()
    helper, kind = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype(graph.dtype)
    made = helper.make_model(
        helper.make_graph(
            graph.nodes, model.name,
            [helper.make_tensor_value_info("input", kind, ["batch", *model.input_shape[1:]])],
            [helper.make_tensor_value_info("output", kind, ["batch", *model.output_shape[1:]])],
            [onnx.numpy_helper.from_array(array, name) for name, array in graph.arrays.items()]),
        producer_name="fastnn", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])
    onnx.checker.check_model(made)
    return {path: made.SerializeToString()}


class Graph:
    """Nodes in a row, each with one output that the next one takes, and the arrays that they read."""

    def __init__(self, dtype):
        self.dtype, self.nodes, self.arrays, self.at = dtype, [], {}, "input"

    def array(self, name, numbers, dtype=None):
        """The name under which the graph knows an array."""
        self.arrays[name] = np.ascontiguousarray(numbers, dtype or self.dtype)
        return name

    def number(self, x):
        return self.array(f"number_{len(self.arrays)}", x)

    def add(self, kind, *others, **attributes):
        """A node of (what the last node gave, *others); returns the name of its output."""
        self.at = self.of(kind, self.at, *others, **attributes)
        return self.at

    def of(self, kind, *inputs, **attributes):
        """A node beside the row."""
        from onnx import helper

        out = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [out], name=out, **attributes))
        return out

    def end(self):
        self.add("Identity")
        self.nodes[-1].output[0] = "output"


def _dense(graph, layer):
    weight = graph.array(f"{layer.name}.weight", layer.weight)
    if layer.bias is None:
        graph.add("MatMul", weight)
    else:
        graph.add("Gemm", weight, graph.array(f"{layer.name}.bias", layer.bias))
    _activate(graph, layer.activation)


def _activate(graph, name):
    if name in FORMULAS:
        FORMULAS[name](graph)
    elif name != "linear":
        kind, attributes = ACTIVATIONS[name]
        graph.add(kind, **attributes)


def _gelu(graph):
    """x / 2 (1 + erf(x / sqrt(2)))"""
    x = graph.at
    graph.add("Mul", graph.number(0.5 ** 0.5))
    graph.add("Erf")
    graph.add("Add", graph.number(1))
    graph.add("Mul", graph.of("Mul", x, graph.number(0.5)))


def _silu(graph):
    graph.add("Mul", graph.of("Sigmoid", graph.at))


def _gelu_tanh(graph):
    """x sigmoid(x (c0 + c1 x^2))"""
    x, (flat, cubic) = graph.at, activations.GELU_NUMBERS
    graph.add("Mul", x)
    graph.add("Mul", graph.number(cubic))
    graph.add("Add", graph.number(flat))
    graph.add("Mul", x)
    graph.add("Sigmoid")
    graph.add("Mul", x)


def _mish(graph):
    graph.add("Mul", graph.of("Tanh", graph.of("Softplus", graph.at)))


def _hard_silu(graph):
    graph.add("Mul", graph.of("HardSigmoid", graph.at, **HARD))


def _relu6(graph):
    graph.add("Clip", graph.number(0), graph.number(6))


# Activations that ONNX has, and those that are written with what it has in this version.
HARD = {"alpha": 1 / 6, "beta": 0.5}
ACTIVATIONS: dict = {
    "relu": ("Relu", {}), "sigmoid": ("Sigmoid", {}), "tanh": ("Tanh", {}), "softmax": ("Softmax", {"axis": -1}),
    "log_softmax": ("LogSoftmax", {"axis": -1}), "leaky_relu": ("LeakyRelu", {"alpha": 0.2}), "elu": ("Elu", {}),
    "selu": ("Selu", {"alpha": activations.SELU_ALPHA, "gamma": activations.SELU_SCALE}), "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}), "hard_sigmoid": ("HardSigmoid", HARD), "exponential": ("Exp", {})}
FORMULAS: dict = {"gelu": _gelu, "gelu_tanh": _gelu_tanh, "silu": _silu, "mish": _mish, "hard_silu": _hard_silu,
                  "relu6": _relu6}


def _ramp(graph, layer):
    """x from threshold up to max_value, and negative_slope (x - threshold) below"""
    x, threshold = graph.at, graph.number(layer.threshold)
    below = graph.of("Mul", graph.of("Sub", x, threshold), graph.number(layer.negative_slope))
    graph.at = graph.of("Where", graph.of("Less", x, threshold), below, x)
    if layer.max_value is not None:
        graph.add("Min", graph.number(layer.max_value))


def _rescaling(graph, layer):
    graph.add("Mul", graph.number(layer.scale))
    if layer.offset:
        graph.add("Add", graph.number(layer.offset))


def _moments(graph, layer, mean, variance, epsilon=0.0, gamma=1.0, beta=None):
    """(x - mean) gamma / sqrt(variance + epsilon) + beta"""
    graph.add("Sub", graph.array(f"{layer.name}.mean", mean))
    scale = (1.0 if gamma is None else gamma) / np.sqrt(variance.astype("float64") + epsilon)
    graph.add("Mul", graph.array(f"{layer.name}.scale", scale))
    if beta is not None:
        graph.add("Add", graph.array(f"{layer.name}.beta", beta))


def _batch(graph, layer):
    _moments(graph, layer, layer.moving_mean, layer.moving_variance, layer.epsilon, layer.gamma, layer.beta)


def _layer(graph, layer):
    gamma = np.ones(layer.output_shape[-1]) if layer.gamma is None else layer.gamma
    arrays = [graph.array(f"{layer.name}.gamma", gamma)]
    if layer.beta is not None:
        arrays.append(graph.array(f"{layer.name}.beta", layer.beta))
    graph.add("LayerNormalization", *arrays, axis=-1, epsilon=layer.epsilon)


def _reshape(graph, layer):
    graph.add("Reshape", graph.array(f"{layer.name}.shape", [-1, *layer.output_shape], np.int64))


def _nothing(graph, layer):
    pass


NODES: dict = {
    layers.Dense: _dense, layers.SparseDense: _dense,
    layers.Activation: lambda graph, layer: _activate(graph, layer.activation),
    layers.Softmax: lambda graph, layer: graph.add("Softmax", axis=-1), layers.ReLU: _ramp,
    layers.LeakyReLU: lambda graph, layer: graph.add("LeakyRelu", alpha=layer.negative_slope),
    layers.ELU: lambda graph, layer: graph.add("Elu", alpha=layer.alpha), layers.Rescaling: _rescaling,
    layers.BatchNormalization: _batch, layers.LayerNormalization: _layer,
    layers.Normalization: lambda graph, layer: _moments(graph, layer, *layer.moments_in_use()),
    layers.Flatten: _reshape, layers.Reshape: _reshape, layers.Dropout: _nothing, layers.Input: _nothing}
