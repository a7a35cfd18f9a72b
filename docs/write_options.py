"""Write the table of all options of a run, docs/options.md, from their declarations.

Run from the repository root: ``python docs/write_options.py``
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backmap.cli.options import option_of
from backmap.cli.reconstruct import GROUPS, options_in_order
from backmap.limits import Flag
from backmap.options import Option, defaults_of, options_of
from backmap.runs.request import Building, Request
from backmap.runs.simulation_request import Simulation

PAGE = Path(__file__).with_name("options.md")
HEAD = """# Options of a run

Every option of `backmap reconstruct`, which `backmap.reconstruct_files` takes as a keyword of the same name.
Those with a mark under *memory* are keywords of `backmap.reconstruct` and `backmap.reconstruct_stream` too.
`--resume` continues a run only if everything that decides its atoms is the same: the options with a mark
under *decides*, and the contents of all files.
"""
SIMULATION_HEAD = """
## Options of `backmap simulate`

`backmap.simulate` takes them as keywords of the same names.
"""
SIMULATION_COLUMNS = "option", "effect", "values", "default", "decides"
COLUMNS = "option", "effect", "models", "values", "default", "decides", "memory"


def table_of_options() -> str:
    """Give the page."""
    parts = [HEAD]
    for group, title in GROUPS.items():
        rows = [_row(name, known) for name, known in options_in_order().items() if known.group == group]
        heading = "\n## " + title[0].upper() + title[1:] + "\n"
        parts.append("\n".join([heading, _cells(COLUMNS), "| --- " * len(COLUMNS) + "|", *rows, ""]))
    return "".join([*parts, _table_of_simulations()])


def _table_of_simulations() -> str:
    rows = []
    for name, known in options_of(Simulation).items():
        spelled = f"`{option_of(name)}`" if name != "force_field" else "`FORCE_FIELD`"
        values = "" if isinstance(known.values, Flag) else str(known.values)
        default = _default(Simulation, name, known)
        rows.append(_cells((spelled, known.help, values, default, _mark(known.decides))))
    ruler = "| --- " * len(SIMULATION_COLUMNS) + "|"
    return "\n".join([SIMULATION_HEAD, _cells(SIMULATION_COLUMNS), ruler, *rows, ""])


def _row(name: str, known: Option) -> str:
    spelled = f"`{option_of(name)}`" if name != "input" else "`INPUT`"
    values = "" if isinstance(known.values, Flag) else str(known.values)
    marks = _mark(known.decides), _mark(name in options_of(Building))
    cells = (
        spelled,
        known.help,
        ", ".join(known.families) or "all",
        values,
        _default(Request, name, known),
        *marks,
    )
    return _cells(cells)


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _mark(is_so: bool) -> str:
    return "✓" if is_so else ""


def _default(kind: type, name: str, known: Option) -> str:
    default: Any = defaults_of(kind).get(name)
    if known.unset:
        return known.unset
    return "" if default is None or isinstance(known.values, Flag) else str(default)


if __name__ == "__main__":
    PAGE.write_text(table_of_options(), encoding="utf-8")
