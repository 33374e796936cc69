"""A model as a table: its layers, their output shapes and parameters."""
import shutil

from .callbacks.progress import width_of

NARROWEST = 8               # characters of a column that has to give way


def table(model, line_length=None, show_trainable=False):
    """The lines of model.summary(), at most line_length columns wide, or as wide as the terminal."""
    rows = [("Layer (type)", "Output Shape", "Param #", "Trainable")]
    for layer in model.layers:
        shape = f"(None, {', '.join(map(str, layer.output_shape))})" if layer.built else "?"
        shape = "(None,)" if layer.built and not layer.output_shape else shape
        count = f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"
        rows.append((f"{layer.name} ({type(layer).__name__})", shape, count, "Y" if layer.trainable else "N"))
    columns = 4 if show_trainable else 3
    widths = [max(width_of(row[i]) for row in rows) + 2 for i in range(columns)]
    over = sum(widths) - (line_length or shutil.get_terminal_size().columns - 1)
    for i in (0, 1):                        # the names give way, then the shapes
        taken = min(over, max(widths[i] - NARROWEST, 0)) if over > 0 or line_length else 0
        widths[i], over = widths[i] - taken, over - taken
    lines = [line for row in rows for line in _folded(row[:columns], widths)]
    rule = "=" * sum(widths)
    head = len(_folded(rows[0][:columns], widths))
    return [f'Model: "{model.name}"', rule, *lines[:head], rule, *lines[head:], rule, *_totals(model)]


def _folded(row, widths):
    """A row as lines: words go to the next line where a cell is too narrow; numbers stand on the right."""
    cells = [_wrapped(text, width - 2) for text, width in zip(row, widths, strict=True)]
    lines = []
    for i in range(max(map(len, cells))):
        parts = [cell[i] if i < len(cell) else "" for cell in cells]
        line = "".join(part + " " * (width - width_of(part)) if column < 2 else " " * (width - width_of(part)) + part
                       for column, (part, width) in enumerate(zip(parts, widths, strict=True)))
        lines.append(line.rstrip())
    return lines


def _wrapped(text, width):
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and width_of(f"{lines[-1]} {word}") > width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "")
        for character in word:
            if width_of(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return lines


def _totals(model):
    every = {"Total": model.weights, "Trainable": [w for layer in model.layers for w in layer.trainable_weights],
             "Non-trainable": [w for layer in model.layers for w in layer.non_trainable_weights]}
    if model.optimizer is not None and model.optimizer.slots:
        every["Optimizer"] = [slot for slots in model.optimizer.slots for slot in slots]
    return [f"{kind} params: {sum(w.size for w in weights):,} ({_size(sum(w.nbytes for w in weights))})"
            for kind, weights in every.items()]


def _size(size):
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            return f"{size:.2f} {unit}"
        size /= 1024
