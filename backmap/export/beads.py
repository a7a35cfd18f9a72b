"""The protein model on beads that are not C-alphas, as one self-contained module on plain tensors."""

from typing import Any, Final

import torch
from torch import Tensor, nn

from backmap.chemistry import ATOM_MASK, RESIDUE_NAMES, SLOT_OXT
from backmap.chemistry.bead_mapping import BeadMapping
from backmap.chemistry.topology import MAX_LINKED_CA_DISTANCE_NM
from backmap.export.arguments import (
    chain_index,
    check_bonds,
    check_draw,
    check_frames,
    check_positions,
    check_sequence,
)
from backmap.export.protein import RESIDUES_AT_ONCE, slot_names
from backmap.inference.beads import REDRAWS, SEED_OF_REDRAWS, TOLERANCE_PER_NOISE
from backmap.inference.c_alpha_rule import MAX_BEAD_NOISE_NM
from backmap.inference.protein_job import POSITION_DECIMALS
from backmap.models.beads.estimator import CAlphaEstimator
from backmap.models.beads.evidence import BeadEvidence, BeadTable, of_samples
from backmap.models.beads.fitting import BeadFit
from backmap.models.beads.redrawing import put_in_redrawn
from backmap.models.c_alpha_posterior import CAlphaPosterior
from backmap.models.chain import Chain
from backmap.models.counter_random import stream_keys
from backmap.models.protein.model import ProteinModel


class ExportedBeads(nn.Module):
    """Builds all heavy atoms of proteins from the beads of one mapping, residue types and chain offsets.

    Parameters
    ----------
    model : ProteinModel
        Draws structures.
    estimator : CAlphaEstimator
        Estimates C-alphas.
    mapping : BeadMapping
        What the beads are; its C-alphas are no beads.

    Attributes
    ----------
    family, length_unit : str
        ``protein``, and ``nm``.
    mapping : str
        Name of the mapping.
    residue_names, atom_names
        As of :class:`backmap.export.protein.ExportedProtein`.
    bead_names : list of list of str
        The beads of each residue type in their order; empty for residues that the mapping does not have.
    """

    atom_mask: Tensor
    bead_weights: Tensor
    bead_counts: Tensor
    main_beads: Tensor
    residues_at_once: Final = RESIDUES_AT_ONCE
    slot_oxt: Final = SLOT_OXT
    max_bead_noise_nm: Final = MAX_BEAD_NOISE_NM
    decimals: Final = POSITION_DECIMALS
    longest_bond_nm: Final = MAX_LINKED_CA_DISTANCE_NM
    tolerance_per_noise: Final = TOLERANCE_PER_NOISE
    redraws: Final = REDRAWS
    seed_of_redraws: Final = SEED_OF_REDRAWS

    def __init__(self, model: ProteinModel, estimator: CAlphaEstimator, mapping: BeadMapping) -> None:
        super().__init__()
        self.model = model
        self.estimator = estimator
        self.c_alphas = CAlphaPosterior()
        self.fit = BeadFit()
        self.family = "protein"
        self.length_unit = "nm"
        self.mapping = mapping.name
        self.reach_nm = mapping.reach_nm
        self.residue_names = list(RESIDUE_NAMES)
        self.atom_names = [slot_names(name) for name in RESIDUE_NAMES]
        self.bead_names = [[bead.name for bead in mapping.beads.get(name, ())] for name in RESIDUE_NAMES]
        counts = torch.tensor([len(names) for names in self.bead_names])
        weights = torch.zeros(len(RESIDUE_NAMES), int(counts.max()), ATOM_MASK.shape[1])
        main = torch.zeros_like(counts)
        for kind in torch.nonzero(counts).flatten().tolist():
            layout = mapping.layout(torch.tensor([kind]).numpy())
            weights[kind, : counts[kind]] = torch.from_numpy(layout.weights).float()
            main[kind] = int(layout.main[0])
        self.register_buffer("atom_mask", torch.from_numpy(ATOM_MASK), persistent=False)
        self.register_buffer("bead_counts", counts, persistent=False)
        self.register_buffer("bead_weights", weights, persistent=False)
        self.register_buffer("main_beads", main, persistent=False)

    def forward(
        self,
        beads: Tensor,
        residue_types: Tensor,
        chain_offsets: Tensor,
        samples: int = 1,
        seed: int = 0,
        numbers: Tensor | None = None,
        linked: Tensor | None = None,
        box: Tensor | None = None,
        bead_noise: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Build all atoms.

        Parameters
        ----------
        beads : Tensor, (frames, beads, 3) float32 or float64
            In nm, residue by residue in the order of ``bead_names``, on the model's device, like all other
            tensors.
        residue_types, chain_offsets, samples, seed, numbers, linked, box
            As for :class:`backmap.export.protein.ExportedProtein`.
        bead_noise : float
            Standard deviation in nm of each coordinate of a bead. With 0 it is estimated in each frame, with
            -1 beads are exact.

        Returns
        -------
        Tensor, (samples, frames, residues, 15, 3), dtype of ``beads``
            In nm; zero where there is no atom.
        Tensor, (residues, 15) bool
            Which atoms exist.

        Raises
        ------
        ValueError
            If an argument is invalid; the message says why. In C++ this is a ``std::exception``.
        """
        table = self._table(beads, residue_types, chain_offsets)
        check_draw(samples, bead_noise, self.max_bead_noise_nm, "beads")
        frames, residues = beads.shape[0], residue_types.shape[0]
        main = beads[:, self._main(table)]
        if numbers is None:
            numbers = torch.arange(frames, device=beads.device)
        if linked is None:
            linked = self._links(main, chain_offsets)
        check_frames(numbers, linked, box, chain_offsets, frames, residues, beads)
        if box is not None:
            box = box.float()
        check_bonds("beads", main, linked, self.reach_nm)
        with torch.no_grad():
            mask = self.atom_mask[residue_types]
            mask[chain_offsets[1:] - 1, self.slot_oxt] = True
            chain = Chain(residue_types, chain_index(chain_offsets), linked)
            terms = self.fit.prepare(chain, table)
            atoms = beads.new_zeros([samples, frames, residues, mask.shape[1], 3])
            step = max(1, self.residues_at_once // (samples * residues))
            for first in range(0, frames, step):
                last = min(first + step, frames)
                part = box[first:last] if box is not None else None
                atoms[:, first:last] = self._build(
                    beads[first:last],
                    table,
                    chain,
                    terms,
                    numbers[first:last],
                    part,
                    samples,
                    seed,
                    bead_noise,
                )
            return atoms.masked_fill_(~mask.unsqueeze(-1), 0.0), mask

    @torch.jit.export
    def find_links(self, beads: Tensor, residue_types: Tensor, chain_offsets: Tensor) -> Tensor:
        """Return which residues (residues,) bool are bonded to their successor.

        Neighbours in a chain whose main beads are too far apart in the first frame are a chain break.
        """
        table = self._table(beads, residue_types, chain_offsets)
        return self._links(beads[:, self._main(table)], chain_offsets)

    @torch.jit.unused
    def describe(self) -> dict[str, Any]:
        """Return the entries of the file's metadata that describe the model."""
        return {
            "residue_names": self.residue_names,
            "atom_names": self.atom_names,
            "beads": self.mapping,
            "bead_names": self.bead_names,
        }

    def _table(self, beads: Tensor, residue_types: Tensor, chain_offsets: Tensor) -> BeadTable:
        """Check beads and sequence, and return which beads they are."""
        check_positions("beads", beads, [-1, -1, 3], self.atom_mask)
        check_sequence(residue_types, chain_offsets, len(self.residue_names), beads)
        counts = self.bead_counts[residue_types]
        for kind in torch.unique(residue_types[counts == 0]):
            raise ValueError(f"beads {self.mapping} have no beads of {self.residue_names[int(kind)]}")
        n_beads = int(counts.sum())
        if beads.shape[1] != n_beads:
            raise ValueError(f"beads has {beads.shape[1]} beads a frame; these residues have {n_beads}")
        residues = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        types = residue_types[residues]
        place = torch.arange(n_beads, device=counts.device) - (counts.cumsum(0) - counts)[residues]
        main = self.main_beads[types]
        columns = (place + (place < main).long()).masked_fill(place == main, 0)
        return BeadTable(residues, columns, self.bead_weights[types, place])

    def _main(self, table: BeadTable) -> Tensor:
        """Return the main bead (residues,) of each residue."""
        return torch.nonzero(table.columns == 0).squeeze(-1)

    def _links(self, main: Tensor, chain_offsets: Tensor) -> Tensor:
        index = chain_index(chain_offsets)
        apart = torch.linalg.vector_norm(main[0, 1:] - main[0, :-1], dim=-1)
        linked = torch.zeros_like(index, dtype=torch.bool)
        linked[:-1] = (apart < self.longest_bond_nm + self.reach_nm) & (index[1:] == index[:-1])
        return linked

    def _build(
        self,
        beads: Tensor,
        table: BeadTable,
        chain: Chain,
        terms: dict[str, Tensor],
        numbers: Tensor,
        box: Tensor | None,
        samples: int,
        seed: int,
        bead_noise: float,
    ) -> Tensor:
        """Build atoms near the origin, where single precision is most accurate, and move them back."""
        exact = beads.double()
        origin = exact[:, :1]
        near = torch.round(exact - origin, decimals=self.decimals).float()
        estimate, deviation = self.estimator(near, table, chain)
        noise = torch.full_like(deviation[:, 0], max(bead_noise, 0.0), dtype=torch.float64)
        if bead_noise == 0:
            noise = self.estimator.estimate_noise(near, estimate, table, chain)
        spread = (deviation.double().square() + noise.square()[:, None]).sqrt()
        evidence = BeadEvidence(table, near, self.tolerance_per_noise * noise.float())
        atoms = self._draw(estimate, spread, evidence, chain, terms, numbers, box, samples, seed)
        for attempt in range(1, self.redraws + 1):
            strained = self.fit.strained(atoms, terms)
            rows = torch.nonzero(strained.any(dim=-1).any(dim=0)).squeeze(-1)
            if len(rows) > 0:
                some = BeadEvidence(table, near[rows], evidence.tolerance_nm[rows])
                cell = box[rows] if box is not None else None
                redrawn = self._draw(
                    estimate[rows],
                    spread[rows],
                    some,
                    chain,
                    terms,
                    numbers[rows],
                    cell,
                    samples,
                    seed + attempt * self.seed_of_redraws,
                )
                atoms[:, rows] = self._replace(atoms[:, rows], redrawn, some, chain, terms, cell)
        return (atoms.double() + origin.unsqueeze(2)).to(beads.dtype)

    def _draw(
        self,
        estimate: Tensor,
        spread: Tensor,
        evidence: BeadEvidence,
        chain: Chain,
        terms: dict[str, Tensor],
        numbers: Tensor,
        box: Tensor | None,
        samples: int,
        seed: int,
    ) -> Tensor:
        """Draw C-alphas and atoms (samples, frames, residues, 15, 3), and fit them to their beads."""
        alike = stream_keys(seed, samples, torch.zeros_like(numbers))
        c_alpha, _ = self.c_alphas(estimate, chain, alike, box, 0.0, spread)
        keys = stream_keys(seed, samples, numbers)
        atoms = self.model.draw(c_alpha, chain, keys, None, box, None, evidence)
        return self._fit(atoms, evidence, terms, box)

    def _fit(
        self, atoms: Tensor, evidence: BeadEvidence, terms: dict[str, Tensor], box: Tensor | None
    ) -> Tensor:
        cell = box.repeat(len(atoms), 1, 1) if box is not None else None
        repeated = of_samples(evidence, len(atoms))
        return self.fit.fit(atoms.flatten(0, 1), repeated, terms, cell).view_as(atoms)

    def _replace(
        self,
        atoms: Tensor,
        redrawn: Tensor,
        evidence: BeadEvidence,
        chain: Chain,
        terms: dict[str, Tensor],
        box: Tensor | None,
    ) -> Tensor:
        """Replace strained residues by redrawn ones; a structure stays if it would have no fewer of them."""
        strained, still = self.fit.strained(atoms, terms), self.fit.strained(redrawn, terms)
        joined = self._fit(put_in_redrawn(atoms, redrawn, strained, still, chain), evidence, terms, box)
        better = self.fit.strained(joined, terms).sum(dim=-1) < strained.sum(dim=-1)
        return torch.where(better[:, :, None, None, None], joined, atoms)
