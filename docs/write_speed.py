"""Write the measured speed of whole commands, and of large systems, into docs/results.md and README.md.

Run from the repository root, after ``python benchmarks/speed.py --json benchmarks/results/speed.json`` or
``python benchmarks/large_systems.py --json benchmarks/results/large_systems.json``::

    python docs/write_speed.py
"""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "benchmarks" / "results"
BEGIN = "<!-- written by docs/write_speed.py from {}.json -->"
END = "<!-- end of what docs/write_speed.py writes -->"
ROW = "| 200 frames of 183 residues, file to file, one thread, residues/s of CPU time |"


def written_pages() -> dict[Path, str]:
    """Return the pages with the figures of the last measurements."""
    speed, large = _benchmark("speed"), _benchmark("large_systems")
    results = json.loads((MEASURED / "speed.json").read_text(encoding="utf-8"))
    own, pulchra = (f"{round(rate, -2):,.0f}".replace(",", " ") for rate in speed["rates"](results).values())
    rows = large["read_rows"](MEASURED / "large_systems.json")
    replacements = [
        ("docs/results.md", *_between("speed", speed["table"](results))),
        ("docs/results.md", *_between("large_systems", large["table"](rows))),
        ("README.md", re.escape(ROW) + "[^\n]*", f"{ROW} {own} | - | {pulchra} | - |"),
    ]
    pages: dict[Path, str] = {}
    for name, place, text in replacements:
        page = pages.get(ROOT / name) or (ROOT / name).read_text(encoding="utf-8")
        pages[ROOT / name], number = re.subn(place, lambda _, text=text: text, page, flags=re.DOTALL)
        if number != 1:
            raise SystemExit(f"{name}: found {number} places for {text[:60]}...; there must be one")
    return pages


def _benchmark(name: str) -> dict[str, Any]:
    """Run the definitions of a benchmark, which may import others."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        return runpy.run_path(f"{folder}/{name}.py")
    finally:
        sys.path.remove(folder)


def _between(measured: str, table: str) -> tuple[str, str]:
    """Return a pattern of the marks of a measurement with what is between them, and the new text."""
    begin = BEGIN.format(measured)
    return re.escape(begin) + ".*?" + re.escape(END), f"{begin}\n\n{table}\n\n{END}"


if __name__ == "__main__":
    for path, text in written_pages().items():
        path.write_text(text, encoding="utf-8")
