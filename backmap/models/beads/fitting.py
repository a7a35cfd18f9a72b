"""Built atoms moved until their image lies on the beads, at the least cost in bonds, angles and overlaps."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import ATOM_SLOTS, RESIDUE_INDEX, Topology, penalty_terms
from backmap.models.beads.descent import descend, penalty_gradient, strained_bonds
from backmap.models.beads.disulfide_springs import DisulfideSprings
from backmap.models.beads.evidence import BeadEvidence, BeadTable, image
from backmap.models.beads.volumes import Volumes
from backmap.models.chain import Chain
from backmap.models.protein.given_atoms import standing_atoms
from backmap.models.protein.side_chains import wrong_hand

_STEPS = 30
_STIFFNESS_KT_PER_NM2 = 20_000.0, 16_000.0, 3_000.0
"""Of bonds, distances across angles, and overlaps."""

_VOLUME_KT_PER_NM6 = 2.5e7
"""Stiffness of the volumes that three bonds of an atom span, which keep hands and planes."""

_TORSION_KT_PER_NM2, _TORSION_KT_PER_NM6 = 2_000.0, 5e6
"""Stiffness of the distances and volumes that keep phi and psi."""

_STEP_SIZE_NM2 = 3.5e-6
"""Steps along the force in kT/nm, about one over the largest curvature of the energy."""

_N, _CA, _C = range(3)
_BEFORE, _OWN, _NEXT = -1, 0, 1
_ACROSS_PHI, _ACROSS_PSI = ((_BEFORE, _C), (_OWN, _C)), ((_OWN, _N), (_NEXT, _N))
_OMEGA = (_OWN, _C), (_OWN, _CA), (_NEXT, _N), (_NEXT, _CA)
_PHI = (_OWN, _N), (_BEFORE, _C), (_OWN, _CA), (_OWN, _C)
_PSI = (_OWN, _CA), (_OWN, _N), (_OWN, _C), (_NEXT, _N)
"""Atoms (steps along the chain, slot) of distances across torsions and of centres of volumes."""


class BeadFitter:
    """Fits atoms of one protein to its beads.

    The energy of bonds, bond angles, peptide planes and overlaps falls along its gradient with momentum
    (Nesterov), and after each step the atoms of each bead move together by the least motion that brings their
    image to the bead: the beads are constraints, not springs. Disulfides are bonds like others.

    Parameters
    ----------
    topology : Topology
        The residues.
    linked : ndarray, (residues,) bool
        Which residues are bonded to their successor.
    table : BeadTable
        The beads.
    device : torch.device or str
        Device to compute on.
    """

    def __init__(
        self, topology: Topology, linked: np.ndarray, table: BeadTable, device: torch.device | str
    ) -> None:
        terms = penalty_terms(topology, linked, dtype=np.float32)
        chain = Chain.from_arrays(topology.residue_types, topology.chain_index, linked, device)
        self._table = table
        self._types = chain.types
        self._terms = {name: torch.from_numpy(term).to(device) for name, term in terms.items()}
        self._terms["present"] = standing_atoms(chain)
        joints = chain.has_neighbour(-1) & chain.has_neighbour(1)
        self._spans = torch.cat([_atoms_around(joints, ends, chain) for ends in (_ACROSS_PHI, _ACROSS_PSI)])
        self._volumes = Volumes(*self._list_centres(terms["bonds"], joints, chain))
        self._pull = least_motion(table)
        self._disulfides = DisulfideSprings(chain, *_STIFFNESS_KT_PER_NM2)

    def _list_centres(self, bonds: np.ndarray, joints: Tensor, chain: Chain) -> tuple[Tensor, Tensor]:
        """Return centres with three atoms (centres, 4) whose volumes are kept, and how stiffly (centres, 1).

        Parameters
        ----------
        bonds : ndarray, (bonds, 2) int64
            Flat atom indices.
        joints : Tensor, (residues,) bool
            Residues between two peptide bonds.
        chain : Chain
            The sequence.
        """
        groups = [torch.from_numpy(branched_atoms(bonds)).to(joints.device)]
        for rows, atoms in ((chain.linked, _OMEGA), (joints, _PHI), (joints, _PSI)):
            groups.append(_atoms_around(rows, atoms, chain))
        stiffness = _VOLUME_KT_PER_NM6, _VOLUME_KT_PER_NM6, _TORSION_KT_PER_NM6, _TORSION_KT_PER_NM6
        each = [torch.full((len(group), 1), value) for group, value in zip(groups, stiffness, strict=True)]
        return torch.cat(groups), torch.cat(each).to(joints.device)

    def fit(self, atoms: Tensor, evidence: BeadEvidence, box: Tensor | None = None) -> Tensor:
        """Move atoms.

        Parameters
        ----------
        atoms : Tensor, (frames, residues, 15, 3) float32
            In nm.
        evidence : BeadEvidence
            The beads of the same frames.
        box : Tensor, (frames, 3, 3) float32, optional
            Vectors of periodic boxes in nm, as rows, in reduced form.

        Returns
        -------
        Tensor, (frames, residues, 15, 3)
            In nm.
        """
        built = self._lengths(atoms)[0], self._volumes.of(atoms)
        disulfides = self._disulfides.find(atoms)

        def gradient(ahead: Tensor) -> Tensor:
            return self._disulfides.add(self._gradient(ahead, *built, box), ahead, disulfides)

        start = self._onto_beads(atoms.clone(), evidence)
        return descend(
            start, gradient, lambda moved: self._onto_beads(moved, evidence), _STEPS, _STEP_SIZE_NM2
        )

    def strained(self, atoms: Tensor) -> Tensor:
        """Return which residues have a strained bond, or a centre of the wrong hand.

        Parameters
        ----------
        atoms : Tensor, (..., residues, 15, 3) float32
            In nm.

        Returns
        -------
        Tensor, (..., residues) bool
        """
        wrong = wrong_hand(atoms, self._types) & (self._types != RESIDUE_INDEX["GLY"])
        return wrong | strained_bonds(atoms, self._terms)

    def _gradient(self, atoms: Tensor, lengths: Tensor, volumes: Tensor, box: Tensor | None) -> Tensor:
        """Return the gradient of the energy in kT/nm, without that of disulfides."""
        gradient = penalty_gradient(atoms, self._terms, _STIFFNESS_KT_PER_NM2, box)
        gradient = self._volumes.add_gradient(gradient.flatten(1, 2), atoms, volumes)
        now, apart = self._lengths(atoms)
        pull = 2 * _TORSION_KT_PER_NM2 * ((now - lengths) / now)[..., None] * apart
        gradient.index_add_(1, self._spans[:, 0], -pull).index_add_(1, self._spans[:, 1], pull)
        return gradient.view_as(atoms)

    def _lengths(self, atoms: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distances (frames, spans) in nm that follow phi and psi, and the vectors along them."""
        points = atoms.flatten(1, 2)
        apart = points.index_select(1, self._spans[:, 1]) - points.index_select(1, self._spans[:, 0])
        return torch.linalg.vector_norm(apart, dim=-1), apart

    def _onto_beads(self, atoms: Tensor, evidence: BeadEvidence) -> Tensor:
        """Move the atoms of each bead together, by the least motion that brings their image to the bead."""
        away = evidence.positions - image(atoms, self._table)
        distance = torch.linalg.vector_norm(away, dim=-1, keepdim=True).clamp_min(1e-9)
        away = away * (1 - evidence.tolerance_nm[:, None, None] / distance).clamp_min(0.0)
        motion = self._pull[:, :, None] * away[:, :, None, :]
        return atoms.index_add(1, self._table.residues, motion)


def _atoms_around(rows: Tensor, atoms: tuple[tuple[int, int], ...], chain: Chain) -> Tensor:
    """Return flat indices (n, atoms) of atoms (steps along the chain, slot) from the marked residues."""
    places = torch.arange(chain.n_residues, device=rows.device)
    found = [ATOM_SLOTS * chain.shift(places, step, 0)[rows] + slot for step, slot in atoms]
    return torch.stack(found, dim=1)


def branched_atoms(bonds: np.ndarray) -> np.ndarray:
    """Return each atom with three bonds or more, and three atoms bonded to it.

    Parameters
    ----------
    bonds : ndarray, (bonds, 2) int64
        Flat atom indices.

    Returns
    -------
    ndarray, (centres, 4) int64
        Flat atom indices, the centre first.
    """
    ends = np.concatenate([bonds, bonds[:, ::-1]])
    ends = ends[np.lexsort((ends[:, 1], ends[:, 0]))]
    centres, first, number = np.unique(ends[:, 0], return_index=True, return_counts=True)
    branched = number >= 3
    others = ends[first[branched, None] + np.arange(3), 1]
    return np.concatenate([centres[branched, None], others], axis=1)


def least_motion(table: BeadTable) -> Tensor:
    """Return how far each atom (beads, 15) moves per motion of its bead, with the least motion of all atoms.

    The rows of each residue are the pseudo-inverse of its weights.
    """
    n_columns = int(table.columns.max()) + 1
    weights = table.weights.new_zeros(int(table.residues[-1]) + 1, n_columns, ATOM_SLOTS, dtype=torch.float64)
    weights[table.residues, table.columns] = table.weights.double()
    kinds, kind_of = torch.unique(weights, dim=0, return_inverse=True)  # far fewer than residues
    inverse = torch.linalg.pinv(kinds).transpose(1, 2).float()
    return inverse[kind_of[table.residues], table.columns]
