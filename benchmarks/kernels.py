"""Run the benchmarks of all kernels and write one table of them.

Run from anywhere::

    python benchmarks/kernels.py --threads 1 2

Each ``bench_*.py`` runs in a process of its own. What they measure goes to ``results/<machine>.json``, begun
anew, and the table made of it to ``results/<machine>.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from compare import results_path

FOLDER = Path(__file__).parent
COLUMNS = ["case", "implementation", "a second", "ms", "times as long", "of the roofline"]


def run(device: str, threads: list[int], seconds: float) -> list[str]:
    """Run all benchmarks; give the names of those that failed."""
    options = ["--device", device, "--seconds", str(seconds), "--save", "--threads", *map(str, threads)]
    failed = []
    for script in sorted(FOLDER.glob("bench_*.py")):
        print(f"\n==== {script.stem} ====", flush=True)
        if subprocess.run([sys.executable, script, *options], check=False).returncode != 0:
            failed.append(script.stem)
    return failed


def forget(path: Path) -> None:
    """Take out what earlier runs measured."""
    if path.exists():
        results = json.loads(path.read_text())
        results.pop("benchmarks", None)
        path.write_text(json.dumps(results, indent=1) + "\n")


def markdown(results: dict) -> str:
    """A table for each benchmark: a row for each implementation of each case."""
    lines = [f"torch {results.get('torch', '-')}"]
    for benchmark, cases in results.get("benchmarks", {}).items():
        lines += ["", f"## {benchmark}", ""]
        lines += [
            "| case | implementation | a second | ms | times as long | of the roofline |",
            "|" + " --- |" * 6,
        ]
        for title, case in cases.items():
            lines += _rows(title, case)
    return "\n".join(lines) + "\n"


def _rows(title: str, case: dict) -> list[str]:
    first, bound = case["timings"][0], case["roofline"]
    rows = []
    for timing in case["timings"]:
        seconds = timing["seconds"]
        share = f"{bound['seconds'] / seconds:.0%} ({bound['limit']})" if bound else "-"
        cells = [
            title if timing is first else "",
            timing["name"],
            f"{timing['items'] / seconds:.3g} {case['unit']}",
            f"{seconds * 1e3:.3g}",
            f"{seconds / first['seconds']:.3g}",
            share,
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def main() -> int:
    """Run the benchmarks and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads (default 1 2)")
    parser.add_argument("--seconds", type=float, default=1.0, help="time to spend on each measurement")
    options = parser.parse_args()
    path = results_path(options.device)
    forget(path)
    failed = run(options.device, options.threads, options.seconds)
    if path.exists():
        table = markdown(json.loads(path.read_text()))
        path.with_suffix(".md").write_text(table)
        print(f"\n{table}")
    for name in failed:
        print(f"failed: {name}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
