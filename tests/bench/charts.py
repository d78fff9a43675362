"""The charts, drawn by gnuplot as SVG. Each has one message, which is its title; a lock has the same colour in all of them."""
import dataclasses
import shutil
import subprocess

from plan import LONG, RIVALS, SUBJECT

COLOURS = dict(zip((SUBJECT, *RIVALS), ("#d55e00", "#0072b2", "#009e73")))  # that the colour-blind can tell apart (Okabe and Ito)
WAITS = {"wait_p50_ns": "median", "wait_p99_ns": "p99", "wait_max_ns": "longest", "free_p999_ns": "free p99.9"}


@dataclasses.dataclass
class Chart:
    name: str  # of its file
    title: str
    note: str
    x: str
    y: str
    commands: list

    @property
    def script(self):
        return "\n".join([
            'set terminal svg size 900,560 dynamic enhanced font "sans-serif,13" background "#ffffff"',
            f'set title "{{/:Bold=16 {self.title}}}\\n{{/=12 {self.note}}}"', f'set xlabel "{self.x}"', f'set ylabel "{self.y}"',
            "set bmargin 7.5", "set key at screen 0.5, 0.015 center bottom horizontal Left reverse", 'set grid ytics linecolor "#dddddd"',
            "set border 3", "set tics nomirror out", *self.commands]) + "\n"


def all_charts(samples, rows):
    there = [row for row in rows if row.case == "fairness" and row.section == LONG and set(COLOURS) <= samples.locks(row)]
    return [frontier(samples, there), waits(samples, there)] if there else []


def block(name, points):
    return "\n".join([f"${name} << EOD", *(" ".join(map(str, point)) for point in points), "EOD"])


def frontier(samples, rows):
    """Up and to the right is better."""
    data, plots, highest = [], [], 0
    for number, (lock, colour) in enumerate(COLOURS.items()):
        fair, done = ([samples.estimate(row, lock, metric) for row in rows] for metric in ("fairness", "operations_per_second"))
        highest = max(highest, *(one.high for one in done))
        data.append(block(f"dots{number}", [(f"{x.median:.4f}", y.median, f'"{row.parties}"') for x, y, row in zip(fair, done, rows)]))
        plots.append(f'$dots{number} using 1:2 with points pointtype 7 pointsize 1.2 linecolor "{colour}" title "{lock}"')
        plots.append(f'$dots{number} using 1:2:3 with labels offset 1.5,0.5 textcolor "{colour}" notitle')
    return Chart("frontier", "Throughput against fairness",
                 f"a dot for each lock and number of processes; sections of {LONG // 1000} us; medians",
                 "least served / most served in 1 s", "operations a second",
                 [*data, "set xrange [-0.02:1.02]", f"set yrange [0:{1.1 * highest:.6g}]", 'set format y "%.1s%c"', "plot " + ", ".join(plots)])


def waits(samples, rows):
    """Groups of bars side by side, each bar with its quartiles."""
    groups = [(row, metric) for row in rows for metric in WAITS]
    wide = 0.85 / len(COLOURS)
    data, plots, bars = [], [], []
    for number, (lock, colour) in enumerate(COLOURS.items()):
        found = [samples.estimate(row, lock, metric) for row, metric in groups]
        data.append(block(f"bar{number}", [(f"{place + (number - 1) * wide:.4f}", bar.median, bar.low, bar.high) for place, bar in enumerate(found)]))
        plots.append(f'$bar{number} using 1:2:({wide:.4f}) with boxes linecolor "{colour}" title "{lock}"')
        plots.append(f'$bar{number} using 1:3:(0):($4-$3) with vectors nohead linecolor "#444444" notitle')
        bars += found
    names = ", ".join(f'"{row.parties}\\n{WAITS[metric]}" {place}' for place, (row, metric) in enumerate(groups))
    ticks = ", ".join(f'"{10 ** (power % 3)} {("ns", "us", "ms", "s")[power // 3]}" 1e{power}' for power in range(11))
    low, high = max(1, min(bar.low for bar in bars)) / 1.6, max(bar.high for bar in bars) * 1.6
    return Chart("waits", "How long they wait, and how long a wanted lock stays free",
                 f"8, 16 and 64 processes, sections of {LONG // 1000} us; median and quartiles of the runs", "", "time",
                 [*data, "set logscale y", f"set yrange [{low:.6g}:{high:.6g}]", "set mytics 1", f"set ytics ({ticks})", "set style fill solid 0.9",
                  'set xtics font ",11"', f"set xtics ({names})", f"set xrange [-0.6:{len(groups) - 0.4}]", "plot " + ", ".join(plots)])


def draw(charts, folder):
    """Writes NAME.svg for each. Returns what went wrong, or None."""
    if not shutil.which("gnuplot"):
        return "gnuplot is not installed, so there are no charts; install gnuplot-nox"
    folder.mkdir(parents=True, exist_ok=True)
    for chart in charts:
        done = subprocess.run(["gnuplot"], input=chart.script, capture_output=True, text=True, check=False)
        if done.returncode != 0 or "</svg>" not in done.stdout:
            return f"gnuplot could not draw {chart.name}: {done.stderr.strip()}"
        (folder / f"{chart.name}.svg").write_text(done.stdout, encoding="utf-8")
    return None
