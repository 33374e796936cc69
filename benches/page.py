"""docs/performance.md, from the JSON of the commands that measure, written on one machine.

    python benches/page.py --speed speed.json --bench bench.json --ops ops1.json ops2.json \\
        --gradients gradients1.json gradients2.json > docs/performance.md

--speed is of benches/speed.py, --bench of fastnn bench, --ops of python -m fastnn.benchmark_ops, a file for each number
of threads, --gradients of benches/gradients.py.  The last two may be left out; so are their sections then.  Several
files of --speed and of --bench are joined: long runs may be made in pieces (--rows, --only).
"""
import argparse
import json
import sys

from fastnn import benchmark, benchmark_ops_targets

MOST_LOST = 60      # lines
RATIO = """\
Median time of a call. Ratio: NumPy's time over fastnn's in one round, the median of the rounds; above 1, fastnn is
faster."""
OF_PEAK = """\
Of peak: the multiply-adds that skip no zero, over fastnn's time, as a share of {:g} GFLOP/s for each thread; skipping
zeros can take it above 100 %."""
OPS = """\
Each operation for each of its element types, by size, shape and axis: median time of a call over that of NumPy in the
same round. **Here below 1 means that fastnn is faster.** Spread: the quartiles of the rounds."""
GRADIENTS = """\
The two-layer loss 784-512-10 at batch 128, with its gradients by both weights and both biases, the same function on
each side. Medians of processes that take turns."""
HOW = """\
```sh
python -m venv peers && peers/bin/pip install numpy scikit-learn torch jax autograd  # never beside fastnn
cc -O3 -pthread fma_peak.c -o fma_peak
python benches/speed.py --peer-python peers/bin/python --peer-script peer.py --fma-peak ./fma_peak --rounds {rounds} \\
    --json speed.json
fastnn bench --json{peak} > bench.json
for threads in 1 2; do
    python -m fastnn.benchmark_ops --threads $threads --json > ops$threads.json
    python benches/gradients.py --peer-python peers/bin/python --threads $threads --json gradients$threads.json
done
python benches/page.py --speed speed.json --bench bench.json --ops ops1.json ops2.json \\
    --gradients gradients1.json gradients2.json > docs/performance.md
```

`python benches/speed.py --help` says what `peer.py` and `fma_peak` print."""


def cells(*texts, losing=False):
    """A row of a table, bold where fastnn falls short."""
    return "| " + " | ".join(f"**{text}**" if losing and text else text for text in texts) + " |"


def falling_short(rows, cases, not_measured):
    """Lines that name first what is not as it should be."""
    missed = [row for row in rows if row["met"] is False]
    absent = [row for row in rows if row["met"] is None]
    lost = [case for case in cases if case["ratio"] < 1]
    yield from (f"- **{row['what']}: {row['measured']}**, asked is {row['asked']}" for row in missed)
    yield from (f"- **NumPy is faster: {benchmark.title(case)}, ratio {case['ratio']:.2f}**" for case in lost)
    yield from (f"- {row['what']}: {row['measured']}" for row in absent)
    yield from (f"- {case}" for case in not_measured)
    if not missed + absent + lost + not_measured:
        yield "- Nothing: every promise is met, and NumPy is faster in no case."


def promises(rows, measured="measured (least to most)", sides="fastnn / other"):
    yield cells("what", "asked", measured, sides, "")
    yield cells("---", "---", "---", "---", "---")
    for row in rows:
        met = {True: "met", False: "MISSED", None: ""}[row["met"]]
        yield cells(row["what"], row["asked"], row["measured"], row["sides"], met, losing=row["met"] is False)


def beside_numpy(cases):
    peak = any(case["share"] for case in cases)
    yield cells("what", "", "threads", "loops", "NumPy", "fastnn", "ratio", "quartiles", *["of peak"] * peak)
    yield cells(*["---"] * (8 + peak))
    for case in cases:
        times = [benchmark.duration(case["seconds"].get(side)) for side in benchmark.SIDES]
        share = [f"{100 * case['share']:.0f} %" if case["share"] else ""] if peak else []
        yield cells(case["group"], case["size"], str(case["threads"]), *times, f"{case['ratio']:.2f}",
                    "{:.2f} to {:.2f}".format(*case["quartiles"]), *share, losing=case["ratio"] < 1)


def threads_of(part):
    threads = part["machine"]["threads"]
    return f"{threads} thread{'s' * (threads > 1)}" + ", --quick" * part["machine"].get("quick", False)


def rows_of_ops(parts):
    """The promises of fastnn.ops, in the form of the others."""
    return [row | {"what": f"{row['what']}, {threads_of(part)}", "sides": ""}
            for part in parts for row in part["targets"]]


def lost_cells(parts):
    """The cells in which NumPy is faster by more than the spread, the worst first."""
    lost = [(cell, threads_of(part)) for part in parts for cell in part["cells"] if benchmark_ops_targets.loses(cell)]
    lost.sort(key=lambda pair: -pair[0]["ratio"])
    count = sum(len(part["cells"]) for part in parts)
    yield f"NumPy is faster by more than the spread in {len(lost):,} of {count:,} cells, the worst first:"
    yield from ["", cells("cell", "threads", "NumPy", "fastnn", "ratio", "quartiles"), cells(*["---"] * 6)]
    for cell, threads in lost[:MOST_LOST]:
        times = [benchmark.duration(cell[side]) for side in ("numpy", "fastnn")]
        yield cells(benchmark_ops_targets.title(cell), threads.split()[0], *times, f"{cell['ratio']:.2f}",
                    "{:.2f} to {:.2f}".format(*cell["quartiles"]))
    if len(lost) > MOST_LOST:
        rest = lost[MOST_LOST:]
        yield from ["", f"And {len(rest):,} more, none with a ratio above {rest[0][0]['ratio']:.2f}."]


def operation_means(parts):
    """A row for each operation, a column for each file."""
    means = [benchmark_ops_targets.means(part["cells"]) for part in parts]
    yield cells("geometric mean of all cells", *map(threads_of, parts))
    yield cells(*["---"] * (1 + len(parts)))
    for name in dict.fromkeys(name for found in means for name in found):
        yield cells(name, *(f"{found[name]:.2f}" if name in found else "" for found in means))


def ops_section(parts):
    others = benchmark.busiest(*(part["machine"]["others"] for part in parts))
    yield from ["", "## fastnn.ops", "", OPS, benchmark.disturbance(others), ""]
    yield from promises(rows_of_ops(parts), "measured", "")
    yield from ["", *lost_cells(parts), "", *operation_means(parts)]


def gradients_section(parts):
    others = benchmark.busiest(*(part["machine"]["others"] for part in parts))
    yield from ["", "## Gradients", "", GRADIENTS, benchmark.disturbance(others), "",
                *promises([row for part in parts for row in part["rows"]], sides="fastnn / other, or forward pass")]


def page(speed, bench, ops=(), gradients=()):
    """The lines of the page.  speed, bench: what the two commands wrote, joined; ops, gradients: what theirs wrote."""
    facts, rows, cases = speed["machine"], speed["rows"], bench["cases"]
    others, peak = bench["machine"]["others"], bench["machine"]["fma_peak"]
    peers = ", ".join(f"{name} {version}" for name, version in facts["peers"].items() if version) or "none"
    every = [*rows, *rows_of_ops(ops), *(row for part in gradients for row in part["rows"])]
    yield from ["# Performance", "", "Measured, and written by a command: do not edit.", "",
                f"{facts['date']}: {benchmark.describe(facts)}.", f"Peers, in an environment of their own: {peers}.",
                "", "## What falls short", "", *falling_short(every, cases, bench["not_measured"])]
    yield from ["", "## What is promised", "",
                "Both sides in one run, in turns, each in a process of its own; a process counts with its best "
                f"repetition.\nMedians of {facts['rounds']} rounds. {benchmark.disturbance(facts['others'])}", "",
                *promises(rows)]
    yield from ["", "## Beside NumPy and the course's loops", "",
                RATIO, *([OF_PEAK.format(peak)] if peak else []), benchmark.disturbance(others), "",
                *beside_numpy(cases)]
    yield from ops_section(ops) if ops else []
    yield from gradients_section(gradients) if gradients else []
    option = f" --fma-peak {peak:g}" if peak else ""
    yield from ["", "## How to measure it again", "", HOW.format(rounds=facts["rounds"], peak=option)]


def loaded(files):
    found = []
    for name in files:
        with open(name, encoding="utf-8") as file:
            found.append(json.load(file))
    return found


def joined(files, *keys):
    """The first file's machine, and the lists of all under those keys; the most that others kept busy counts."""
    found = loaded(files)
    others = benchmark.busiest(*(part["machine"]["others"] for part in found))
    machine = found[0]["machine"] | {"others": others}
    return {"machine": machine} | {key: [entry for part in found for entry in part[key]] for key in keys}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", nargs="+", required=True, metavar="FILE", help="written by speed.py --json")
    parser.add_argument("--bench", nargs="+", required=True, metavar="FILE", help="written by fastnn bench --json")
    parser.add_argument("--ops", nargs="+", default=[], metavar="FILE", help="by python -m fastnn.benchmark_ops --json")
    parser.add_argument("--gradients", nargs="+", default=[], metavar="FILE", help="by gradients.py --json")
    args = parser.parse_args(argv)
    print(*page(joined(args.speed, "rows"), joined(args.bench, "cases", "not_measured"), loaded(args.ops),
                loaded(args.gradients)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
