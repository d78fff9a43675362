"""What a person gets to read: the terminal's text, and RESULTS.md."""
import textwrap

from tables import WIDTH, all_tables, remarks, target_table


def unavailable(samples):
    """Why some values are missing, as the programs say."""
    reasons = {}
    for record in samples.records:
        for name, text in record["values"].items():
            if isinstance(text, str):
                reasons[text] = f"{name.replace('_', ' ')}: {text}"
    return list(reasons.values())


def terminal(result, samples, rows, targets):
    parts = [table.as_text() for table in all_tables(samples, rows)]
    parts.append(target_table(targets).as_text())
    notes = remarks(targets) + unavailable(samples) + warnings(result)
    notes.append(f"{facts(result)}. Ratios: median of those of neighbouring runs ± half of their interquartile range.")
    parts.append("\n".join(textwrap.fill(note, WIDTH, subsequent_indent="  ") for note in notes))
    return "\n\n".join(parts)


def facts(result):
    return f"{result['rounds']} rounds in {result['seconds'] / 60:.1f} minutes, seed {result['seed']}"


def warnings(result):
    found = []
    if result["busy"] > 0.2:
        found.append(f"WARNING: found {result['busy']:.1f} processors busy at the start, expected an idle machine: the spread is large"
                     " and contended rows mean little")
    if result["failures"]:
        found.append(f"WARNING: {len(result['failures'])} measurements failed; they are missing above")
    return found


def results_md(result, samples, rows, targets, charts):
    quick = " --quick" if result["mode"] == "quick" else ""
    machine = {**result["machine"], "busy with other things at the start": f"{result['busy']:.1f} processors", **result["versions"]}
    parts = [
        "# Results of the benchmarks",
        f"Measured on {result['began'][:10]} by `ci/bench{quick}`: {facts(result)}. On: {'; '.join(f'{name}: {text}' for name, text in machine.items())}.",
        "Values are medians. A ratio compares runs made next to each other, in each round anew, so that what slows the machine slows both."
        " The median of these ratios is shown and, after ±, half of their interquartile range. A ratio whose spread is a third of it or"
        " more says nothing certain. A dash means not measured, or that the lock cannot do it. All samples, of every row and lock, stand"
        " in build/bench/results.json.",
        "`heirlock` is `ReentrantLock`, `lockable` the same through `Lockable::locked`. `glibc-robust` and `glibc` are glibc's recursive mutex"
        " with and without robustness, `boost` is `interprocess_recursive_mutex`, `sem` a POSIX semaphore, which does not nest,"
        " `std-recursive` `std::recursive_mutex` in one process, `python-rlock` `multiprocessing.RLock`, `heirlock-python` the package for"
        " Python. All others are recursive and in shared memory. Floors: `floor-cas-exchange` is one compare-exchange and one exchange,"
        " `floor-reentrant` adds an owner that is written and read, `floor-syscall` is the cheapest system call, `floor-switch` a hand-over"
        " by bare futex.",
        "Waiting times are of one acquire in 16, the longest of all. [TUNING.md](TUNING.md) says what was tried, and why some targets are missed.",
        *(f"**{text}**" for text in warnings(result)),
        "## Targets",
        markdown_of(target_table(targets, with_remarks=True)),
        *(["\n".join(f"- {note}" for note in unavailable(samples))] if unavailable(samples) else []),
        "## Charts",
        "\n".join(f"![{chart.title}](charts/{chart.name}.svg)" for chart in charts) or "None: gnuplot was missing.",
        "## Tables",
        *(table.as_markdown() for table in all_tables(samples, rows)),
        "## How to repeat it",
        "On an idle machine, in 15 minutes or 2 with `--quick`, and the time to build. `ci/bench` installs with apt what it needs.\n\n"
        f"```\nci/bench{quick} --seed {result['seed']}    # prints these tables; the measurements in the same order\n"
        f"ci/bench{quick} --publish    # writes this file and its charts anew\n"
        "ci/bench --from build/bench/results.json --publish    # the same from an earlier run\n"
        "ci/bench --check    # fails when a ratio against the peers is worse than in bounds.json by more than noise\n```",
    ]
    return "\n\n".join(parts) + "\n"


def markdown_of(table):
    return table.as_markdown().split("\n\n", 1)[1]
