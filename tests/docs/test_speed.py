"""The measured speed in the documentation is that of the measurements beside it."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_tables_of_speed_are_up_to_date():
    pages = runpy.run_path(str(DOCS / "write_speed.py"))["written_pages"]()
    for path, written in pages.items():
        assert path.read_text(encoding="utf-8") == written, "run python docs/write_speed.py"
