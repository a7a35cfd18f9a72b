"""A trajectory of any molecule, read whole with all its atoms."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from backmap.errors import InputEndsEarly, InputError

from .naming import INPUT_SUFFIXES, STRUCTURE_SUFFIXES, TOPOLOGY_SUFFIXES, require_suffix
from .reader import require_file
from .structure_file import joined_frames
from .trajectory_file import TopologyFile, explain_reading, open_trajectory

if TYPE_CHECKING:
    import mdtraj

FRAMES_PER_READ = 10_000

AKMA_PS = 0.04888821
"""CHARMM's unit of time."""

TIMED_SUFFIXES = (".xtc", ".trr", ".h5", ".hdf5", ".nc", ".netcdf", ".ncdf")
"""Formats that hold the time of each frame in ps."""


def load_trajectory(path: str | Path, top: str | Path | None = None) -> mdtraj.Trajectory:
    """Read a whole trajectory with all its atoms, whatever the molecule.

    Parameters
    ----------
    path : path
        Any structure or trajectory mdtraj reads.
    top : path, optional
        Topology, for files that hold coordinates alone.

    Returns
    -------
    mdtraj.Trajectory

    Raises
    ------
    InputError
        If the file cannot be used, saying why and what to do.
    """
    import mdtraj

    path = require_file(path)
    suffix = require_suffix(path, INPUT_SUFFIXES, "input")
    if suffix in STRUCTURE_SUFFIXES:
        with explain_reading(path):
            return mdtraj.load(str(path))
    if top is None and suffix not in TOPOLOGY_SUFFIXES:
        raise InputError(
            f"{path}: holds coordinates but no atom names; give its topology (a PDB file, say) with --top"
        )
    names = path if top is None else require_file(top)
    require_suffix(names, TOPOLOGY_SUFFIXES, "topology")
    topology = TopologyFile(names).topology
    file = open_trajectory(path, topology.n_atoms)
    if file.atoms != topology.n_atoms:
        raise InputError(
            f"{path}: has {file.atoms} atoms, but its topology {names} has {topology.n_atoms}; "
            "give the topology it was written with"
        )
    if not file.frames:
        raise InputError(f"{path}: holds no frames")
    if file.ends_early:
        raise InputEndsEarly(f"{path}: ends in the middle of frame {file.frames + 1}; copy it again")
    read = joined_frames(list(file.read(range(file.frames), FRAMES_PER_READ)))
    return mdtraj.Trajectory(read.coordinates, topology, time=read.time)


def holds_times(path: str | Path) -> bool:
    """Tell whether a file says when its frames were taken."""
    return Path(path).suffix.lower() in TIMED_SUFFIXES


def header_interval(path: str | Path) -> float | None:
    """Time in ps between the frames of a DCD file by its header, if it says.

    CHARMM's layout (OpenMM and NAMD write it): the steps between frames, and the length of a step in units
    of 48.888 fs. Other formats and X-PLOR's layout give None, and so do files whose writer knew no time and
    put 1 for both.
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
