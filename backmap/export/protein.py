"""Protein models as one self-contained module on plain tensors, for TorchScript."""

from typing import Final, Optional

import torch
from torch import Tensor

from backmap.chemistry import SLOT_CA
from backmap.export.arguments import (
    chain_index,
    check_offsets,
    check_positions,
    check_sequence,
    check_vector,
)
from backmap.export.builder import ExportedBuilder
from backmap.export.diamondback import DiamondbackDrawer
from backmap.models.c_alpha_posterior import CAlphaPosterior
from backmap.models.chain import Chain, linked_residues
from backmap.models.counter_random import stream_keys
from backmap.models.protein.model import ProteinModel


class ExportedProtein(ExportedBuilder):
    """Builds all heavy atoms of proteins from C-alphas, residue types and chain offsets.

    Parameters
    ----------
    model : ProteinModel or DiamondbackDrawer
        Draws structures.
    """

    atom_mask: Tensor
    slot_ca: Final = SLOT_CA

    def __init__(self, model: ProteinModel | DiamondbackDrawer) -> None:
        super().__init__("protein" if isinstance(model, ProteinModel) else "diamondback")
        self.model = model
        self.c_alphas = CAlphaPosterior()

    def forward(
        self,
        c_alpha: Tensor,
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
        c_alpha : Tensor, (frames, residues, 3) float32 or float64
            In nm, on the model's device, like all other tensors.
        residue_types : Tensor, (residues,) int64
            Index into ``residue_names``.
        chain_offsets : Tensor, (chains + 1,) int64
            First residue of each chain, and the number of residues.
        samples : int
            Independent structures per frame.
        seed : int
            Seed of the random numbers.
        numbers : Tensor, (frames,) int64, optional
            Numbers of the frames, which determine the random numbers; from 0 by default. With the same
            numbers and ``linked``, frames give the same result in pieces as all at once.
        linked : Tensor, (residues,) bool, optional
            Which residues are bonded to their successor; by default the result of :meth:`find_links` for
            these frames. If the last residue of a chain is, it is bonded to the first: the chain is a ring.
        box : Tensor, (frames, 3, 3) float32 or float64, optional
            Vectors of periodic boxes in nm, as rows, in the reduced form of GROMACS and OpenMM. Molecules
            must be whole. DiAMoNDBack ignores it.
        bead_noise : float
            Standard deviation in nm of each bead coordinate, from which C-alphas are drawn. With 0 it is
            estimated, and C-alphas of frames without noise are kept. With -1 all C-alphas are kept.

        Returns
        -------
        Tensor, (samples, frames, residues, 15, 3), dtype of ``c_alpha``
            In nm; zero where there is no atom.
        Tensor, (residues, 15) bool
            Which atoms exist.

        Raises
        ------
        ValueError
            If an argument is invalid; the message says why. In C++ this is a ``std::exception``.
        """
        check_positions("c_alpha", c_alpha, [-1, -1, 3], self.atom_mask)
        check_vector("residue_types", residue_types, torch.int64, c_alpha.shape[1], c_alpha)
        check_sequence(residue_types, chain_offsets, len(self.residue_names), c_alpha)
        if linked is None:
            linked = self.find_links(c_alpha, chain_offsets)
        return self.build_all(
            "c_alpha",
            c_alpha,
            c_alpha,
            residue_types,
            chain_offsets,
            samples,
            seed,
            numbers,
            linked,
            box,
            bead_noise,
            0.0,
        )

    def prepare(self, chain: Chain) -> Chain:
        """Return the chain itself."""
        return chain

    def build(
        self,
        near: Tensor,
        protein: Chain,
        numbers: Tensor,
        box: Tensor | None,
        samples: int,
        seed: int,
        bead_noise: float,
    ) -> tuple[Tensor, Tensor]:
        """Build frames on C-alphas, drawn near those of noisy frames."""
        stays = torch.ones_like(numbers, dtype=torch.bool)
        if bead_noise >= 0:
            # As in backmap.inference.c_alphas: consecutive frames move alike.
            alike = stream_keys(seed, samples, torch.zeros_like(numbers))
            noise: Optional[Tensor] = None  # noqa: UP045
            if bead_noise > 0:
                noise = torch.full_like(near[:, :, 0], bead_noise, dtype=torch.float64)
            drawn, moves = self.c_alphas(near, protein, alike, box, 0.0, noise)
            stays = ~moves
            if bool(moves.any()):
                near = drawn
        return self.model.draw(near, protein, stream_keys(seed, samples, numbers), None, box), stays

    def put_back(self, atoms: Tensor, positions: Tensor, stays: Tensor, protein: Chain) -> Tensor:
        """Put C-alphas exactly in place."""
        atoms[:, stays, :, self.slot_ca] = positions[stays]
        return atoms

    @torch.jit.export
    def find_links(self, c_alpha: Tensor, chain_offsets: Tensor) -> Tensor:
        """Return which residues (residues,) bool are bonded to their successor.

        Neighbours in a chain whose distance in the first of the frames (frames, residues, 3) is outside the
        range of bonds are a chain break.
        """
        check_positions("c_alpha", c_alpha, [-1, -1, 3], self.atom_mask)
        check_offsets(chain_offsets, c_alpha.shape[1], c_alpha)
        return linked_residues(c_alpha, chain_index(chain_offsets))
