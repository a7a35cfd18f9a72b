"""The table of options in the documentation is that of the code."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_of_options_is_up_to_date():
    written = runpy.run_path(str(DOCS / "write_options.py"))["table_of_options"]()
    assert (DOCS / "options.md").read_text(encoding="utf-8") == written, "run python docs/write_options.py"
