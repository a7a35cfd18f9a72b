"""Wording of numbers, frames and files in messages about a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_FRAMES_NAMED = 10


def named(paths: Sequence[Path]) -> str:
    """Name outputs by the first and the last."""
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} ... {paths[-1].name}"


def nothing_left(paths: Sequence[Path]) -> str:
    """Summarise a run that was finished before."""
    return f"the run is finished, nothing is left to do -> {named(paths)}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Format a count with its noun: ``1 frame``, ``2 frames``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def numbered(frames: Sequence[int]) -> str:
    """List bad frames by number: ``2 bad frames (7, 19)``."""
    named = ", ".join(map(str, frames[:_FRAMES_NAMED]))
    return f"{counted(len(frames), 'bad frame')} ({named}{' ...' if len(frames) > _FRAMES_NAMED else ''})"


def rounded(number: float) -> str:
    """Format a speed with two significant digits: ``6 700``."""
    digits = max(0, len(str(int(number))) - 2)
    return f"{int(round(number, -digits)):,}".replace(",", " ")
