"""Write the measured speed of whole commands into docs/results.md and README.md.

Run from the repository root, after ``python benchmarks/speed.py --json benchmarks/results/speed.json``::

    python docs/write_speed.py
"""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "benchmarks" / "results" / "speed.json"
BEGIN, END = "<!-- written by docs/write_speed.py -->", "<!-- end of what docs/write_speed.py writes -->"
ROW = "| 200 frames of 183 residues, file to file, one thread, residues/s of CPU time |"


def written_pages() -> dict[Path, str]:
    """Return the pages with the figures of the last measurement."""
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "speed.py"))
    results = json.loads(MEASURED.read_text(encoding="utf-8"))
    own, pulchra = (
        f"{round(rate, -2):,.0f}".replace(",", " ") for rate in benchmark["rates"](results).values()
    )
    table = f"{BEGIN}\n\n{benchmark['table'](results)}\n\n{END}"
    row = f"{ROW} {own} | - | {pulchra} | - |"
    replacements = {
        "docs/results.md": (re.escape(BEGIN) + ".*?" + re.escape(END), table),
        "README.md": (re.escape(ROW) + "[^\n]*", row),
    }
    pages = {}
    for name, (place, text) in replacements.items():
        page = (ROOT / name).read_text(encoding="utf-8")
        pages[ROOT / name], number = re.subn(place, lambda _, text=text: text, page, flags=re.DOTALL)
        if number != 1:
            raise SystemExit(f"{name}: found {number} places for the measured speed; there must be one")
    return pages


if __name__ == "__main__":
    for path, text in written_pages().items():
        path.write_text(text, encoding="utf-8")
