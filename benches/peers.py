"""One epoch of the MNIST network 784-512-10 in fastnn and in other libraries: in one run, in turns, as ratios.

    python benches/peers.py --peer-python VENV/bin/python --peer-script peer.py --peers numpy,jax-scan --threads 2

Each library trains in a process of its own, on the first N processors that this one may use.  The peers are run as
`PYTHON SCRIPT PEER --threads N --batch B --epochs E --data FILE` and print one JSON line with epoch_s, the seconds of
each epoch.  Two statistics are taken of every process: its best epoch, and the median of the epochs after the first.
The data is the full MNIST, found as mnist.load_data() finds it (FASTNN_DATA).  Linux only.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

IMAGES, INPUTS, HIDDEN, CLASSES = 60_000, 784, 512, 10
# Multiply-adds of an epoch that skips no zero: forward and weight gradient of both layers, and the second one's dx.
EPOCH_FLOP = 2 * IMAGES * (2 * (INPUTS * HIDDEN + HIDDEN * CLASSES) + HIDDEN * CLASSES)
STATISTICS = {"best epoch": min, "median of the later epochs": lambda seconds: statistics.median(seconds[1:])}


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", metavar="PATH", help="the Python in which the peers are installed")
    parser.add_argument("--peer-script", metavar="PATH", help="the program that trains one peer")
    parser.add_argument("--peers", default="numpy", metavar="A,B", help="names for the script (default: numpy)")
    parser.add_argument("--fma-peak", metavar="PATH", help="a program that prints the peak as JSON, in gflops")
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    parser.add_argument("--batch", type=int, default=128, metavar="B")
    parser.add_argument("--epochs", type=int, default=5, metavar="E", help="in each process (default: 5)")
    parser.add_argument("--rounds", type=int, default=5, metavar="R", help="processes of each library (default: 5)")
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)     # fastnn's process
    args = parser.parse_args()
    if not args.train and not (args.peer_python and args.peer_script):
        parser.error("--peer-python and --peer-script are needed")
    if args.epochs < 2 or args.rounds < 1 or not 1 <= args.threads <= len(os.sched_getaffinity(0)):
        parser.error("--epochs: 2 or more; --rounds: 1 or more; --threads: 1 to the number of processors")
    return args


def train(args):
    """Trains fastnn as the course's script does, and prints what the peers print."""
    from fastnn import layers, models, utils
    from fastnn.datasets import mnist

    (x, y), (x_test, y_test) = mnist.load_data()
    x, x_test = (images.reshape(-1, INPUTS).astype("float32") / 255 for images in (x, x_test))
    y, y_test = utils.to_categorical(y), utils.to_categorical(y_test)
    utils.set_random_seed(0)
    model = models.Sequential([layers.Dense(HIDDEN, activation="relu", input_shape=(INPUTS,)),
                               layers.Dense(CLASSES, activation="softmax")])
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    seconds = []
    for _ in range(args.epochs):
        start = time.perf_counter()
        model.fit(x, y, epochs=1, batch_size=args.batch, verbose=0)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"epoch_s": seconds, "test_acc": model.evaluate(x_test, y_test)[1]}))


def run(command):
    """The JSON on the last line that a program prints; it ends this program if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        sys.exit(f"{' '.join(command)}\nended with exit code {done.returncode}: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def data_file():
    """The file that mnist.load_data() reads; the caches are filled first where they have to be."""
    from fastnn.datasets import mnist

    mnist.load_data()
    return next(place for place in mnist.places() if os.path.exists(place))


def commands(args):
    data, options = data_file(), ["--threads", args.threads, "--batch", args.batch, "--epochs", args.epochs]
    found = {"fastnn": [sys.executable, __file__, "--train", *options]}
    for peer in args.peers.split(","):
        # -E: a PYTHONPATH that leads to fastnn may lead past the peers' own packages
        found[peer] = [args.peer_python, "-E", args.peer_script, peer, *options, "--data", data]
    if args.fma_peak:
        found["FMA peak"] = [args.fma_peak, args.threads]
    return {name: [str(word) for word in command] for name, command in found.items()}


def spread(values, digits=2):
    """The median, with least and most."""
    values = list(values)
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(outputs, statistic):
    """Lines for one statistic.  outputs: for each library, what its processes printed, round by round."""
    peaks = [EPOCH_FLOP / (output["gflops"] * 1e9) for output in outputs.get("FMA peak", [])]
    seconds = {name: [STATISTICS[statistic](output["epoch_s"]) for output in rounds]
               for name, rounds in outputs.items() if name != "FMA peak"}
    yield f"\n{statistic + ', seconds':<36}{'':<27}{'over fastnn':<24}{'of FMA peak' if peaks else ''}".rstrip()
    for name, times in seconds.items():
        ratios = spread(a / b for a, b in zip(times, seconds["fastnn"], strict=True))
        share = spread(a / b for a, b in zip(peaks, times, strict=True)) if peaks else ""
        accuracy = statistics.median(output["test_acc"] for output in outputs[name])
        yield f"  {name:<16}accuracy {accuracy:.4f}   {spread(times, 3):<27}{ratios:<24}{share}".rstrip()
    if peaks:
        share = spread(a / b for a, b in zip(seconds["fastnn"], peaks, strict=True))
        yield f"  dense multiply-adds at peak       {spread(peaks, 3):<26} fastnn takes {share} of that"


def main():
    args = parsed()
    os.environ["FASTNN_NUM_THREADS"] = str(args.threads)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:args.threads])     # every process started here inherits it
    if args.train:
        return train(args)
    from fastnn import benchmark

    print(f"{benchmark.describe(benchmark.machine())}\n784-512-10, batch {args.batch}, {args.rounds} rounds in turns, "
          f"{args.epochs} epochs each; medians of the rounds, with least and most", flush=True)
    programs = commands(args)
    outputs, others = {name: [] for name in programs}, benchmark.watch_others()
    for _ in range(args.rounds):
        for name, command in programs.items():
            outputs[name].append(run(command))
    for statistic in STATISTICS:
        print(*table(outputs, statistic), sep="\n")
    print(f"\n{benchmark.disturbance(others())}")


if __name__ == "__main__":
    main()
