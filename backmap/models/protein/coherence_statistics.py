"""How long torsions of proteins remember, as measured in simulations."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path

from backmap.errors import InputError

RESOURCE = Path(__file__).with_name("coherence.json")

REFERENCE_KELVIN = 300.0
"""Temperature of the simulations."""


@functools.cache
def coherence_statistics() -> dict:
    """Read the result of ``backmap train coherence``; rates in 1/ps, times in ps, energies in kJ/mol."""
    return json.loads(RESOURCE.read_text())


def read_coherence(path: str | Path) -> dict:
    """Read a file that ``backmap train coherence`` wrote, in the form of :func:`coherence_statistics`.

    Raises
    ------
    InputError
        If it cannot be read, or is not of that form.
    """
    remedy = "give a file coherence.json of `backmap train coherence`"
    try:
        found = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: is not a JSON file; {remedy}") from None
    for group, entries in coherence_statistics().items():
        if group == "simulations":
            continue
        table = found.get(group) if isinstance(found, dict) else None
        for name, usual in entries.items():
            value = table.get(name) if isinstance(table, dict) else None
            if not _is_like(value, usual):
                raise InputError(f"{path}: has no valid {name!r} of {group!r}; {remedy}")
    return found


def _is_like(value: object, usual: float | list) -> bool:
    """Return whether a value is a finite number, or a list of them, as the usual one."""
    if isinstance(usual, list):
        if not isinstance(value, list) or len(value) != len(usual):
            return False
        return all(_is_like(*pair) for pair in zip(value, usual, strict=True))
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
