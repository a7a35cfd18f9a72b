"""Times of the frames of a trajectory, as far as its format stores them."""

from __future__ import annotations

import math
import struct
from pathlib import Path

AKMA_PS = 0.04888821
"""CHARMM's unit of time."""

TIMED_SUFFIXES = (".xtc", ".trr", ".h5", ".hdf5", ".nc", ".netcdf", ".ncdf")
"""Formats that store the time of each frame in ps."""


def holds_times(path: str | Path) -> bool:
    """Return whether the format of a file stores the times of its frames."""
    return Path(path).suffix.lower() in TIMED_SUFFIXES


def header_interval(path: str | Path) -> float | None:
    """Return the time in ps between the frames of a DCD file, if its header gives it.

    In CHARMM's layout (also written by OpenMM and NAMD), the header has the steps between frames, and the
    length of a step in units of 48.888 fs. The result is None for other formats and X-PLOR's layout, and for
    files whose writer knew no time and put 1 for both.
    """
    if Path(path).suffix.lower() != ".dcd":
        return None
    with open(path, "rb") as file:
        header = file.read(88)
    for order in "<>":
        if len(header) == 88 and header[:8] == struct.pack(f"{order}i4s", 84, b"CORD"):
            (steps,) = struct.unpack_from(f"{order}i", header, 16)
            (step,) = struct.unpack_from(f"{order}f", header, 44)
            (charmm,) = struct.unpack_from(f"{order}i", header, 84)
            sound = charmm and steps > 0 and 0 < step < math.inf
            return steps * step * AKMA_PS if sound and (steps, step) != (1, 1.0) else None
    return None
