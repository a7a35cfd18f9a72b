"""Built atoms moved until their image lies on the beads, at the least cost in bonds, angles and overlaps."""

from typing import Final

import torch
from torch import Tensor, nn

from backmap.chemistry import ATOM_SLOTS, RESIDUE_INDEX, SLOT_C, SLOT_CA, SLOT_N
from backmap.models.beads.descent import look_ahead, penalty_gradient, step_down, strained_bonds
from backmap.models.beads.disulfide_springs import DisulfideSprings
from backmap.models.beads.evidence import BeadEvidence, BeadTable, image
from backmap.models.beads.local_terms import LocalTerms
from backmap.models.beads.volumes import Volumes
from backmap.models.chain import Chain
from backmap.models.protein.side_chains import handed_centres, wrong_hand_of

_STIFFNESS_KT_PER_NM2 = 20_000.0, 16_000.0, 3_000.0
"""Of bonds, distances across angles, and overlaps."""

_BONDED = (*_STIFFNESS_KT_PER_NM2[:2], 0.0)
_OVERLAPS = (0.0, 0.0, _STIFFNESS_KT_PER_NM2[2])
"""Stiffness for bonds and angles only, and for overlaps only."""


class BeadFit(nn.Module):
    """Fits atoms of proteins to their beads. Can be compiled by TorchScript.

    The energy of bonds, bond angles, peptide planes and overlaps falls along its gradient with momentum
    (Nesterov), and after each step the atoms of each bead move together by the least motion that brings their
    image to the bead: the beads are constraints, not springs. Disulfides are bonds like others.
    """

    handed: Tensor
    slots: Final = ATOM_SLOTS
    glycine: Final = RESIDUE_INDEX["GLY"]
    steps: Final = 30
    steps_per_search: Final = 3
    """Steps for which the forces of overlaps, whose search takes most of the time, are kept."""
    bonded: Final = _BONDED
    overlaps: Final = _OVERLAPS

    # Stiffness of the volumes that three bonds of an atom span, which keep hands and planes.
    volume_kt_per_nm6: Final = 2.5e7

    # Stiffness of the distances and volumes that keep phi and psi.
    torsion_kt_per_nm2: Final = 2_000.0
    torsion_kt_per_nm6: Final = 5e6

    # Steps along the force in kT/nm, about one over the largest curvature of the energy.
    step_size_nm2: Final = 3.5e-6

    def __init__(self) -> None:
        super().__init__()
        self.terms = LocalTerms()
        self.springs = DisulfideSprings(*_STIFFNESS_KT_PER_NM2)
        self.register_buffer("handed", torch.from_numpy(handed_centres()), persistent=False)
        n, ca, c = SLOT_N, SLOT_CA, SLOT_C
        before, own, after = -1, 0, 1
        # Atoms (steps along the chain, slot): ends of distances across torsions, and centres of volumes.
        self.across_phi = [(before, c), (own, c)]
        self.across_psi = [(own, n), (after, n)]
        self.omega = [(own, c), (own, ca), (after, n), (after, ca)]
        self.phi = [(own, n), (before, c), (own, ca), (own, c)]
        self.psi = [(own, ca), (own, n), (own, c), (after, n)]

    def prepare(self, chain: Chain, table: BeadTable) -> dict[str, Tensor]:
        """Return by name what :meth:`fit` and :meth:`strained` need to know of a protein with these beads."""
        terms = self.terms(chain)
        joints = chain.has_neighbour(-1) & chain.has_neighbour(1)
        groups = [branched_atoms(terms["bonds"], chain.n_residues * self.slots)]
        groups.append(self._atoms_around(chain.linked, self.omega, chain))
        stiffness = [torch.full([len(group), 1], self.volume_kt_per_nm6) for group in groups]
        for atoms in (self.phi, self.psi):
            groups.append(self._atoms_around(joints, atoms, chain))
            stiffness.append(torch.full([len(groups[-1]), 1], self.torsion_kt_per_nm6))
        spans = [self._atoms_around(joints, atoms, chain) for atoms in (self.across_phi, self.across_psi)]
        terms["torsion_spans"] = torch.cat(spans)
        terms["centres"] = torch.cat(groups)
        terms["centre_stiffness"] = torch.cat(stiffness).to(joints.device)
        terms["pull"] = least_motion(table)
        terms["types"] = chain.types
        return terms

    def fit(
        self, atoms: Tensor, evidence: BeadEvidence, terms: dict[str, Tensor], box: Tensor | None = None
    ) -> Tensor:
        """Move atoms.

        Parameters
        ----------
        atoms : Tensor, (frames, residues, 15, 3) float32
            In nm.
        evidence : BeadEvidence
            The beads of the same frames.
        terms : dict of str to Tensor
            From :meth:`prepare`.
        box : Tensor, (frames, 3, 3) float32, optional
            Vectors of periodic boxes in nm, as rows, in reduced form.

        Returns
        -------
        Tensor, (frames, residues, 15, 3)
            In nm.
        """
        centres = Volumes(terms["centres"], terms["centre_stiffness"])
        spans = terms["torsion_spans"]
        lengths, volumes = self._lengths(atoms, spans)[0], centres.of(atoms)
        disulfides = self.springs.find(atoms, terms["types"])
        position = self._onto_beads(atoms.clone(), evidence, terms["pull"])
        ahead, before, pushed = position, position, position
        for step in range(self.steps):
            if step % self.steps_per_search == 0:
                pushed = penalty_gradient(ahead, terms, self.overlaps, box)
            gradient = pushed + penalty_gradient(ahead, terms, self.bonded, box)
            flat = centres.add_gradient(gradient.flatten(1, 2), ahead, volumes)
            now, apart = self._lengths(ahead, spans)
            pull = 2 * self.torsion_kt_per_nm2 * ((now - lengths) / now)[..., None] * apart
            flat.index_add_(1, spans[:, 0], -pull).index_add_(1, spans[:, 1], pull)
            gradient = self.springs.add(flat.view_as(ahead), ahead, disulfides)
            moved = step_down(ahead, gradient, self.step_size_nm2)
            position = self._onto_beads(moved, evidence, terms["pull"])
            ahead = look_ahead(position, before)
            before = position
        return position

    def strained(self, atoms: Tensor, terms: dict[str, Tensor]) -> Tensor:
        """Return which residues have a strained bond, or a centre of the wrong hand.

        Parameters
        ----------
        atoms : Tensor, (..., residues, 15, 3) float32
            In nm.
        terms : dict of str to Tensor
            From :meth:`prepare`.

        Returns
        -------
        Tensor, (..., residues) bool
        """
        types = terms["types"]
        wrong = wrong_hand_of(atoms, self.handed[types]) & (types != self.glycine)
        return wrong | strained_bonds(atoms, terms)

    def _lengths(self, atoms: Tensor, spans: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distances (frames, spans) in nm that follow phi and psi, and the vectors along them."""
        points = atoms.flatten(1, 2)
        apart = points.index_select(1, spans[:, 1]) - points.index_select(1, spans[:, 0])
        return torch.linalg.vector_norm(apart, dim=-1), apart

    def _onto_beads(self, atoms: Tensor, evidence: BeadEvidence, pull: Tensor) -> Tensor:
        """Move the atoms of each bead together, by the least motion that brings their image to the bead."""
        away = evidence.positions - image(atoms, evidence.table)
        distance = torch.linalg.vector_norm(away, dim=-1, keepdim=True).clamp_min(1e-9)
        away = away * (1 - evidence.tolerance_nm[:, None, None] / distance).clamp_min(0.0)
        motion = pull[:, :, None] * away[:, :, None, :]
        return atoms.index_add(1, evidence.table.residues, motion)

    def _atoms_around(self, rows: Tensor, atoms: list[tuple[int, int]], chain: Chain) -> Tensor:
        """Return flat indices (n, atoms) of atoms (steps along the chain, slot) from the marked residues."""
        places = torch.arange(chain.n_residues, device=rows.device)
        found = [self.slots * chain.shift(places, step, 0.0, 0)[rows] + slot for step, slot in atoms]
        return torch.stack(found, dim=1)


def branched_atoms(bonds: Tensor, n_atoms: int) -> Tensor:
    """Return each atom with three bonds or more, and three atoms bonded to it.

    Parameters
    ----------
    bonds : Tensor, (bonds, 2) int64
        Flat atom indices.
    n_atoms : int
        Number of flat indices.

    Returns
    -------
    Tensor, (centres, 4) int64
        Flat atom indices, the centre first.
    """
    ends = torch.cat([bonds, bonds.flip(1)])
    ends = ends[torch.argsort(ends[:, 0] * n_atoms + ends[:, 1])]
    number = torch.bincount(ends[:, 0], minlength=n_atoms)
    first = number.cumsum(0) - number
    centres = torch.nonzero(number >= 3).squeeze(-1)
    others = ends[first[centres][:, None] + torch.arange(3, device=bonds.device), 1]
    return torch.cat([centres[:, None], others], dim=1)


def least_motion(table: BeadTable) -> Tensor:
    """Return how far each atom (beads, 15) moves per motion of its bead, with the least motion of all atoms.

    The rows of each residue are the pseudo-inverse of its weights.
    """
    n_columns, n_residues = int(table.columns.max()) + 1, int(table.residues[-1]) + 1
    shape = [n_residues, n_columns, table.weights.shape[1]]
    weights = torch.zeros(shape, dtype=torch.float64, device=table.weights.device)
    weights[table.residues, table.columns] = table.weights.double()
    kinds, kind_of = torch.unique(weights, dim=0, return_inverse=True)  # far fewer than residues
    inverse = torch.linalg.pinv(kinds).transpose(1, 2).float()
    return inverse[kind_of[table.residues], table.columns]
