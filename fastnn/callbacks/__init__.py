"""Callbacks: what `fit` calls while it trains, in Keras' words.

`History` keeps the numbers, `ProgressBar` shows them; the others stop, save, log and set the learning rate.
"""

from .base import Callback, History, LambdaCallback
from .files import BackupAndRestore, CSVLogger, ModelCheckpoint, TensorBoard
from .monitor import EarlyStopping, LearningRateScheduler, ReduceLROnPlateau, TerminateOnNaN
from .progress import ProgressBar, printable

__all__ = ["BackupAndRestore", "CSVLogger", "Callback", "EarlyStopping", "History", "LambdaCallback",
           "LearningRateScheduler", "ModelCheckpoint", "ProgressBar", "ReduceLROnPlateau", "TensorBoard",
           "TerminateOnNaN", "printable"]
