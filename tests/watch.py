"""An optimizer that shows the gradients of a model."""
from fastnn import optimizers


class Watch(optimizers.Optimizer):
    """Steps nowhere; keeps the gradients of the last step."""

    def __init__(self):
        super().__init__(1.0)
        self.found = []

    def update_step(self, gradient, weight, slots):
        self.found.append(gradient.copy())

    def step(self, model, x, y):
        self.found.clear()
        model.train_on_batch(x, y)
        return self.found
