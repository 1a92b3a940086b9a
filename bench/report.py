#!/usr/bin/env python3
"""Turns the figures of bench/run.sh into a report: report.py RUN.tsv RESULTS.tsv > BENCHMARKS.md.

RUN.tsv says how and where it ran (key, value). RESULTS.tsv holds one figure a line: round, test, path,
figure, value.
"""

import collections
import re
import statistics
import sys

TITLES = {
    "ps": "Point selects",
    "rw": "Read-write transactions",
    "conn": "Connections",
    "big": "A result of 200 MB",
}
UNITS = {"ps": "query", "rw": "query", "conn": "connection", "big": "MB"}
PLURALS = {"query": "queries", "connection": "connections", "MB": "MB"}
NOTES = {
    "ps": "sysbench `oltp_point_select`, prepared statements; one query is one row by its primary key.",
    "rw": "sysbench `oltp_read_write`, prepared statements; 20 queries a transaction. The standby applies"
    " the writes meanwhile, on the same cores, on every path.",
    "conn": "One is connect, log in, `SELECT 1`, disconnect.",
    "big": "200 000 rows of 1 kB, read by the `mariadb` client and thrown away. *Peak* is the proxy's"
    " largest resident size during it.",
}
READING = """\
How to read it: every figure is the median of the rounds, with the smallest and the largest rate beside
it. In each round every test runs on every path, one after the other, so that a machine that becomes
slower or faster meanwhile does so for all; compare the ratios, not the rates of two runs. *direct* is a
connection without a proxy, *HAProxy* is a blind relay (TCP mode, one thread). *CPU* is the processor
time that the proxy's process used (user and system, all threads) for each operation, in microseconds.

**Pinned** means that client, proxy and server share one core. The rate is then what their processor
times add up to, free of the wake-ups between cores that hide differences otherwise; decide on these
figures. The others show what a client sees on this machine."""


def read(run_file, results_file):
    run = collections.defaultdict(list)
    for line in open(run_file, encoding="utf-8"):
        key, value = line.rstrip("\n").split("\t")
        run[key].append(value)
    figures = collections.defaultdict(list)
    for line in open(results_file, encoding="utf-8"):
        _, test, path, figure, value = line.rstrip("\n").split("\t")
        figures[test, path, figure].append(float(value))
    return run, figures


def split(test):
    """('ps', 16, True) of 'ps16p'; a large result has no number of clients."""
    kind, clients, pinned = re.fullmatch(r"(ps|rw|conn|big)(\d*)(p?)", test).groups()
    return kind, int(clients or 1), bool(pinned)


def ordered(values):
    return list(dict.fromkeys(values))


class Report:
    """The figures by test and path; `None` where there are none."""

    def __init__(self, figures):
        self.figures = figures
        self.tests = ordered(test for test, _, _ in figures)
        self.paths = ordered(path for _, path, _ in figures)

    def median(self, test, path, figure):
        values = self.figures.get((test, path, figure))
        return statistics.median(values) if values else None

    def spread(self, test, path):
        values = self.figures[test, path, "rate"]
        return f"{number(min(values))}–{number(max(values))}"

    def ratio(self, test, path, to, figure="rate"):
        own, other = self.median(test, path, figure), self.median(test, to, figure)
        return f"{own / other:.2f}" if own is not None and other else "–"

    def summary(self):
        """Tandem's ratios, where Tandem was measured."""
        if "tandem" not in self.paths:
            return
        yield "| test | rate ÷ direct | rate ÷ HAProxy | CPU ÷ HAProxy |"
        yield "|---|---|---|---|"
        for test in self.tests:
            if test != "idle":
                ratios = [
                    self.ratio(test, "tandem", "direct"),
                    self.ratio(test, "tandem", "haproxy"),
                    self.ratio(test, "tandem", "haproxy", "cpu"),
                ]
                yield f"| {describe(test)} | {' | '.join(ratios)} |"
        yield ""

    def kind(self, kind):
        """One table with all tests of a kind."""
        tests = [test for test in self.tests if test != "idle" and split(test)[0] == kind]
        if not tests:
            return
        unit = UNITS[kind]
        last = "peak kB" if kind == "big" else "average ms | 95 % ms"
        yield f"## {TITLES[kind]}\n\n{NOTES[kind]}\n"
        yield f"| clients | path | {PLURALS[unit]}/s | min–max | ÷ direct | ÷ HAProxy | CPU µs/{unit} | {last} |"
        yield "|---" * (8 if kind == "big" else 9) + "|"
        for test in tests:
            _, clients, pinned = split(test)
            for path in self.paths:
                if self.median(test, path, "rate") is not None:
                    cells = [
                        f"{clients}{', pinned' if pinned else ''}",
                        path,
                        number(self.median(test, path, "rate")),
                        self.spread(test, path),
                        self.ratio(test, path, "direct"),
                        self.ratio(test, path, "haproxy"),
                        number(self.median(test, path, "cpu")),
                    ]
                    for figure in ["peak"] if kind == "big" else ["average", "high"]:
                        cells.append(number(self.median(test, path, figure)))
                    yield f"| {' | '.join(cells)} |"
        yield ""

    def idle(self, clients):
        """Memory of clients that are connected and silent."""
        if "idle" not in self.tests:
            return
        yield f"## Idle clients\n\nResident memory of the proxy with {clients} clients that have run one statement.\n"
        yield "| path | before kB | with clients kB | kB per client |"
        yield "|---|---|---|---|"
        for path in self.paths:
            if self.median("idle", path, "each") is not None:
                cells = [number(self.median("idle", path, figure)) for figure in ("before", "with", "each")]
                yield f"| {path} | {' | '.join(cells)} |"
        yield ""


def number(value):
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 5 else f"{value:.2f}"


def describe(test):
    kind, clients, pinned = split(test)
    many = "" if kind == "big" else f", {clients} client{'s' if clients > 1 else ''}"
    return f"{TITLES[kind]}{many}{', pinned' if pinned else ''}"


def main():
    run, figures = read(sys.argv[1], sys.argv[2])
    report = Report(figures)
    rounds, seconds = run["rounds"][0], run["seconds"][0]
    print("# Benchmarks\n")
    print(f"Measured by `make bench` on {run['date'][0]}: {rounds} rounds, {seconds} s a run.")
    print(f"{run['machine'][0]}; {'; '.join(run['version'])}.\n")
    for line in report.summary():
        print(line)
    print(READING + "\n")
    for kind in TITLES:
        for line in report.kind(kind):
            print(line)
    for line in report.idle(run["idle_clients"][0]):
        print(line)


if __name__ == "__main__":
    main()
