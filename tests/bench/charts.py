"""The charts, drawn by gnuplot as SVG. Each has one message, which is its title; a lock has the same colour in all of them."""
import dataclasses
import math
import shutil
import subprocess

from plan import LONG
from tables import in_order, locks_of

# Colours that the colour-blind can tell apart (Okabe and Ito), and heirlock in the strongest.
COLOURS = {"heirlock": "#d55e00", "lockable": "#e69f00", "glibc-robust": "#0072b2", "glibc": "#56b4e9", "boost": "#009e73",
           "sem": "#cc79a7", "std-recursive": "#000000", "std-recursive-timed": "#777777",
           "floor-cas-exchange": "#b8b8b8", "floor-reentrant": "#b0b0b0", "floor-syscall": "#c8c8c8", "floor-switch": "#d8d8d8"}
OTHERS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SIZE = (900, 560)


@dataclasses.dataclass
class Line:
    """Points (x, Estimate, label) of one lock, that nothing joins."""
    name: str
    points: list


@dataclasses.dataclass
class Chart:
    name: str    # of its file
    title: str
    note: str
    x: str       # what the axis shows, and its unit
    y: str
    lines: list = dataclasses.field(default_factory=list)
    bars: list = dataclasses.field(default_factory=list)  # (label, [(lock, Estimate)]), times in nanoseconds

    @property
    def is_empty(self):
        return not any(line.points for line in self.lines) and not any(values for _, values in self.bars)

    def script(self):
        width, height = SIZE
        title = quoted(f"{{/:Bold=16 {escaped(self.title)}}}\n{{/=12 {escaped(self.note)}}}")
        commands = [f'set terminal svg size {width},{height} dynamic enhanced font "sans-serif,13" background "#ffffff"',
                    f"set title {title}", f"set xlabel {quoted(escaped(self.x))}", f"set ylabel {quoted(escaped(self.y))}",
                    "set bmargin 7.5", "set key at screen 0.5, 0.015 center bottom horizontal Left reverse", 'set grid ytics linecolor "#dddddd"', "set border 3",
                    "set tics nomirror out"]
        values = [estimate.high for _, estimate in self.all_points()]
        if self.bars:
            least = min(estimate.low for _, estimate in self.all_points() if estimate.low > 0)
            low, high = least / 1.6, max(values) * 1.6
            commands += ["set logscale y", f"set yrange [{low:.6g}:{high:.6g}]", "set mytics 1", time_ticks(low, high)]
        else:
            commands += [f"set yrange [0:{max(values) * 1.1 or 1:.6g}]", f'set format y "{"%.1s%c" if max(values) >= 1000 else "%g"}"']
        return "\n".join([*commands, *(self.bar_commands() if self.bars else self.dot_commands())]) + "\n"

    def all_points(self):
        for line in self.lines:
            yield from (point[:2] for point in line.points)
        for _, values in self.bars:
            yield from values

    def dot_commands(self):
        data, plots = [], []
        for number, line in enumerate(self.lines):
            points = "\n".join(f'{x:.4f} {one.median:.8g} "{label}"' for x, one, label in line.points)
            data.append(f"$dots{number} << EOD\n{points}\nEOD")
            colour = COLOURS.get(line.name, OTHERS[number % len(OTHERS)])
            plots.append(f'$dots{number} using 1:2 with points pointtype 7 pointsize 1.2 linecolor "{colour}" title {quoted(escaped(line.name))}')
            plots.append(f'$dots{number} using 1:2:3 with labels offset 1.5,0.5 textcolor "{colour}" notitle')
        return [*data, "set xrange [-0.02:1.02]", "plot " + ", \\\n  ".join(plots)]

    def bar_commands(self):
        """Groups of bars side by side, each with its quartiles."""
        locks = in_order({lock for _, values in self.bars for lock, _ in values})
        wide = 0.85 / len(locks)
        data, plots = [], []
        for number, lock in enumerate(locks):
            points = [(place + (number - (len(locks) - 1) / 2) * wide, dict(values)[lock])
                      for place, (_, values) in enumerate(self.bars) if lock in dict(values)]
            rows = "\n".join(f"{x:.4f} {one.median:.8g} {one.low:.8g} {one.high:.8g}" for x, one in points)
            data.append(f"$bar{number} << EOD\n{rows}\nEOD")
            colour = COLOURS.get(lock, OTHERS[number % len(OTHERS)])
            plots.append(f'$bar{number} using 1:2:({wide:.4f}) with boxes linecolor "{colour}" title {quoted(escaped(lock))}')
            plots.append(f'$bar{number} using 1:3:(0):($4-$3) with vectors nohead linecolor "#444444" notitle')
        names = ", ".join(f"{quoted(escaped(label))} {place}" for place, (label, _) in enumerate(self.bars))
        return [*data, "set style fill solid 0.9", "set xtics font \",11\"", f"set xtics ({names})", f"set xrange [-0.6:{len(self.bars) - 0.4}]",
                "plot " + ", \\\n  ".join(plots)]


def time_ticks(low, high):
    """At 1, 2 and 5 where the axis is short, else at powers of 10."""
    factors = (1, 2, 5) if high / low < 300 else (1,)
    ticks = [factor * 10**power for power in range(-1, 12) for factor in factors if low <= factor * 10**power <= high]
    return "set ytics (" + ", ".join(f'"{tick_name(tick)}" {tick:g}' for tick in ticks) + ")"


def tick_name(nanoseconds):
    size, unit = next((pair for pair in ((1e9, "s"), (1e6, "ms"), (1e3, "us")) if nanoseconds >= pair[0]), (1, "ns"))
    return f"{nanoseconds / size:g} {unit}"


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def escaped(text):
    """What gnuplot's enhanced text would take for markup."""
    return "".join(f"\\{letter}" if letter in "_^@&~{}" else letter for letter in text)


def all_charts(samples, rows):
    charts = [frontier_chart(samples, rows), waits_chart(samples, rows)]
    return [chart for chart in charts if not chart.is_empty]


def frontier_chart(samples, rows):
    """Up and to the right is better."""
    lines = {}
    for row in rows:
        if row.case != "fairness" or row.section != LONG:
            continue
        for lock in locks_of(samples, [row]):
            fair, done = (samples.estimate(row.name, lock, metric) for metric in ("fairness", "operations_per_second"))
            if fair and done:
                lines.setdefault(lock, []).append((fair.median, done, str(row.parties)))
    return Chart("frontier", "Throughput against fairness", f"a dot for each lock and number of processes; sections of {LONG // 1000} us; medians",
                 "least served / most served in 1 s", "operations a second", lines=[Line(*one) for one in lines.items()])


def waits_chart(samples, rows):
    bars = [(f"{row.parties}\n{words}", estimates(samples, row, metric)) for row in rows if row.case == "fairness" and row.section == LONG
            for metric, words in (("wait_p50_ns", "median"), ("wait_p99_ns", "p99"), ("wait_max_ns", "longest"), ("free_p999_ns", "free p99.9"))]
    return Chart("waits", "How long they wait, and how long a wanted lock stays free", f"8, 16 and 64 processes, sections of {LONG // 1000} us; median and quartiles of the runs",
                 "", "time", bars=[bar for bar in bars if bar[1]])


def estimates(samples, row, metric):
    """Of all locks that were measured; what is not above 0 has no place on a logarithmic axis."""
    found = [(lock, samples.estimate(row.name, lock, metric)) for lock in locks_of(samples, [row])]
    return [(lock, one) for lock, one in found if one and one.median > 0 and math.isfinite(one.median)]


def draw(charts, folder):
    """Writes NAME.svg for each. Returns what went wrong, or None."""
    if not shutil.which("gnuplot"):
        return "found no gnuplot, expected one to draw the charts; install gnuplot-nox"
    folder.mkdir(parents=True, exist_ok=True)
    for chart in charts:
        done = subprocess.run(["gnuplot"], input=chart.script(), capture_output=True, text=True, check=False)
        if done.returncode != 0 or "</svg>" not in done.stdout:
            return f"gnuplot could not draw {chart.name}: {done.stderr.strip()}"
        (folder / f"{chart.name}.svg").write_text(done.stdout, encoding="utf-8")
    return None
