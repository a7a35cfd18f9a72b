"""The protein model on the beads of a mapping, as one self-contained module on plain tensors."""

from typing import Any

import torch
from torch import Tensor

from backmap.chemistry import ATOM_SLOTS, RESIDUE_NAMES
from backmap.chemistry.bead_mapping import BeadMapping
from backmap.export.arguments import chain_index, check_positions, check_sequence
from backmap.export.builder import ExportedBuilder
from backmap.models.beads.estimator import CAlphaEstimator
from backmap.models.beads.evidence import BeadTable
from backmap.models.beads.structures import BeadedChain, BeadStructures
from backmap.models.chain import Chain, linked_residues
from backmap.models.protein.model import ProteinModel


class ExportedBeads(ExportedBuilder):
    """Builds all heavy atoms of proteins from the beads of one mapping, residue types and chain offsets.

    Parameters
    ----------
    model : ProteinModel
        Draws structures.
    mapping : BeadMapping
        What the beads are.
    estimator : CAlphaEstimator, optional
        Estimates C-alphas, if they are no beads.

    Attributes
    ----------
    mapping : str
        Name of the mapping.
    bead_names : list of list of str
        The beads of each residue type in their order; empty for residues that the mapping does not have.
    """

    atom_mask: Tensor
    bead_weights: Tensor
    bead_counts: Tensor
    main_beads: Tensor

    def __init__(
        self, model: ProteinModel, mapping: BeadMapping, estimator: CAlphaEstimator | None = None
    ) -> None:
        super().__init__("protein")
        self.structures = BeadStructures(model, estimator)
        self.mapping = mapping.name
        self.reach_nm = mapping.reach_nm
        self.bead_names = [[bead.name for bead in mapping.beads.get(name, ())] for name in RESIDUE_NAMES]
        counts = torch.tensor([len(names) for names in self.bead_names])
        weights = torch.zeros(len(RESIDUE_NAMES), int(counts.max()), ATOM_SLOTS)
        main = torch.zeros_like(counts)
        for kind in torch.nonzero(counts).flatten().tolist():
            layout = mapping.layout(torch.tensor([kind]).numpy())
            weights[kind, : counts[kind]] = torch.from_numpy(layout.weights).float()
            main[kind] = int(layout.main[0])
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
        main = self._main(beads, residue_types, chain_offsets)
        if linked is None:
            linked = linked_residues(main, chain_index(chain_offsets), self.reach_nm)
        return self.build_all(
            "beads",
            beads,
            main,
            residue_types,
            chain_offsets,
            samples,
            seed,
            numbers,
            linked,
            box,
            bead_noise,
            self.reach_nm,
        )

    def prepare(self, chain: Chain) -> BeadedChain:
        """Find out what is to be known of a protein."""
        return self.structures.prepare(chain, self._table(chain.types))

    def build(
        self,
        near: Tensor,
        protein: BeadedChain,
        numbers: Tensor,
        box: Tensor | None,
        samples: int,
        seed: int,
        bead_noise: float,
    ) -> tuple[Tensor, Tensor]:
        """Build frames on beads."""
        frames = self.structures.describe(near, protein, numbers, bead_noise, 0.0, box)
        return self.structures.build(frames, protein, samples, seed), ~frames.draws

    def put_back(self, atoms: Tensor, positions: Tensor, stays: Tensor, protein: BeadedChain) -> Tensor:
        """Put beads that are atoms exactly in place."""
        seen, frames = protein.atom_slots >= 0, torch.nonzero(stays)
        residues, slots = protein.table.residues[seen], protein.atom_slots[seen]
        atoms[:, frames, residues, slots] = positions[frames, torch.nonzero(seen).squeeze(-1)]
        return atoms

    @torch.jit.export
    def find_links(self, beads: Tensor, residue_types: Tensor, chain_offsets: Tensor) -> Tensor:
        """Return which residues (residues,) bool are bonded to their successor.

        Neighbours in a chain whose main beads are too far apart in the first frame are a chain break.
        """
        main = self._main(beads, residue_types, chain_offsets)
        return linked_residues(main, chain_index(chain_offsets), self.reach_nm)

    @torch.jit.unused
    def describe(self) -> dict[str, Any]:
        """Return the entries of the file's metadata that describe the model."""
        return {
            "residue_names": self.residue_names,
            "atom_names": self.atom_names,
            "beads": self.mapping,
            "bead_names": self.bead_names,
        }

    def _main(self, beads: Tensor, residue_types: Tensor, chain_offsets: Tensor) -> Tensor:
        """Check beads and sequence, and return the main bead (frames, residues, 3) of each residue."""
        check_positions("beads", beads, [-1, -1, 3], self.atom_mask)
        check_sequence(residue_types, chain_offsets, len(self.residue_names), beads)
        counts = self.bead_counts[residue_types]
        for kind in torch.unique(residue_types[counts == 0]):
            raise ValueError(f"beads {self.mapping} have no beads of {self.residue_names[int(kind)]}")
        n_beads = int(counts.sum())
        if beads.shape[1] != n_beads:
            raise ValueError(f"beads has {beads.shape[1]} beads a frame; these residues have {n_beads}")
        return beads[:, counts.cumsum(0) - counts + self.main_beads[residue_types]]

    def _table(self, residue_types: Tensor) -> BeadTable:
        """Return which beads the residues have."""
        counts = self.bead_counts[residue_types]
        residues = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        types, first = residue_types[residues], counts.cumsum(0) - counts
        place = torch.arange(len(residues), device=counts.device) - first[residues]
        main = self.main_beads[types]
        columns = (place + (place < main).long()).masked_fill(place == main, 0)
        return BeadTable(residues, columns, self.bead_weights[types, place])
