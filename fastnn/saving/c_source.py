"""A model as C: one file of C99 and its header, which depend on nothing and give the bits of predict().

The formulas are those of the kernels, taken from their own text (the folder c has it), where a vec of one number stands
for a vector: c/scalar.h is all that differs.
"""
import math
import os
import re

import numpy as np

from .. import activations, layers

TEXTS = ("fastnn.h", "loops.h", "elementwise.inc", "activations.inc", "reduce.inc", "normalization.inc", "layers.h")
LINE = 8                    # numbers of an array in a line


def export(model, path):
    """The model as C, {path: its bytes}: path, which ends in .c, and the header beside it."""
    if not model.built:
        raise RuntimeError("The model has no weights yet: give its first layer input_shape=, or call fit(x, y) first.")
    name = c_name(os.path.basename(path)[:-2])
    header = os.path.basename(path)[:-2] + ".h"
    program = Program(model)
    return {path: program.source(name, header).encode(), path[:-2] + ".h": program.header(name).encode()}


def c_name(stem):
    """A name that C takes, from a file's."""
    name = re.sub(r"\W", "_", stem, flags=re.ASCII)
    return name if re.match("[A-Za-z]", name) else f"model_{name}".rstrip("_")


class Program:
    """The statements that run a model's layers one after the other, and the arrays that they read."""

    def __init__(self, model):
        self.type = {"float32": "float", "float64": "double"}[model.dtype]
        self.inputs, self.outputs = (math.prod(shape[1:]) for shape in (model.input_shape, model.output_shape))
        self.dtype = np.dtype(model.dtype)
        self.widest, self.arrays, self.body, self.at, self.place = 0, [], [], "x", "uint16_t"
        computing = model._computing()
        factor = math.prod(layer.factor for layer in model.layers[:len(model.layers) - len(computing)])
        if factor != 1:
            self.map(self.inputs, f"{{x}} * {self.number(factor)}")
        for layer in computing:
            if type(layer) not in STEPS:
                raise TypeError(f"Layer {layer.name!r} is a {type(layer).__name__}, which cannot be exported as C. "
                                f"These can: {', '.join(sorted(cls.__name__ for cls in STEPS))}.")
            STEPS[type(layer)](self, layer)

    def array(self, numbers, what):
        """The name of a constant array, of the model's type or of places, or NULL for None."""
        if numbers is None:
            return "NULL"
        self.arrays.append((f"{what}_{len(self.arrays)}", numbers))
        return self.arrays[-1][0]

    def number(self, x):
        """A number of the model's type."""
        return literal(float(self.dtype.type(x)), "f" if self.type == "float" else "")

    def move(self, width, statement):
        """A statement that reads `{x}` and writes `width` numbers to `{out}`, another buffer."""
        out = "b" if self.at == "a" else "a"
        self.widest = max(self.widest, width)
        self.body.append(statement.format(x=self.at, out=out))
        self.at = out

    def map(self, width, formula):
        """out[i] = formula of x[i], in place once the inputs are left behind."""
        out = "a" if self.at == "x" else self.at
        self.widest = max(self.widest, width)
        self.body.append(f"for (isize i = 0; i < {width}; i++) {out}[i] = {formula.format(x=f'{self.at}[i]')};")
        self.at = out

    def rows(self, width, cols, function):
        """function(x, out, cols) for each row of cols numbers."""
        self.move(width, f"for (isize i = 0; i < {width}; i += {cols}) {function}({{x}} + i, {{out}} + i, {cols});")

    def source(self, name, header):
        """The text of the C file."""
        body = "\n    ".join([*self.body, f"memcpy(out, {self.at}, {self.outputs} * sizeof *out);"])
        buffers = f"real *const a = scratch, *const b = scratch + {self.widest};\n    (void)a, (void)b;"
        arrays = "".join(self.definition(*array) for array in self.arrays)
        predict = PREDICT.format(name=name, guard=name.upper(), buffers=buffers, body=body)
        head = SOURCE.format(header=header, type=self.type, place=self.place, **TYPES[self.type])
        return head + _text("scalar.h") + "\n" + needed(predict) + arrays + predict

    def definition(self, name, array):
        kind = "real" if array.dtype == self.dtype else "place"
        return f"static const {kind} {name}[{max(1, array.size)}] = {{    /* {array.shape} */\n{literals(array)}}};\n\n"

    def header(self, name):
        """The text of the header."""
        return HEADER.format(name=name, guard=name.upper(), type=self.type, inputs=self.inputs, outputs=self.outputs,
                             scratch=max(1, 2 * self.widest))


TYPES = {"float": {"bits": 32, "choice": "single", "whole": "int32_t"},
         "double": {"bits": 64, "choice": "pair", "whole": "int64_t"}}
HEADER = """\
/* A neural network, exported by fastnn.  It needs a C99 compiler and the C library's {type} functions; no memory is
 * allocated. */
#ifndef {guard}_H
#define {guard}_H

#define {guard}_INPUTS {inputs}
#define {guard}_OUTPUTS {outputs}
#define {guard}_SCRATCH {scratch}    /* numbers of working space */

#ifdef __cplusplus
extern "C" {{
#endif

/* out (outputs) = the prediction for one sample x (inputs), its axes in C order; the two must not overlap.  Uses static
 * memory, so from one thread at a time. */
void {name}_predict(const {type} x[{guard}_INPUTS], {type} out[{guard}_OUTPUTS]);

/* The same with working space of the caller's, for use from several threads. */
void {name}_predict_in({type} scratch[{guard}_SCRATCH], const {type} x[{guard}_INPUTS], {type} out[{guard}_OUTPUTS]);

#ifdef __cplusplus
}}
#endif

#endif
"""
SOURCE = """\
/* A neural network, exported by fastnn: C99 without dependencies, which gives the bits of model.predict() on every
 * machine whose fma rounds once, as C99 demands (also where it is done in software).  Compile it with
 * -ffp-contract=off, which is the default of gcc -std=c99, and never with -ffast-math. */
#include "{header}"
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef {type} real;
typedef {whole} whole;
typedef {place} place;
#define REAL_BITS {bits}
#define BY_REAL(single, pair) {choice}
"""
PREDICT = """\
void {name}_predict_in(real scratch[{guard}_SCRATCH], const real x[{guard}_INPUTS], real out[{guard}_OUTPUTS]) {{
    {buffers}
    {body}
}}

void {name}_predict(const real x[{guard}_INPUTS], real out[{guard}_OUTPUTS]) {{
    static real scratch[{guard}_SCRATCH];
    {name}_predict_in(scratch, x, out);
}}
"""


def literals(array):
    """The numbers of an array in C's exact hexadecimal notation, whole ones as they are; a 0 for none."""
    end = "f" if array.dtype == np.float32 else ""
    words = [literal(x, end) if array.dtype.kind == "f" else str(x) for x in array.ravel().tolist()] or ["0"]
    return "".join("    " + ", ".join(words[i:i + LINE]) + ",\n" for i in range(0, len(words), LINE))


def literal(x, end):
    """A number in C's exact hexadecimal notation: end is f for a float."""
    if not math.isfinite(x):
        return "NAN" if x != x else "INFINITY" if x > 0 else "-INFINITY"
    mantissa, exponent = float(x).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{exponent}{end}"


def _text(name):
    from importlib.resources import files

    return (files(__package__) / "c" / name).read_text("utf-8")


def needed(text):
    """The kernels' definitions that a text of C uses, and those that they use, in their own order."""
    known = {name: part for file in TEXTS for name, part in definitions(_text(file))}
    wanted, todo = set(), [text]
    while todo:
        code = re.sub(r"/\*.*?\*/", "", todo.pop(), flags=re.DOTALL)
        new = set(re.findall(r"\w+", code)) & known.keys() - wanted
        wanted |= new
        todo += [known[name] for name in new]
    return "".join(dict.fromkeys(part + "\n" for name, part in known.items() if name in wanted))


DEFINITION = re.compile(
    r"(?:^/\*(?:[^*]|\*(?!/))*\*/\n)?"                                          # the comment that goes with it
    r"^(?:(?:INLINE|SHARED|static)\ [^;{}=]*?\b(?P<function>\w+)\([^;{}]*\)\ \{(?:[^\n]*\}|.*?\n\})"
    r"|typedef\ struct\ \{[^}]*\}\ (?P<type>\w+);[^\n]*"
    r"|\#define\ (?P<macro>\w+)[^\n]*"
    r"|enum\ \{(?P<names>[^}]*)\};)[^\n]*\n", re.MULTILINE | re.DOTALL)


def definitions(text):
    """The name and the text of each function, type, macro and constant at the top level of a C file."""
    for match in DEFINITION.finditer(text):
        name = match["function"] or match["type"] or match["macro"]
        if re.search(r"^static [^{]*\bvoid \*", match[0], re.MULTILINE):
            continue                        # a kernel as others call it, of any type
        for each in [name] if name else re.findall(r"(\w+)(?:\s*=|,|\s*$|\s*\})", match["names"]):
            yield each, match[0]


# Layers

def _dense(program, layer):
    inputs, units = layer.weight.shape
    weight, bias = program.array(layer.weight, "weight"), program.array(layer.bias, "bias")
    program.move(units, f"dense({{x}}, {weight}, {bias}, {{out}}, {inputs}, {units});")
    _activate(program, layer.activation, units, units)


def _sparse_dense(program, layer):
    start, index = layer._pattern
    groups, shared = [], []
    for seen in np.split(index, start[1:-1]):
        if groups and np.array_equal(seen, shared[-1]):
            groups[-1][0] += 1
        else:
            groups.append([1, len(seen)])
            shared.append(seen)
    if max(layer._inputs, layer.units) > 0xffff:
        program.place = "uint32_t"
    arrays = [program.array(layer.values, "weight"), program.array(np.concatenate(shared), "index"),
              program.array(np.array(groups), "groups"), program.array(layer.bias, "bias")]
    program.move(layer.units, f"sparse_dense({{x}}, {', '.join(arrays)}, {{out}}, {layer.units});")
    _activate(program, layer.activation, layer.units, layer.units)


def _activation(program, layer):
    _activate(program, layer.activation, math.prod(layer.output_shape), layer.output_shape[-1])


def _activate(program, activation, width, axis):
    if activation in ("softmax", "log_softmax"):
        program.rows(width, axis, f"{activation}_row")
    elif activation in activations.CURVES:
        _curve(program, *activations.CURVES[activation], width)
    elif activation != "linear":
        program.map(width, f"{activation}_v({{x}})")


def _curve(program, kind, numbers, width):
    numbers = program.array(np.array(numbers, program.dtype), "numbers") if numbers else "NULL"
    program.map(width, f"{kind}_v({{x}}, {numbers}).out")


def _ramp(program, layer):
    words = (getattr(layer, word, default) for word, default in (
        ("max_value", None), ("negative_slope", 0.0), ("threshold", 0.0)))
    numbers, kind = activations.ramp(*words)
    _curve(program, kind, numbers, math.prod(layer.output_shape))


def _elu(program, layer):
    _curve(program, "elu", (1.0, layer.alpha), math.prod(layer.output_shape))


def _rescaling(program, layer):
    scale, offset = program.number(layer.scale), program.number(layer.offset)
    program.map(math.prod(layer.output_shape), f"v_fma({{x}}, {scale}, {offset})")


def _normalize(program, layer, function, **arrays):
    """One of the kernels of normalization, whose arrays are of the last axis."""
    width, cols = math.prod(layer.output_shape), layer.output_shape[-1]
    fields = "".join(f", .{word} = (void *){program.array(array, word)}" for word, array in arrays.items()
                     if array is not None)
    program.move(width, f"{function}(&(fastnn_normalization){{{{.x = {{x}}, .out = {{out}}, .rows = {width // cols}, "
                        f".cols = {cols}, .n = {cols}, .epsilon = {getattr(layer, 'epsilon', 0.0)!r}{fields}}}}});")


def _batch(program, layer):
    _normalize(program, layer, "normalize_columns", mean=layer.moving_mean, variance=layer.moving_variance,
               gamma=layer.gamma, beta=layer.beta)


def _layer(program, layer):
    _normalize(program, layer, "normalize_rows", gamma=layer.gamma, beta=layer.beta)


def _moments(program, layer):
    mean, variance = layer.moments_in_use()
    _normalize(program, layer, "normalize_columns", mean=mean, variance=variance)


def _nothing(program, layer):
    pass


STEPS = {
    layers.Dense: _dense, layers.SparseDense: _sparse_dense,
    layers.Activation: _activation, layers.ReLU: _ramp, layers.LeakyReLU: _ramp, layers.ELU: _elu,
    layers.Softmax: _activation, layers.Rescaling: _rescaling, layers.BatchNormalization: _batch,
    layers.LayerNormalization: _layer, layers.Normalization: _moments,
    **dict.fromkeys((layers.Dropout, layers.Flatten, layers.Reshape, layers.Input), _nothing)}
