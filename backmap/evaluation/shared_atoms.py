"""The atoms that several trajectories of one molecule have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from backmap.chemistry.residues import standard_atom_name, standard_residue_name
from backmap.errors import InputError

if TYPE_CHECKING:
    import mdtraj

AtomKey = tuple[int, str]
"""Index of the residue, and IUPAC name of the atom."""


def residue_names(topology: mdtraj.Topology) -> list[str]:
    """Return the standard name of each residue, or its own name if it is not a standard one."""
    written = [residue.name.strip().upper() for residue in topology.residues]
    return [standard_residue_name(name) or name for name in written]


def atom_keys(topology: mdtraj.Topology) -> list[AtomKey]:
    """Return what identifies each atom, whatever the program that named it."""
    names = residue_names(topology)
    return [
        (atom.residue.index, standard_atom_name(names[atom.residue.index], atom.name))
        for atom in topology.atoms
    ]


def first_places(topology: mdtraj.Topology) -> dict[AtomKey, int]:
    """Return the index of each atom by its key, the first if several have the same."""
    return {key: index for index, key in reversed(list(enumerate(atom_keys(topology))))}


def restrict(
    trajectories: Mapping[str, Sequence[mdtraj.Trajectory]],
) -> dict[str, list[mdtraj.Trajectory]]:
    """Restrict trajectories of the same residues to the atoms that all of them have.

    Parameters
    ----------
    trajectories : dict of str to sequence of mdtraj.Trajectory
        By the name that messages give them; the first is the reference.

    Returns
    -------
    dict of str to list of mdtraj.Trajectory
        In the order of the reference, atoms matched by residue and name: all of them if all trajectories
        have the same, otherwise the heavy atoms that all have.

    Raises
    ------
    InputError
        If residues differ, or no heavy atom is shared.
    """
    each = [(name, trajectory) for name, several in trajectories.items() for trajectory in several]
    first = each[0][1].topology
    for name, trajectory in each[1:]:
        _require_same_residues(first, trajectory.topology, name)
    keys = [atom_keys(trajectory.topology) for _, trajectory in each]
    if all(own == keys[0] for own in keys):
        return {name: list(several) for name, several in trajectories.items()}
    shared = set(keys[0])
    if any(set(own) != shared for own in keys):
        shared = set.intersection(*(_heavy(trajectory.topology) for _, trajectory in each))
    if not shared:
        raise InputError("the sample: shares no heavy atom with the reference; give atoms with IUPAC names")
    order = [key for key in dict.fromkeys(keys[0]) if key in shared]
    place = first_places(first)
    topology = first.subset([place[key] for key in order])
    return {
        name: [_sliced(trajectory, order, topology) for trajectory in several]
        for name, several in trajectories.items()
    }


def _require_same_residues(first: mdtraj.Topology, topology: mdtraj.Topology, name: str) -> None:
    expected, found = residue_names(first), residue_names(topology)
    if len(found) != len(expected):
        raise InputError(
            f"{name}: has {len(found)} residues, but the reference has {len(expected)}; "
            "give the same residues"
        )
    for index, (own, other) in enumerate(zip(expected, found, strict=True)):
        if own != other:
            raise InputError(
                f"{name}: residue {index + 1} is {topology.residue(index)}, but {first.residue(index)} "
                "in the reference; give the same residues"
            )


def _heavy(topology: mdtraj.Topology) -> set[AtomKey]:
    heavy = [atom.element is not None and atom.element.symbol not in ("H", "VS") for atom in topology.atoms]
    return {key for key, counts in zip(atom_keys(topology), heavy, strict=True) if counts}


def _sliced(
    trajectory: mdtraj.Trajectory, order: Sequence[AtomKey], topology: mdtraj.Topology
) -> mdtraj.Trajectory:
    """Return the atoms of these keys in this order, with the topology that they have in the reference."""
    import mdtraj

    place = first_places(trajectory.topology)
    positions = trajectory.xyz[:, [place[key] for key in order]]
    return mdtraj.Trajectory(positions, topology, time=trajectory.time)
