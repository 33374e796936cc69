"""ProgressBar: how far the training is, on a terminal, in a pipe, in a log."""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from typing import Any, TextIO

from .base import Callback, Logs

BAR_WIDTH = 30  # as in Keras
MIN_BAR_WIDTH = 5  # a narrower one is left out


class ProgressBar(Callback):
    """Show the training on standard output, in the form of Keras' line; ``fit`` makes one unless ``verbose=0``.

    On a terminal (``verbose=1``), a line which is rewritten while the epoch runs, by tqdm where it is installed
    (then it goes with a tqdm loop around ``fit``)::

        Epoch 1/5
        469/469 [==============================] - 0s 600us/step - loss: 0.2563 - accuracy: 0.9259

    Elsewhere, or with ``verbose=2``, one line when the epoch is over::

        Epoch 1/5 - 0s 600us/step - loss: 0.2563 - accuracy: 0.9259

    A step is one update of the weights, so one batch, as in today's Keras (the old ``60000/60000`` and its us/step
    counted samples). The seconds are those of the whole epoch, the time per step leaves out the validation. On a
    narrow terminal the bar gives way to the numbers, and the finished line continues on the next one.

    A closed or broken standard output (``python train.py | head -1``) ends the output, never the training.
    """

    def __init__(self, verbose: int | str = "auto") -> None:
        super().__init__()
        self.verbose = verbose
        self.epoch_start = time.perf_counter()
        self.step_seconds = 0.0  # of the steps of this epoch so far
        self.done = self.batches = 0
        self.painter: _Painter | None = None  # while a live line is shown

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch_start = time.perf_counter()
        self.step_seconds = 0.0
        self.done, self.batches = 0, self.params.get("steps") or 0
        stream = sys.stdout
        self.painter = None
        if self.verbose != 2 and _is_terminal(stream):
            self.painter = _make_painter(stream)
            self._try(self.painter.write_line, self._title(epoch))

    def on_progress(self, batch_done: int, batches: int, logs: Logs | None = None) -> None:
        """Called by ``fit`` a few times a second: ``batch_done`` of the epoch's ``batches`` are done."""
        self.step_seconds = time.perf_counter() - self.epoch_start
        self.done, self.batches = batch_done, batches
        if self.painter is not None:
            self._try(self.painter.paint, self._rows(self.step_seconds, logs)[0])

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        seconds = time.perf_counter() - self.epoch_start
        if self.painter is None:
            line = " - ".join([self._title(epoch), *self._fields(seconds, logs)])
            self._try(_write, sys.stdout, line + "\n")
        else:
            self._try(self.painter.clear)
            for row in self._rows(seconds, logs):
                self._try(self.painter.write_line, row)

    def on_test_result(self, batches: int, logs: Logs) -> None:
        """Show what ``evaluate`` has measured since this object was made, in ``batches`` steps."""
        self.on_progress(batches, batches, logs)
        row = " - ".join([f"{batches}/{batches}", *self._fields(self.step_seconds, logs)])
        self._try(_write, sys.stdout, row + "\n")

    def on_train_end(self, logs: Logs | None = None) -> None:
        """End a live line which an error or Ctrl-C left unfinished, so that a traceback begins on its own line."""
        if self.painter is not None:
            self._try(self.painter.leave)
            self.painter = None

    def _title(self, epoch: int) -> str:
        return f"Epoch {epoch + 1}/{self.params.get('epochs', '?')}"

    def _fields(self, seconds: float, logs: Logs | None) -> list[str]:
        time_per_step = _format_time(self.step_seconds / max(self.done, 1))
        return [f"{seconds:.0f}s {time_per_step}/step"] + [
            f"{name}: {_format(v if getattr(v, 'ndim', 0) == 0 else v.mean())}" for name, v in (logs or {}).items()
            if getattr(v, "ndim", 0) < 2]

    def _rows(self, seconds: float, logs: Logs | None) -> list[str]:
        """Return the line with its bar, in as many rows as the terminal needs for it."""
        columns = _terminal_size().columns - 1  # some terminals wrap when the last one is written to
        count = f"{self.done:{len(str(self.batches))}}/{self.batches}"
        fields = self._fields(seconds, logs)
        for beside in (fields, [field for field in fields if not field.startswith("val_")]):
            room = columns - width_of(" - ".join([count, *beside])) - len(" []")
            if room >= MIN_BAR_WIDTH:
                count += f" [{_bar(self.done, self.batches, min(room, BAR_WIDTH))}]"
                break
        return _fold([count, *fields], columns)

    def _try(self, write: Any, *arguments: Any) -> None:
        """Call ``write``; a standard output which nobody reads any more is no reason to lose a training."""
        try:
            write(*arguments)
        except (OSError, ValueError):  # BrokenPipeError; "I/O operation on closed file"
            pass


class _Painter:
    """Rewrites the last line of a terminal by going back to its start."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.shown = 0  # columns in use

    def paint(self, row: str) -> None:
        width = width_of(row)
        _write(self.stream, "\r" + row + " " * (self.shown - width))
        self.shown = width

    def clear(self) -> None:
        if self.shown:
            _write(self.stream, "\r" + " " * self.shown + "\r")
            self.shown = 0

    def leave(self) -> None:
        if self.shown:
            _write(self.stream, "\n")
            self.shown = 0

    def write_line(self, row: str) -> None:
        _write(self.stream, row + "\n")


class _TqdmPainter(_Painter):
    """The same through tqdm, which knows the other bars on the terminal: a tqdm loop around ``fit`` stays whole."""

    def __init__(self, stream: TextIO, tqdm: Any) -> None:
        super().__init__(stream)
        self.tqdm = tqdm
        self.bar: Any = None

    def paint(self, row: str) -> None:
        row = printable(row, self.stream)
        if self.bar is None:
            rows = _terminal_size().lines
            self.bar = self.tqdm(desc=row, bar_format="{desc}", ncols=0, nrows=rows, file=self.stream, leave=False)
        else:
            self.bar.set_description_str(row)

    def clear(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def leave(self) -> None:
        if self.bar is not None:
            self.bar.leave = True
            self.clear()

    def write_line(self, row: str) -> None:
        self.tqdm.write(printable(row, self.stream), file=self.stream)
        self.stream.flush()


def _make_painter(stream: TextIO) -> _Painter:
    try:
        from tqdm import tqdm
    except ImportError:
        return _Painter(stream)

    class Bar(tqdm):  # type: ignore[type-arg]
        monitor_interval = 0  # no thread that watches over our updates

    return _TqdmPainter(stream, Bar)


def _terminal_size() -> os.terminal_size:
    import shutil  # with it, importing fastnn would take a tenth longer

    return shutil.get_terminal_size()


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError):  # a stand-in without isatty, a closed file
        return False


def _write(stream: TextIO | None, text: str) -> None:
    if stream is not None:  # pythonw.exe has none
        stream.write(printable(text, stream))
        stream.flush()


def say(text: str) -> None:
    """Write a line to standard output, below a live line; one that is closed or broken is no reason to stop."""
    try:
        _write(sys.stdout, ("\n" if _is_terminal(sys.stdout) else "") + text + "\n")
    except (OSError, ValueError):
        pass


def printable(text: str, stream: TextIO) -> str:
    """Return ``text`` with "?" for each character which ``stream`` cannot encode (cp950, ascii)."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _format(value: float) -> str:
    return f"{value:.4f}" if abs(value) > 1e-3 or value == 0 else f"{value:.4e}"


def _format_time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.0f}s"
    return f"{seconds * 1e3:.0f}ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f}us"


def _bar(done: int, total: int, width: int) -> str:
    """Return ``width`` characters such as ``=======>......``, or only ``=`` when all is done."""
    full = width * done // max(total, 1)
    if full >= width:
        return "=" * width
    return ("=" * full)[:-1] + ">" * (full > 0) + "." * (width - full)


def width_of(text: str) -> int:
    """Return the columns that ``text`` takes on a terminal: two for a Chinese character."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _fold(fields: list[str], columns: int) -> list[str]:
    """Join ``fields`` with " - " to rows of at most ``columns``, never dividing a field."""
    rows = fields[:1]
    for field in fields[1:]:
        if width_of(f"{rows[-1]} - {field}") <= columns:
            rows[-1] += f" - {field}"
        else:
            rows.append(f"  - {field}")
    return rows
