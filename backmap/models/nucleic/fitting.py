"""Drawn nucleotides moved until their image lies on the beads, with ideal bonds, angles and bases."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry.nucleic_mapping import PREVIOUS_O3, NucleicLayout
from backmap.chemistry.nucleic_topology import NucleicTopology
from backmap.chemistry.nucleotides import NUCLEOTIDE_SLOTS, SLOT_O3
from backmap.chemistry.penalty_terms import angles_and_exclusions
from backmap.models.beads.descent import (
    LARGEST_STEP_NM,
    look_ahead,
    penalty_gradient,
    strained_bonds,
    volumes,
)
from backmap.models.beads.fitting import branched_atoms
from backmap.models.nucleic.pairing import BasePairs, Springs

_STEPS = 120
_STIFFNESS_KT_PER_NM2 = 20_000.0, 16_000.0, 3_000.0
"""Of bonds, distances across angles and within bases, and overlaps."""

_VOLUME_KT_PER_NM6 = 2.5e7
_STEP_SIZE_NM2 = 2e-6
"""Steps along the force in kT/nm, less than one over the largest curvature of the energy."""

_TOLERANCES_NM = 0.0, 0.02, 0.04, 0.08, 0.16
"""How far from its bead an image may lie: the first of these that strains no bond."""


class NucleicFitter:
    """Fits atoms of nucleotides to their beads.

    As :class:`backmap.models.beads.fitting.BeadFit` does for proteins: the energy falls along its gradient
    with momentum, and after each step the atoms of each bead move together by the least motion that brings
    their image to the bead. Pairs of bases that are drawn face to face are held by their hydrogen bonds.

    Parameters
    ----------
    topology : NucleicTopology
        The nucleotides.
    layout : NucleicLayout
        Their beads.
    device : torch.device or str
        Device to compute on.
    """

    def __init__(self, topology: NucleicTopology, layout: NucleicLayout, device: torch.device | str) -> None:
        bonds, lengths = topology.bonds()
        spans, distances = topology.spans()
        self._shape = topology.n_nucleotides, NUCLEOTIDE_SLOTS
        _, start, excluded = angles_and_exclusions(bonds, topology.n_nucleotides * NUCLEOTIDE_SLOTS, spans)
        present = topology.atom_mask
        arrays = {
            "present": present,
            "bonds": bonds,
            "bond_lengths": lengths.astype(np.float32),
            "angle_ends": spans,
            "angle_spans": distances.astype(np.float32),
            "radii": topology.radii.astype(np.float32),
            "exclusion_start": start,
            "exclusions": excluded,
        }
        self._terms = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        n_atoms = topology.n_nucleotides * NUCLEOTIDE_SLOTS
        self._centres = branched_atoms(self._terms["bonds"], n_atoms)
        self._stiffness = torch.full((len(self._centres),), _VOLUME_KT_PER_NM6, device=device)
        self._linked = torch.from_numpy(topology.linked).to(device)
        self._pairs = BasePairs(topology, device)
        self._nucleotides = torch.from_numpy(layout.nucleotides).to(device)
        self._parts = [part.to(device) for part in _parts_of_beads(layout)]
        self._pull = _least_motion(layout).to(device)

    def fit(self, atoms: Tensor, beads: Tensor, box: Tensor | None = None) -> Tensor:
        """Move atoms.

        Images lie on their beads exactly, except around nucleotides that this strains.

        Parameters
        ----------
        atoms : Tensor, (frames, nucleotides, 23, 3) float32
            In nm.
        beads : Tensor, (frames, beads, 3) float32
            Of the same frames, in nm.
        box : Tensor, (frames, 3, 3) float32, optional
            Vectors of periodic boxes in nm, as rows, in reduced form.

        Returns
        -------
        Tensor, (frames, nucleotides, 23, 3)
            In nm.
        """
        level = torch.zeros(len(atoms), self._shape[0], dtype=torch.int64, device=atoms.device)
        fitted = self._descend(atoms, beads, level, box)
        for _ in _TOLERANCES_NM[1:]:
            strained = self._with_neighbours(self.strained(fitted))
            rows = torch.nonzero(strained.any(dim=1)).squeeze(-1)
            if not len(rows):
                break
            level[rows] += strained[rows].long()
            cell = None if box is None else box[rows]
            fitted[rows] = self._descend(atoms[rows], beads[rows], level[rows], cell)
        return fitted

    def _with_neighbours(self, chosen: Tensor) -> Tensor:
        """Add the neighbours in the chain to nucleotides (frames, nucleotides) that are chosen."""
        after = (chosen & self._linked).roll(1, dims=1)
        before = chosen.roll(-1, dims=1) & self._linked
        return chosen | after | before

    def _descend(self, atoms: Tensor, beads: Tensor, level: Tensor, box: Tensor | None) -> Tensor:
        """Move atoms with the tolerances of these levels (frames, nucleotides)."""
        tolerance = atoms.new_tensor(_TOLERANCES_NM)[level][:, self._nucleotides]
        wanted, springs = volumes(atoms, self._centres), self._pairs.find(atoms, box)
        position = ahead = before = self._onto_beads(atoms, beads, tolerance)
        for _ in range(_STEPS):
            moved = _step_down(ahead, self._gradient(ahead, wanted, springs, box))
            position = self._onto_beads(moved, beads, tolerance)
            ahead = look_ahead(position, before)
            before = position
        return position

    def strained(self, atoms: Tensor) -> Tensor:
        """Return which nucleotides (..., nucleotides) have a strained bond in (..., nucleotides, 23, 3)."""
        return strained_bonds(atoms, self._terms)

    def image(self, atoms: Tensor) -> Tensor:
        """Return the beads (..., beads, 3) of atoms (..., nucleotides, 23, 3).

        Sums have the same order in batches of any size, as those of a matrix product have not.
        """
        beads, parts, weights = self._parts
        weighted = atoms.flatten(-3, -2).index_select(-2, parts) * weights[:, None]
        image = atoms.new_zeros(*atoms.shape[:-3], len(self._nucleotides), 3)
        return image.index_add_(-2, beads, weighted)

    def _gradient(self, atoms: Tensor, wanted: Tensor, springs: Springs, box: Tensor | None) -> Tensor:
        gradient = penalty_gradient(atoms, self._terms, _STIFFNESS_KT_PER_NM2, box)
        flat = gradient.flatten(1, 2)
        flat = _add_volume_gradient(flat, atoms, wanted, self._centres, self._stiffness)
        return self._pairs.add_gradient(flat, atoms, springs).view_as(atoms)

    def _onto_beads(self, atoms: Tensor, beads: Tensor, tolerance: Tensor) -> Tensor:
        """Move the atoms of each bead together, by the least motion that brings their image near the bead.

        Within a tolerance (frames, beads) in nm.
        """
        away = beads - self.image(atoms)
        distance = torch.linalg.vector_norm(away, dim=-1).clamp_min(1e-9)
        away = away * (1 - tolerance / distance).clamp_min(0.0)[..., None]
        motion = self._pull[:, :, None] * away[:, :, None, :]
        moved = atoms.index_add(1, self._nucleotides, motion[:, :, :PREVIOUS_O3])
        before = (self._nucleotides - 1).clamp_min(0)
        column = moved[:, :, SLOT_O3].index_add(1, before, motion[:, :, PREVIOUS_O3])
        return torch.cat([moved[:, :, :SLOT_O3], column[:, :, None], moved[:, :, SLOT_O3 + 1 :]], dim=2)


def _step_down(ahead: Tensor, gradient: Tensor) -> Tensor:
    """Return positions (..., 3) in nm one step down a gradient in kT/nm; no atom moves far."""
    step = -_STEP_SIZE_NM2 * gradient
    length = torch.linalg.vector_norm(step, dim=-1, keepdim=True).clamp_min(1e-12)
    return ahead + step * (length.clamp_max(LARGEST_STEP_NM) / length)


def _add_volume_gradient(
    gradient: Tensor, atoms: Tensor, wanted: Tensor, centres: Tensor, stiffness: Tensor
) -> Tensor:
    """Add, in place, the gradient of ``stiffness (volume - wanted)^2``.

    Parameters
    ----------
    gradient : Tensor, (frames, residues * slots, 3)
        In kT/nm.
    atoms : Tensor, (frames, residues, slots, 3)
        In nm.
    wanted : Tensor, (frames, centres)
        In nm^3.
    centres : Tensor, (centres, 4) int64
        Flat indices of atoms, the centre first.
    stiffness : Tensor, (centres,)
        In kT/nm^6.
    """
    points = atoms.flatten(1, 2)[:, centres]
    first, second, third = (points[:, :, 1:] - points[:, :, :1]).unbind(dim=2)
    by_first = torch.linalg.cross(second, third, dim=-1)
    by_second = torch.linalg.cross(third, first, dim=-1)
    by_third = torch.linalg.cross(first, second, dim=-1)
    force = (2 * stiffness * ((by_third * third).sum(dim=-1) - wanted))[..., None]
    parts = torch.stack([-(by_first + by_second + by_third), by_first, by_second, by_third], dim=2)
    return gradient.index_add_(1, centres.flatten(), (force[:, :, None] * parts).flatten(1, 2))


def _parts_of_beads(layout: NucleicLayout) -> tuple[Tensor, Tensor, Tensor]:
    """Return bead (parts,) int64, flat index of the atom (parts,) int64 and weight (parts,) of each part."""
    beads, slots = np.nonzero(layout.weights)
    atoms = layout.nucleotides[beads] * NUCLEOTIDE_SLOTS + slots
    before = slots == PREVIOUS_O3
    atoms[before] = (layout.nucleotides[beads[before]] - 1) * NUCLEOTIDE_SLOTS + SLOT_O3
    weights = torch.from_numpy(layout.weights[beads, slots]).float()
    return torch.from_numpy(beads), torch.from_numpy(atoms), weights


def _least_motion(layout: NucleicLayout) -> Tensor:
    """Return how far each atom (beads, 24) moves per motion of its bead, with the least motion of all."""
    pull = np.zeros_like(layout.weights)
    for nucleotide in np.unique(layout.nucleotides):
        rows = layout.nucleotides == nucleotide
        pull[rows] = np.linalg.pinv(layout.weights[rows]).T
    return torch.from_numpy(pull).float()
