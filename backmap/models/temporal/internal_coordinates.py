"""Bond lengths, angles and torsions outwards from the beads, and the inverse."""

from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor, nn

from backmap.chemistry import LinearMapping, Molecule


class InternalValues(NamedTuple):
    """Internal coordinates of the atoms that are not beads, (batch, placed) each.

    Attributes
    ----------
    length : Tensor
        Distance from the parent in nm.
    angle : Tensor
        Angle at the parent between the atom and the second reference atom, radians in [0, pi]. For an atom
        that closes (see :class:`PlacementRow`), this is its distance from the second reference atom in nm.
    torsion : Tensor
        Torsion third-second-parent-atom by the IUPAC convention, radians in [-pi, pi].
    """

    length: Tensor
    angle: Tensor
    torsion: Tensor


class PlacementRow(NamedTuple):
    """An atom and the three placed atoms that define its internal coordinates.

    Attributes
    ----------
    atom, parent : int
        The atom, and the placed atom it is bonded to.
    second, third : int
        Two further placed atoms.
    closes : bool
        Whether the atom is also bonded to the second. Both bonds then have their length regardless of what
        was placed before, which closes a ring or a chain between two beads.
    """

    atom: int
    parent: int
    second: int
    third: int
    closes: bool


def placement_rows(molecule: Molecule, mapping: LinearMapping) -> list[PlacementRow]:
    """Find the order in which atoms are placed, and the reference atoms of each.

    Atoms are placed outwards along bonds from the beads. Atoms bonded to two placed ones, which close, come
    first. Next are atoms with a single atom between them and a placed one: they are measured from the placed
    one, so that the atom in between can reach both. (In a peptide whose beads are C-alphas, C is measured
    from its own C-alpha and the next one, and then N closes.) All others follow. The remaining reference
    atoms are the placed ones the fewest bonds away from the parent, beads before others and earlier placed
    ones before later ones. The second hydrogen of a methyl group is thus measured from the first, and its
    torsion varies little.

    Raises
    ------
    ValueError
        If a bead is not a single atom, there are fewer than three, or an atom is not connected to any bead.
    """
    beads = mapping.bead_atoms
    if beads is None:
        raise ValueError("internal coordinates need beads that are single atoms; use voxels for this mapping")
    if len(set(beads)) < 3:
        raise ValueError(
            f"internal coordinates need at least 3 beads on different atoms, got {len(set(beads))}"
        )
    placed, rows = list(beads), []
    while len(placed) < molecule.n_atoms:
        row = _next_row(molecule, placed, len(beads))
        if row is None:
            lost = next(atom for atom in range(molecule.n_atoms) if atom not in placed)
            raise ValueError(
                f"{molecule.describe(lost)} is not connected to any bead by bonds, and internal coordinates "
                "cannot place it; use voxels"
            )
        rows.append(row)
        placed.append(row.atom)
    return rows


def _next_row(molecule: Molecule, placed: list[int], beads: int) -> PlacementRow | None:
    """Return the next atom: one that closes, one beside a gap, or any other, in order of their parents."""
    order = {atom: position for position, atom in enumerate(placed)}
    reachable = [(atom, parent) for parent in placed for atom in molecule.bonded[parent] if atom not in order]
    beside_gap = None
    for atom, parent in reachable:
        others = [other for other in molecule.bonded[atom] if other in order and other != parent]
        if others:
            parent, second = sorted((parent, *others), key=order.__getitem__, reverse=True)[:2]
            return PlacementRow(atom, parent, *_references(molecule, order, beads, parent, (second,)), True)
        far_side = _across_gap(molecule, order, atom, parent)
        if beside_gap is None and far_side is not None:
            references = _references(molecule, order, beads, parent, (far_side,))
            beside_gap = PlacementRow(atom, parent, *references, False)
    if beside_gap is not None or not reachable:
        return beside_gap
    atom, parent = reachable[0]
    return PlacementRow(atom, parent, *_references(molecule, order, beads, parent, ()), False)


def _across_gap(molecule: Molecule, order: dict[int, int], atom: int, parent: int) -> int | None:
    """Return the first placed atom, except the parent, two bonds away across an atom not yet placed."""
    found = {
        far
        for gap in molecule.bonded[atom]
        if gap not in order
        for far in molecule.bonded[gap]
        if far in order and far != parent
    }
    return min(found, key=order.__getitem__, default=None)


def _references(
    molecule: Molecule, order: dict[int, int], beads: int, parent: int, chosen: tuple[int, ...]
) -> tuple[int, int]:
    """Return the second and third reference atoms: chosen ones, then those nearest to the parent by bonds."""
    away = molecule.bond_distances(parent)
    near = sorted(
        (away[other] if away[other] >= 0 else molecule.n_atoms, position >= beads, position, other)
        for other, position in order.items()
        if other != parent and other not in chosen
    )
    second, third = (*chosen, *(other for *_, other in near))[:2]
    return second, third


class InternalCoordinates(nn.Module):
    """Measures the internal coordinates of a molecule and places its atoms from them.

    Parameters
    ----------
    molecule : Molecule
        Atoms and bonds.
    mapping : LinearMapping
        Beads, each a single atom.
    """

    atoms: Tensor
    closes: Tensor
    final_order: Tensor
    references: Tensor

    def __init__(self, molecule: Molecule, mapping: LinearMapping) -> None:
        super().__init__()
        bead_atoms = list(mapping.bead_atoms or ())
        rows, waves = _in_waves(placement_rows(molecule, mapping), bead_atoms)
        order = bead_atoms + [row.atom for row in rows]
        self.placed = len(rows)
        atoms = torch.tensor([row[:4] for row in rows], dtype=torch.int64).T.contiguous()
        self.register_buffer("atoms", atoms, persistent=False)
        self.register_buffer("closes", torch.tensor([row.closes for row in rows]), persistent=False)
        self.register_buffer("final_order", torch.tensor(order).argsort(), persistent=False)
        where = {atom: position for position, atom in enumerate(order)}
        references = torch.tensor([[where[atom] for atom in row[1:4]] for row in rows], dtype=torch.int64)
        self.register_buffer("references", references.T.contiguous(), persistent=False)
        self.waves = [(part.start, part.stop, rows[part.start].closes) for part in waves]

    def measure(self, frames: Tensor) -> InternalValues:
        """Return the internal coordinates of frames (batch, atoms, 3) in nm."""
        atom, parent, second, third = frames[:, self.atoms].unbind(dim=1)
        bond, axis = atom - parent, second - parent
        normal = torch.linalg.cross(axis, bond)
        angle = torch.atan2(_norm(normal), (bond * axis).sum(-1))
        to_third = third - second
        other = torch.linalg.cross(axis, to_third)
        torsion = torch.atan2(
            (torch.linalg.cross(normal, other) * axis).sum(-1) / _norm(axis), (normal * other).sum(-1)
        )
        return InternalValues(_norm(bond), torch.where(self.closes, _norm(atom - second), angle), torsion)

    def place(self, beads: Tensor, values: InternalValues) -> Tensor:
        """Return frames (batch, atoms, 3) from beads (batch, beads, 3) and internal coordinates, in nm.

        Where the two bonds of an atom that closes cannot meet, it is placed on the line between its reference
        atoms, a bond length from the parent.
        """
        length, angle, torsion = values
        along, radius = length * torch.cos(angle), length * torch.sin(angle)
        cosine, sine = torch.cos(torsion), torch.sin(torsion)
        positions = beads
        for first, last, closes in self.waves:
            parent, second, third = self.references[:, first:last].unbind(dim=0)
            origin = positions[:, parent]
            to_second = positions[:, second] - origin
            distance = _norm(to_second)
            axis = to_second / distance.unsqueeze(-1)
            normal = _unit(torch.linalg.cross(axis, positions[:, third] - positions[:, second]))
            sideways = torch.linalg.cross(normal, axis)
            x, r = along[:, first:last], radius[:, first:last]
            if closes:
                x, r = _where_spheres_meet(length[:, first:last], angle[:, first:last], distance)
            y, z = (r * cosine[:, first:last]).unsqueeze(-1), (r * sine[:, first:last]).unsqueeze(-1)
            placed = origin + x.unsqueeze(-1) * axis + y * sideways - z * normal
            positions = torch.cat([positions, placed], dim=1)
        return positions.index_select(1, self.final_order)


def _where_spheres_meet(one: Tensor, other: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the position of two spheres' intersection along their axis, and the radius of the circle.

    For spheres that do not meet, this is the point of the first sphere, of radius `one`, on the axis.
    """
    along = (one.square() - other.square() + distance.square()) / (2 * distance)
    along = torch.maximum(torch.minimum(along, one), -one)
    return along, ((one - along) * (one + along)).clamp(min=1e-12).sqrt()


def _in_waves(rows: list[PlacementRow], beads: list[int]) -> tuple[list[PlacementRow], list[slice]]:
    """Sort atoms into waves, each placed at once because its reference atoms are placed before it.

    Atoms that close are in separate waves.
    """
    wave = dict.fromkeys(beads, 0)
    for row in rows:
        wave[row.atom] = 1 + max(wave[row.parent], wave[row.second], wave[row.third])

    def turn(row: PlacementRow) -> tuple[int, bool]:
        return wave[row.atom], row.closes

    ordered = sorted(rows, key=turn)
    waves, first = [], 0
    for _, members in groupby(ordered, key=turn):
        waves.append(slice(first, first + len(list(members))))
        first = waves[-1].stop
    return ordered, waves


def _norm(vectors: Tensor) -> Tensor:
    """Return lengths, with a gradient where they vanish."""
    return vectors.square().sum(dim=-1).clamp(min=1e-12).sqrt()


def _unit(vectors: Tensor) -> Tensor:
    return vectors / _norm(vectors).unsqueeze(-1)
