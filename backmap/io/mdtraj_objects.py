"""Between mdtraj's trajectories and backmap's topology and (frames, residues, 15, 3) coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backmap.chemistry import Topology
from backmap.chemistry.residues import ATOM_SLOTS, element

from .reader import source_from_mdtraj
from .structure_records import atom_names

if TYPE_CHECKING:
    import mdtraj


def from_mdtraj(
    trajectory: mdtraj.Trajectory, *, skip_unknown: bool = False
) -> tuple[Topology, np.ndarray, np.ndarray]:
    """Take the protein out of an mdtraj trajectory.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory
        C-alphas alone, or more atoms.
    skip_unknown : bool
        Leave out residues that cannot be built, with a warning.

    Returns
    -------
    topology : Topology
        The residues.
    coordinates : ndarray, (frames, residues, 15, 3) float32
        Positions in nm, NaN where an atom is missing.
    present : ndarray, (residues, 15) bool
        Atoms that the trajectory has.
    """
    source = source_from_mdtraj(trajectory, skip_unknown=skip_unknown)
    coordinates = [chunk.coordinates for chunk in source.chunks(max(1, source.frames))]
    return source.topology, np.concatenate(coordinates), source.present


def mdtraj_topology(topology: Topology, present: np.ndarray) -> mdtraj.Topology:
    """Make an mdtraj topology of the present atoms, with its bonds. Insertion codes have no place in it.

    Parameters
    ----------
    topology : Topology
        The residues.
    present : ndarray, (residues, 15) bool
        Atoms to include.
    """
    import mdtraj
    from mdtraj.core.element import Element

    result = mdtraj.Topology()
    chains = [result.add_chain(chain_id=name or None) for name in topology.chain_ids]
    atoms = {}
    for index in range(topology.residues):
        name = topology.residue_name(index)
        chain = chains[topology.chain_index[index]]
        residue = result.add_residue(name, chain, resSeq=int(topology.residue_numbers[index]))
        names = atom_names(name)
        for slot in np.flatnonzero(present[index]):
            symbol = Element.getBySymbol(element(names[slot]))
            atoms[index * ATOM_SLOTS + slot] = result.add_atom(names[slot], symbol, residue)
    for first, second in topology.bonds():
        if first in atoms and second in atoms:
            result.add_bond(atoms[first], atoms[second])
    return result


def to_mdtraj(
    topology: Topology,
    present: np.ndarray,
    coordinates: np.ndarray,
    time: np.ndarray | None = None,
    unitcell_vectors: np.ndarray | None = None,
) -> mdtraj.Trajectory:
    """Make an mdtraj trajectory.

    Parameters
    ----------
    topology : Topology
        The residues.
    present : ndarray, (residues, 15) bool
        Atoms to include.
    coordinates : ndarray, (frames, residues, 15, 3)
        Positions in nm.
    time : ndarray, (frames,), optional
        Time in ps.
    unitcell_vectors : ndarray, (frames, 3, 3), optional
        Box vectors in nm.
    """
    import mdtraj

    trajectory = mdtraj.Trajectory(
        np.asarray(coordinates[:, present], dtype=np.float32), mdtraj_topology(topology, present), time=time
    )
    trajectory.unitcell_vectors = unitcell_vectors
    return trajectory
