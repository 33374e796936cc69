"""docs/performance.md, from what `benches/speed.py --json` and `fastnn bench --json` wrote on one machine.

    python benches/page.py --speed speed.json --bench bench.json > docs/performance.md

Several files of each are joined: long runs may be made in pieces (--rows, --only).
"""
import argparse
import json
import sys

from fastnn import benchmark

RATIO = """\
Median time of a call. Ratio: NumPy's time over fastnn's in one round, the median of the rounds; above 1, fastnn is
faster."""
OF_PEAK = """\
Of peak: the multiply-adds that skip no zero, over fastnn's time, as a share of {:g} GFLOP/s for each thread; skipping
zeros can take it above 100 %."""
HOW = """\
```sh
python -m venv peers && peers/bin/pip install numpy scikit-learn torch jax      # never beside fastnn
cc -O3 -pthread fma_peak.c -o fma_peak
python benches/speed.py --peer-python peers/bin/python --peer-script peer.py --fma-peak ./fma_peak --rounds {rounds} \\
    --json speed.json
fastnn bench --json{peak} > bench.json
python benches/page.py --speed speed.json --bench bench.json > docs/performance.md
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


def promises(rows):
    yield cells("what", "asked", "measured (least to most)", "fastnn / other", "")
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


def page(speed, bench):
    """The lines of the page.  speed, bench: what the two commands wrote, joined."""
    facts, rows, cases = speed["machine"], speed["rows"], bench["cases"]
    others, peak = bench["machine"]["others"], bench["machine"]["fma_peak"]
    peers = ", ".join(f"{name} {version}" for name, version in facts["peers"].items() if version) or "none"
    yield from ["# Performance", "", "Measured, and written by a command: do not edit.", "",
                f"{facts['date']}: {benchmark.describe(facts)}.", f"Peers, in an environment of their own: {peers}.",
                "", "## What falls short", "", *falling_short(rows, cases, bench["not_measured"])]
    yield from ["", "## What is promised", "",
                "Both sides in one run, in turns, each in a process of its own; a process counts with its best "
                f"repetition.\nMedians of {facts['rounds']} rounds. {benchmark.disturbance(facts['others'])}", "",
                *promises(rows)]
    yield from ["", "## Beside NumPy and the course's loops", "",
                RATIO, *([OF_PEAK.format(peak)] if peak else []), benchmark.disturbance(others), "",
                *beside_numpy(cases)]
    option = f" --fma-peak {peak:g}" if peak else ""
    yield from ["", "## How to measure it again", "", HOW.format(rounds=facts["rounds"], peak=option)]


def joined(files, *keys):
    """The first file's machine, and the lists of all under those keys; the most that others kept busy counts."""
    found = []
    for name in files:
        with open(name, encoding="utf-8") as file:
            found.append(json.load(file))
    others = benchmark.busiest(*(part["machine"]["others"] for part in found))
    machine = found[0]["machine"] | {"others": others}
    return {"machine": machine} | {key: [entry for part in found for entry in part[key]] for key in keys}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", nargs="+", required=True, metavar="FILE", help="written by speed.py --json")
    parser.add_argument("--bench", nargs="+", required=True, metavar="FILE", help="written by fastnn bench --json")
    args = parser.parse_args(argv)
    print(*page(joined(args.speed, "rows"), joined(args.bench, "cases", "not_measured")), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
