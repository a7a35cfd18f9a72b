"""Bond lengths, angles and torsions outwards from the beads, and the way back."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor, nn

from backmap.chemistry import LinearMapping, Molecule

_MIN_SQUARE = 1e-12


class InternalValues(NamedTuple):
    """Internal coordinates of the atoms that are no beads, (batch, placed) each.

    Attributes
    ----------
    length : Tensor
        Distance from the parent, nm.
    angle : Tensor
        At the parent, between the atom and the second reference atom, radians in [0, pi].
    torsion : Tensor
        Third, second, parent, atom, by the sign of IUPAC, radians in [-pi, pi].
    """

    length: Tensor
    angle: Tensor
    torsion: Tensor


def reference_atoms(molecule: Molecule, mapping: LinearMapping) -> list[tuple[int, int, int, int]]:
    """Find the order in which atoms are placed, each with the three placed atoms it is measured from.

    Atoms are placed outwards along bonds from the beads. The first reference atom is the bonded one (the
    parent); the other two are the placed atoms fewest bonds away from it, beads before others, earlier placed
    before later. So the second hydrogen of a methyl group is measured from the first, and its torsion varies
    little.

    Returns
    -------
    list of (atom, parent, second, third)

    Raises
    ------
    ValueError
        If a bead is not one atom, there are fewer than three, or an atom is not connected with any bead.
    """
    beads = mapping.bead_atoms
    if beads is None:
        raise ValueError("internal coordinates need beads that are single atoms; use voxels for this mapping")
    if len(set(beads)) < 3:
        raise ValueError(
            f"internal coordinates need at least 3 beads on different atoms, got {len(set(beads))}"
        )
    placed, rows = list(beads), []
    while len(placed) < molecule.atoms:
        row = _next_row(molecule, placed, len(beads))
        if row is None:
            lost = next(atom for atom in range(molecule.atoms) if atom not in placed)
            raise ValueError(
                f"{molecule.describe(lost)} is not connected with any bead by bonds; internal coordinates "
                "cannot place it, use voxels"
            )
        rows.append(row)
        placed.append(row[0])
    return rows


def _next_row(molecule: Molecule, placed: list[int], beads: int) -> tuple[int, int, int, int] | None:
    """The first atom, in order of placement of its parent, that is bonded to a placed one."""
    for parent in placed:
        for atom in molecule.bonded[parent]:
            if atom not in placed:
                away = molecule.bond_distances(parent)
                far = molecule.atoms
                others = sorted(
                    (away[other] if away[other] >= 0 else far, order >= beads, order, other)
                    for order, other in enumerate(placed)
                    if other != parent
                )
                return atom, parent, others[0][-1], others[1][-1]
    return None


class InternalCoordinates(nn.Module):
    """Measures the internal coordinates of a molecule and places its atoms from them.

    Parameters
    ----------
    molecule : Molecule
        Atoms and bonds.
    mapping : LinearMapping
        Beads, each a single atom.
    """

    def __init__(self, molecule: Molecule, mapping: LinearMapping) -> None:
        super().__init__()
        bead_atoms = list(mapping.bead_atoms or ())
        rows, waves = _in_waves(reference_atoms(molecule, mapping), bead_atoms)
        order = bead_atoms + [atom for atom, *_ in rows]
        self.placed = len(rows)
        self.register_buffer("atoms", torch.tensor(rows, dtype=torch.int64).T.contiguous(), persistent=False)
        self.register_buffer("final_order", torch.tensor(order).argsort(), persistent=False)
        where = {atom: position for position, atom in enumerate(order)}
        self.waves = [(*([where[row[k]] for row in rows[part]] for k in (1, 2, 3)), part) for part in waves]

    def measure(self, frames: Tensor) -> InternalValues:
        """Internal coordinates of frames (batch, atoms, 3) in nm."""
        atom, parent, second, third = (frames.index_select(1, index) for index in self.atoms)
        bond, axis = atom - parent, second - parent
        length = _norm(bond)
        normal = torch.linalg.cross(axis, bond)
        angle = torch.atan2(_norm(normal), (bond * axis).sum(-1))
        to_third = third - second
        other = torch.linalg.cross(axis, to_third)
        torsion = torch.atan2(
            (torch.linalg.cross(normal, other) * axis).sum(-1) / _norm(axis), (normal * other).sum(-1)
        )
        return InternalValues(length, angle, torsion)

    def place(self, beads: Tensor, values: InternalValues) -> Tensor:
        """Frames (batch, atoms, 3) of beads (batch, beads, 3) and internal coordinates, in nm."""
        axial = values.length * torch.cos(values.angle)
        radial = values.length * torch.sin(values.angle)
        local = torch.stack(
            [axial, radial * torch.cos(values.torsion), radial * torch.sin(values.torsion)], dim=-1
        )
        positions = beads
        for parent, second, third, rows in self.waves:
            origin = positions[:, parent]
            axis = _unit(positions[:, second] - origin)
            normal = _unit(torch.linalg.cross(axis, positions[:, third] - positions[:, second]))
            sideways = torch.linalg.cross(normal, axis)
            along, across, up = local[:, rows].unsqueeze(-1).unbind(2)
            positions = torch.cat([positions, origin + along * axis + across * sideways - up * normal], dim=1)
        return positions.index_select(1, self.final_order)


def _in_waves(
    rows: list[tuple[int, int, int, int]], beads: list[int]
) -> tuple[list[tuple[int, int, int, int]], list[slice]]:
    """Sort atoms into waves, each placed at once because its reference atoms stand when its turn comes."""
    wave = dict.fromkeys(beads, 0)
    for atom, *references in rows:
        wave[atom] = 1 + max(wave[reference] for reference in references)
    ordered = sorted(rows, key=lambda row: wave[row[0]])
    waves, first = [], 0
    for _, members in groupby(ordered, key=lambda row: wave[row[0]]):
        waves.append(slice(first, first + len(list(members))))
        first = waves[-1].stop
    return ordered, waves


def _norm(vectors: Tensor) -> Tensor:
    """Lengths, with a gradient where they vanish."""
    return vectors.square().sum(dim=-1).clamp(min=_MIN_SQUARE).sqrt()


def _unit(vectors: Tensor) -> Tensor:
    return vectors / _norm(vectors).unsqueeze(-1)
