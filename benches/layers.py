"""What a layer between Dense(512) and Dense(10) adds to a training step of the digits, batch 128, as ratios.

    python benches/layers.py --threads 2 [--rounds 400]

The models train in turns on 640 images of the sample; of each the 2 % quantile of the rounds counts, which a machine
with other work on it reaches too.  Promised: Dropout and BatchNormalization at most 1.10.
"""
import argparse
import time

import numpy as np

from fastnn import layers, models, set_num_threads
from fastnn.datasets import mnist
from fastnn.utils import set_random_seed

BETWEEN = {
    "nothing": lambda: [],
    "Dropout": lambda: [layers.Dropout(0.5)],
    "BatchNormalization": lambda: [layers.BatchNormalization()],
    "LayerNormalization": lambda: [layers.LayerNormalization()],
}


def network(between, activation="relu"):
    set_random_seed(0)
    model = models.Sequential([layers.Rescaling(1 / 255, input_shape=(784,)), layers.Dense(512, activation=activation),
                               *between, layers.Dense(10, activation="softmax")])
    model.compile("rmsprop", "sparse_categorical_crossentropy")
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=400)
    args = parser.parse_args()
    set_num_threads(args.threads)
    (x, y), _ = mnist.load_sample()
    x, y = x[:640].reshape(-1, 784), y[:640]
    built = {name: network(between()) for name, between in BETWEEN.items()}
    built |= {name: network([], name) for name in ("gelu", "leaky_relu")}
    seconds = {name: [] for name in built}
    for _ in range(args.rounds):
        for name, model in built.items():
            start = time.perf_counter()
            model.fit(x, y, batch_size=128, shuffle=False, verbose=0)
            seconds[name].append(time.perf_counter() - start)
    found = {name: np.quantile(times, 0.02) for name, times in seconds.items()}
    for name, time_ in found.items():
        print(f"{name:20} {time_ / 5 * 1e3:6.3f} ms a step   {time_ / found['nothing']:.3f}")


if __name__ == "__main__":
    main()
