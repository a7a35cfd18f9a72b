"""What files of bead mappings have in common, for proteins and for nucleic acids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backmap.errors import InputError
from backmap.limits import shown

WEIGHTS = ("mass", "equal")
"""How the atoms of a bead may be weighed."""

_LARGEST_FILE = 1_000_000
"""Bytes."""

_KINDS: dict[type, str] = {str: "text", list: "a list", dict: "a table"}


def read_mapping_file(path: Path) -> str:
    """Return the text of a mapping's file.

    Raises
    ------
    InputError
        If the file is too large for a mapping.
    OSError, ValueError
        If it cannot be read.
    """
    if path.stat().st_size > _LARGEST_FILE:
        raise InputError(f"{path} is too large for a bead mapping")
    return path.read_text(encoding="utf-8")


def unreadable(path: Path, error: Exception) -> InputError:
    """Return the error for a file that cannot be read or parsed."""
    return InputError(f"{path} cannot be read as a bead mapping: {error}")


def check_entries(table: Mapping[str, Any], known: Mapping[str, type]) -> str:
    """Check the entries of a mapping's table and return how atoms are weighed.

    Raises
    ------
    ValueError
        If an entry is not among those known or has another type, or the weights are of no known kind.
    """
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"unknown entry {shown(key)}; a mapping has {', '.join(known)}")
        if not isinstance(value, known[key]):
            raise ValueError(f"{key} is {shown(value)}; it must be {_KINDS[known[key]]}")
    weights: str = table.get("weights", "mass")
    if weights not in WEIGHTS:
        raise ValueError(f"weights is {shown(weights)}; it must be mass or equal")
    return weights
