"""What the tables of costs say of each step's memory and disk, beside what the steps took: from runs that are there.

Reads ``usage.jsonl`` of runs folders. A row is a kind of step at one size; of several attempts the largest counts.
Exits with 1 if a table is below what was taken by more than 10 %, or above it by more than a factor.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter

from topsar.schedule.forecast import USAGE, Usage
from topsar.schedule.lines import read_lines

_BELOW = 0.9


def group_usages(folders: Iterable[Path]) -> dict[tuple[str, float], list[Usage]]:
    """What whole attempts took, by kind and size of the step."""
    found: dict[tuple[str, float], list[Usage]] = defaultdict(list)
    for folder in folders:
        for path in sorted(folder.rglob(USAGE)):
            for usage in read_lines(path, TypeAdapter(Usage)):
                if usage.is_complete:
                    found[usage.kind, usage.size].append(usage)
    return found


def main() -> None:
    """Print the table, the widest of the mark first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folders with runs, at any depth")
    parser.add_argument("--above", type=float, default=1.3, help="how many times too much a table may say [1.3]")
    args = parser.parse_args()
    rows = []
    for (kind, size), usages in group_usages(args.folders).items():
        table, taken = usages[-1].table, max(usage.peak_memory_bytes for usage in usages)
        written = max(usage.written_bytes for usage in usages)
        ratio = table.memory_bytes / max(1, taken)
        rows.append((ratio, kind, size, len(usages), table.memory_bytes, taken, table.disk_bytes, written))
    print(
        f"{'step':<34} {'size':>12} {'n':>4} {'table MB':>9} {'took MB':>8} {'ratio':>6} {'disk MB':>8} {'wrote MB':>8}"
    )
    for ratio, kind, size, count, table, taken, disk, written in sorted(rows):
        mark = "" if _BELOW <= ratio <= args.above else "  <-- too low" if ratio < _BELOW else "  <-- too high"
        numbers = f"{table / 1e6:>9.0f} {taken / 1e6:>8.0f} {ratio:>6.2f} {disk / 1e6:>8.1f} {written / 1e6:>8.1f}"
        print(f"{kind[-34:]:<34} {size:>12.4g} {count:>4} {numbers}{mark}")
    sys.exit(any(not _BELOW <= row[0] <= args.above for row in rows))


if __name__ == "__main__":
    main()
