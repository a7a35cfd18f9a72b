"""Built atoms moved until their image lies on the beads, at the least cost in bonds, angles and overlaps."""

from typing import Final

import torch
from torch import Tensor, nn

from backmap.chemistry import ATOM_SLOTS, CHI_SLOTS, RESIDUE_INDEX, SLOT_C, SLOT_CA, SLOT_N
from backmap.chemistry.bead_mapping import LEAST_BEAD_NOISE_NM
from backmap.models.beads.descent import (
    LARGEST_STEP_NM,
    MOMENTUM,
    look_ahead,
    pair_distances,
    penalty_gradient,
    strained_bonds,
    volumes,
)
from backmap.models.beads.disulfide_springs import DisulfideSprings
from backmap.models.beads.evidence import BeadEvidence, BeadTable, image
from backmap.models.beads.local_terms import LocalTerms
from backmap.models.chain import Chain
from backmap.models.protein.side_chains import handed_centres, wrong_hand_of
from backmap.ops import descent_places

_STIFFNESS_KT_PER_NM2 = 80_000.0, 64_000.0, 6_000.0
"""Of bonds, distances across angles, and overlaps."""

_TORSION_KT_PER_NM2 = 2_000.0
"""Of the distances that keep phi, psi and the torsions of side chains."""

_OVERLAPS = (0.0, 0.0, _STIFFNESS_KT_PER_NM2[2])
"""Stiffness for overlaps only."""


class BeadFit(nn.Module):
    """Fits atoms of proteins to their beads. Can be compiled by TorchScript.

    The energy of bonds, bond angles, peptide planes and overlaps falls along its gradient with momentum
    (Nesterov), and after each step the atoms of each bead move together by the least motion that brings their
    image nearer: onto beads that are atoms, and toward others as their noise says. Drawn torsions are held
    softly, and disulfides are bonds like others.
    """

    handed: Tensor
    chi_slots: Tensor
    slots: Final = ATOM_SLOTS
    glycine: Final = RESIDUE_INDEX["GLY"]
    steps: Final = 90
    steps_per_search: Final = 9
    """Steps for which the forces of overlaps, whose search takes most of the time, are kept."""
    overlaps: Final = _OVERLAPS
    least_noise_nm: Final = LEAST_BEAD_NOISE_NM

    # Stiffness of the volumes that three bonds of an atom span, which keep hands and planes.
    volume_kt_per_nm6: Final = 2.5e7

    # Stiffness of the volumes that keep phi, psi and the torsions of side chains.
    torsion_kt_per_nm6: Final = 5e6

    # Steps along the force in kT/nm, about one over the largest curvature of the energy.
    step_size_nm2: Final = 1.2e-6
    momentum: Final = MOMENTUM
    largest_step_nm: Final = LARGEST_STEP_NM
    stiffness: Final = (*_STIFFNESS_KT_PER_NM2[:2], _TORSION_KT_PER_NM2)
    """Of bonds, distances across angles, and distances across torsions, in kT/nm^2."""

    def __init__(self) -> None:
        super().__init__()
        self.terms = LocalTerms()
        self.springs = DisulfideSprings(*_STIFFNESS_KT_PER_NM2)
        self.register_buffer("handed", torch.from_numpy(handed_centres()), persistent=False)
        self.register_buffer("chi_slots", torch.from_numpy(CHI_SLOTS), persistent=False)
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
        terms["types"] = chain.types
        torsions = self._side_chain_torsions(chain)
        self._add_springs(terms, torsions, chain)
        self._add_volumes(terms, torsions, chain)
        pull = least_motion(table)
        bead, slot = torch.nonzero((table.weights != 0) | (pull != 0)).unbind(dim=1)
        terms["parts"] = torch.stack([bead, table.residues[bead] * self.slots + slot], dim=1)
        terms["part_weights"], terms["part_pulls"] = table.weights[bead, slot], pull[bead, slot]
        terms["places"] = descent_places(
            terms["springs"],
            terms["centres"],
            terms["parts"],
            chain.n_residues * self.slots,
            len(table.residues),
        )
        squares = terms["part_weights"].square()
        terms["mobility"] = torch.zeros_like(table.weights[:, 0]).index_add(0, bead, squares)
        return terms

    def _add_springs(self, terms: dict[str, Tensor], torsions: Tensor, chain: Chain) -> None:
        """Add the pairs of atoms whose distance is kept: bonds, and across angles and torsions."""
        joints = chain.has_neighbour(-1) & chain.has_neighbour(1)
        spans = [self._atoms_around(joints, atoms, chain) for atoms in (self.across_phi, self.across_psi)]
        spans.append(torsions[:, [0, 3]])
        kinds = [terms["bonds"], terms["angle_ends"], torch.cat(spans)]
        stiffness = [torch.full([len(pairs)], self.stiffness[kind]) for kind, pairs in enumerate(kinds)]
        terms["springs"] = torch.cat(kinds)
        terms["spring_stiffness"] = torch.cat(stiffness).to(joints.device)

    def _add_volumes(self, terms: dict[str, Tensor], torsions: Tensor, chain: Chain) -> None:
        """Add the atoms whose volume is kept: around branched atoms and peptides, and of torsions."""
        joints = chain.has_neighbour(-1) & chain.has_neighbour(1)
        planes = [
            branched_atoms(terms["bonds"], chain.n_residues * self.slots),
            self._atoms_around(chain.linked, self.omega, chain),
        ]
        twists = [self._atoms_around(joints, atoms, chain) for atoms in (self.phi, self.psi)]
        twists.append(torsions[:, [1, 0, 2, 3]])
        stiffness = [torch.full([len(group)], self.volume_kt_per_nm6) for group in planes]
        stiffness += [torch.full([len(group)], self.torsion_kt_per_nm6) for group in twists]
        terms["centres"] = torch.cat(planes + twists)
        terms["centre_stiffness"] = torch.cat(stiffness).to(joints.device)

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
        ideal = torch.cat([terms["bond_lengths"], terms["angle_spans"]]).expand(len(atoms), -1)
        drawn = pair_distances(atoms, terms["springs"][ideal.shape[1] :])
        lengths = torch.cat([ideal, drawn], dim=1)
        spanned = volumes(atoms, terms["centres"])
        disulfides = self.springs.find(atoms, terms["types"])
        links, link_lengths, link_stiffness = self.springs.links(disulfides)
        share = self._share(evidence.noise_nm, terms)
        position = self._onto_beads(atoms, evidence, share, terms)
        before = position
        for step in range(0, self.steps, self.steps_per_search):
            ahead = look_ahead(position, before)
            slope = penalty_gradient(ahead, terms, self.overlaps, box)
            slope = self.springs.add_release(slope, ahead, disulfides)
            after, last = torch.ops.backmap.descend_onto_beads(
                position.flatten(1, 2),
                before.flatten(1, 2),
                slope.flatten(1, 2),
                terms["springs"],
                lengths,
                terms["spring_stiffness"],
                terms["centres"],
                spanned,
                terms["centre_stiffness"],
                links,
                link_lengths,
                link_stiffness,
                terms["parts"],
                terms["part_weights"],
                terms["part_pulls"],
                evidence.positions,
                share,
                min(self.steps_per_search, self.steps - step),
                self.step_size_nm2,
                self.momentum,
                self.largest_step_nm,
                terms["places"],
            )
            position, before = after.view_as(atoms), last.view_as(atoms)
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

    def _share(self, noise_nm: Tensor, terms: dict[str, Tensor]) -> Tensor:
        """Return the share (frames, beads) of the way to its bead by which an image moves in a step.

        It is an implicit step down the negative log-likelihood of a bead with Gaussian noise. Exact means of
        atoms have the least noise, because bonds and angles are no more ideal than that in crystals; exact
        atoms stay where they are.
        """
        mobility, noise = terms["mobility"], noise_nm[:, None]
        allowed = torch.where(noise == 0, self.least_noise_nm, noise)
        step = self.step_size_nm2 * mobility / allowed.square()
        return torch.where((noise == 0) & (mobility == 1), 1.0, step / (1 + step))

    def _onto_beads(
        self, atoms: Tensor, evidence: BeadEvidence, share: Tensor, terms: dict[str, Tensor]
    ) -> Tensor:
        """Move the atoms of each bead together, by the least motion that brings their image nearer."""
        bead, atom = terms["parts"].unbind(dim=1)
        way = share[:, :, None] * (evidence.positions - image(atoms, evidence.table))
        motion = terms["part_pulls"][:, None] * way[:, bead]
        return atoms.flatten(1, 2).index_add(1, atom, motion).view_as(atoms)

    def _side_chain_torsions(self, chain: Chain) -> Tensor:
        """Return flat indices (torsions, 4) of the atoms of all side-chain torsions."""
        slots = self.chi_slots[chain.types]
        rows, torsions = torch.nonzero(slots[:, :, 0] >= 0).unbind(dim=1)
        return rows[:, None] * self.slots + slots[rows, torsions]

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
