"""Conversion between mdtraj's trajectories and backmap's atoms and coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from backmap.errors import InputError
from backmap.limits import shown

from .atom_list import AtomList
from .selection.disulfide_records import with_disulfides

if TYPE_CHECKING:
    import mdtraj


def mdtraj_topology(atoms: AtomList) -> mdtraj.Topology:
    """Make an mdtraj topology of listed atoms, with their bonds. Insertion codes are lost."""
    import mdtraj
    from mdtraj.core.element import Element

    result = mdtraj.Topology()
    chains = [result.add_chain(chain_id=name or None) for name in atoms.chain_ids]
    made = []
    for listed in atoms.residues:
        residue = result.add_residue(listed.name, chains[listed.chain], resSeq=listed.number)
        for name, symbol in zip(listed.atom_names, listed.elements, strict=True):
            made.append(result.add_atom(name, Element.getBySymbol(symbol), residue))
    for first, second in atoms.bonds:
        result.add_bond(made[first], made[second])
    return result


def to_mdtraj(
    atoms: AtomList,
    coordinates: np.ndarray,
    time: np.ndarray | None = None,
    box: np.ndarray | None = None,
) -> mdtraj.Trajectory:
    """Make an mdtraj trajectory. Its bonds include disulfides that exist in all frames.

    Parameters
    ----------
    atoms : AtomList
        Atoms to include.
    coordinates : ndarray, (frames, atoms, 3)
        Positions in nm.
    time : ndarray, (frames,), optional
        Time in ps.
    box : ndarray, (frames, 3, 3), optional
        Box vectors in nm.
    """
    import mdtraj

    positions = np.asarray(coordinates, dtype=np.float32)
    atoms = with_disulfides(atoms, positions) if len(positions) else atoms
    trajectory = mdtraj.Trajectory(positions, mdtraj_topology(atoms), time=time)
    trajectory.unitcell_vectors = box
    return trajectory


def require_trajectories(given: Any, name: str) -> list[mdtraj.Trajectory]:
    """Return one or several trajectories as a list; refuse anything else."""
    import mdtraj

    listed = [given] if isinstance(given, mdtraj.Trajectory) else given
    if isinstance(listed, str | bytes) or not isinstance(listed, Sequence):
        raise InputError(f"{name}: {shown(given)} is not an mdtraj.Trajectory or a sequence of them")
    for trajectory in listed:
        if not isinstance(trajectory, mdtraj.Trajectory):
            raise InputError(
                f"{name}: {shown(trajectory)} is not an mdtraj.Trajectory; load files with mdtraj"
            )
    return list(listed)
