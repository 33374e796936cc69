"""A model as ONNX, for the runtimes that read it: float32 or float64, any number of samples."""
import math

import numpy as np

from .. import layers
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


# Activations that ONNX has, and those that are written with what it has.
ACTIVATIONS: dict = {"relu": ("Relu", {}), "sigmoid": ("Sigmoid", {}), "tanh": ("Tanh", {}),
                     "softmax": ("Softmax", {"axis": -1})}
FORMULAS: dict = {}


def _rescaling(graph, layer):
    graph.add("Mul", graph.number(layer.scale))


def _flatten(graph, layer):
    shape = graph.array(f"{layer.name}.shape", [-1, math.prod(layer.output_shape)], np.int64)
    graph.add("Reshape", shape)


def _nothing(graph, layer):
    pass


NODES = {layers.Dense: _dense, layers.Activation: lambda graph, layer: _activate(graph, layer.activation),
         layers.Rescaling: _rescaling, layers.Flatten: _flatten, layers.Input: _nothing}
