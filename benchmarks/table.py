"""One table and one picture: peers, limits and us, measured in turns.

Every row is a ratio of two things that ran alternately on this machine: the median of its pairs,
and the lowest and the highest. Peers have virtual environments of their own (`make peers`); a row
whose peer is not installed says so.

    python -m benchmarks.table [--quick] [--rows cheetah-64,update] [--pairs 8]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.groups import GROUPS
from benchmarks.machine import Load, described
from benchmarks.rows import ROWS, Measured, Outcome, Row, Unmeasured, chosen, outcomes

PAIRS = 8


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", help="names, or what names begin with, between commas")
    parser.add_argument("--pairs", type=int, help=f"of each row; {PAIRS} if not said")
    parser.add_argument("--quick", action="store_true", help="under five minutes: fewer pairs")
    parser.add_argument("--list", action="store_true", help="print the rows, measure nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every pair there")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the table there")
    arguments = parser.parse_args()
    try:
        rows = chosen(ROWS, arguments.rows.split(",") if arguments.rows else [""])
    except ValueError as error:
        parser.error(str(error))
    pairs = planned(rows, quick=arguments.quick, pairs=arguments.pairs)
    if arguments.list:
        for row in rows:
            print(f"{row.name}: {row.what}")
        return
    minutes = sum(GROUPS[name].start_s + n * GROUPS[name].pair_s for name, n in pairs.items()) / 60
    print(f"{described()}; about {minutes:.0f} minutes if nothing else runs", flush=True)
    before = Load.now()
    begun = time.monotonic()
    came = measure(rows, pairs)
    load = {"before": before, "after": Load.now()}
    print(f"\n{as_markdown(came)}\n")
    for when, each in load.items():
        print(f"{when}: {each}{'' if each.is_quiet else ' (NOT QUIET: absolute rates are low)'}")
    print(f"took {(time.monotonic() - begun) / 60:.1f} minutes")
    if arguments.json:
        arguments.json.write_text(as_json(came, load))
    if arguments.picture:
        from benchmarks.picture import draw

        draw(came, arguments.picture)
    sys.exit(any(isinstance(each, Unmeasured) and each.failed for each in came))


def planned(rows: Sequence[Row], *, quick: bool, pairs: int | None) -> Mapping[str, int]:
    """{group of these rows: its pairs}; 0 for those that are too long for `quick`."""
    groups = dict.fromkeys(row.group for row in rows)
    if quick:
        chosen_pairs = {name: GROUPS[name].quick_pairs for name in groups}
        return {name: min(n, pairs or n) for name, n in chosen_pairs.items()}
    return dict.fromkeys(groups, pairs or PAIRS)


def measure(rows: Sequence[Row], pairs: Mapping[str, int]) -> Sequence[Outcome]:
    """What came of each row, in the order of `rows`."""
    came: list[Outcome] = []
    for name, count in pairs.items():
        mine = [row for row in rows if row.group == name]
        if not count:
            came += [Unmeasured(row, "takes too long for --quick") for row in mine]
            continue
        begun = time.monotonic()
        asked = {side for row in mine for side in (row.ours, row.peer)}
        try:
            values, absent = GROUPS[name].measure(asked, count)
            came += outcomes(mine, values, absent)
        except RuntimeError as error:
            print(f"{name} failed: {error}", file=sys.stderr, flush=True)
            why = f"failed: {str(error).splitlines()[0]}"
            came += [Unmeasured(row, why, failed=True) for row in mine]
            continue
        told = ", ".join(
            f"{side} {statistics.median(each):,.0f}" for side, each in values.items() if each
        )
        print(f"{name}: {told} ({time.monotonic() - begun:.0f} s)", flush=True)
    return came


def as_markdown(came: Sequence[Outcome]) -> str:
    """The table."""
    lines = [
        "| row | ours | peer | unit | ratio | spread | pairs | wanted | aim | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for outcome in came:
        row = outcome.row
        bars = f"{bar(row, row.wanted)} | {bar(row, row.aim)}"
        if isinstance(outcome, Unmeasured):
            lines.append(f"| {row.what} | | | | | | | {bars} | {outcome.why} |")
            continue
        low, high = min(outcome.ratios), max(outcome.ratios)
        ours, peer = (statistics.median(each) for each in (outcome.ours, outcome.peer))
        lines.append(
            f"| {row.what} | {ours:,.0f} | {peer:,.0f} | {row.unit} | **{outcome.ratio:.2f}** | "
            f"{low:.2f} to {high:.2f} | {len(outcome.ours)} | {bars} | {outcome.verdict} |"
        )
    return "\n".join(lines)


def bar(row: Row, value: float | None) -> str:
    """A ratio that is wanted, in a cell."""
    if value is None:
        return ""
    return f"at most {value:g}" if row.less_is_better else f"{value:g}"


def as_json(came: Sequence[Outcome], load: Mapping[str, Load]) -> str:
    """Every pair, for a program to read."""
    rows = [
        {
            **asdict(outcome),
            **(
                {"ratio": outcome.ratio, "verdict": outcome.verdict}
                if isinstance(outcome, Measured)
                else {}
            ),
        }
        for outcome in came
    ]
    content = {
        "machine": described(),
        "load": {when: asdict(each) for when, each in load.items()},
        "rows": rows,
    }
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    main()
