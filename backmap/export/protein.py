"""Protein models as one self-contained module on plain tensors, for TorchScript."""

from typing import Any, Final, Optional

import torch
from torch import Tensor, nn

from backmap.chemistry import ATOM_MASK, HEAVY_ATOMS, RESIDUE_NAMES, SLOT_CA, SLOT_OXT
from backmap.export.arguments import (
    chain_index,
    check_bonds,
    check_draw,
    check_frames,
    check_offsets,
    check_positions,
    check_sequence,
    check_vector,
)
from backmap.export.diamondback import DiamondbackDrawer
from backmap.inference.c_alpha_rule import MAX_BEAD_NOISE_NM
from backmap.inference.protein_job import POSITION_DECIMALS
from backmap.models.c_alpha_posterior import CAlphaPosterior
from backmap.models.chain import Chain, linked_residues
from backmap.models.counter_random import stream_keys
from backmap.models.protein.model import ProteinModel

RESIDUES_AT_ONCE = 8192
"""Residues, over samples and frames, that are built together, which bounds the memory."""


class ExportedProtein(nn.Module):
    """Builds all heavy atoms of proteins from C-alphas, residue types and chain offsets.

    Parameters
    ----------
    model : ProteinModel or DiamondbackDrawer
        Draws structures.

    Attributes
    ----------
    family, length_unit : str
        ``protein`` or ``diamondback``, and ``nm``.
    residue_names : list of str
        The residue types in the order of their indices.
    atom_names : list of list of str
        Atoms in the 15 slots of each residue type; empty strings for unused slots. OXT, the last, occurs at
        chain ends only.
    """

    atom_mask: Tensor
    residues_at_once: Final = RESIDUES_AT_ONCE
    slot_ca: Final = SLOT_CA
    slot_oxt: Final = SLOT_OXT
    max_bead_noise_nm: Final = MAX_BEAD_NOISE_NM
    decimals: Final = POSITION_DECIMALS

    def __init__(self, model: ProteinModel | DiamondbackDrawer) -> None:
        super().__init__()
        self.model = model
        self.c_alphas = CAlphaPosterior()
        self.family = "protein" if isinstance(model, ProteinModel) else "diamondback"
        self.length_unit = "nm"
        self.residue_names = list(RESIDUE_NAMES)
        self.atom_names = [slot_names(name) for name in RESIDUE_NAMES]
        self.register_buffer("atom_mask", torch.from_numpy(ATOM_MASK), persistent=False)

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
            these frames.
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
        self._check(c_alpha, residue_types, chain_offsets, samples, bead_noise)
        frames, residues = c_alpha.shape[0], c_alpha.shape[1]
        if numbers is None:
            numbers = torch.arange(frames, device=c_alpha.device)
        if linked is None:
            linked = self.find_links(c_alpha, chain_offsets)
        check_frames(numbers, linked, box, chain_offsets, frames, residues, c_alpha)
        if box is not None:
            box = box.float()
        check_bonds("c_alpha", c_alpha, linked)
        with torch.no_grad():
            mask = self.atom_mask[residue_types]
            mask[chain_offsets[1:] - 1, self.slot_oxt] = True
            chain = Chain(residue_types, chain_index(chain_offsets), linked)
            keys = stream_keys(seed, samples, numbers)
            atoms = c_alpha.new_zeros([samples, frames, residues, mask.shape[1], 3])
            step = max(1, self.residues_at_once // (samples * residues))
            for first in range(0, frames, step):
                last = min(first + step, frames)
                part = box[first:last] if box is not None else None
                atoms[:, first:last] = self._build(
                    c_alpha[first:last], chain, keys[:, first:last], part, seed, bead_noise
                )
            return atoms.masked_fill_(~mask.unsqueeze(-1), 0.0), mask

    def _build(
        self,
        c_alpha: Tensor,
        chain: Chain,
        keys: Tensor,
        box: Tensor | None,
        seed: int,
        bead_noise: float,
    ) -> Tensor:
        """Build atoms near the origin, where single precision is most accurate, and move them back."""
        exact = c_alpha.double()
        origin = exact[:, :1]
        near = torch.round(exact - origin, decimals=self.decimals).float()
        stays = torch.ones_like(keys[0], dtype=torch.bool)
        if bead_noise >= 0:
            # As in backmap.inference.c_alphas: consecutive frames move alike.
            alike = stream_keys(seed, keys.shape[0], torch.zeros_like(keys[0]))
            noise: Optional[Tensor] = None  # noqa: UP045
            if bead_noise > 0:
                noise = torch.full_like(exact[:, :, 0], bead_noise)
            drawn, moves = self.c_alphas(near, chain, alike, box, 0.0, noise)
            stays = ~moves
            if bool(moves.any()):
                near = drawn
        atoms = self.model.draw(near, chain, keys, None, box).double() + origin.unsqueeze(2)
        atoms[:, stays, :, self.slot_ca] = exact[stays]
        return atoms.to(c_alpha.dtype)

    @torch.jit.export
    def find_links(self, c_alpha: Tensor, chain_offsets: Tensor) -> Tensor:
        """Return which residues (residues,) bool are bonded to their successor.

        Neighbours in a chain whose distance in the first of the frames (frames, residues, 3) is outside the
        range of bonds are a chain break.
        """
        check_positions("c_alpha", c_alpha, [-1, -1, 3], self.atom_mask)
        check_offsets(chain_offsets, c_alpha.shape[1], c_alpha)
        return linked_residues(c_alpha, chain_index(chain_offsets))

    @torch.jit.unused
    def describe(self) -> dict[str, Any]:
        """Return the entries of the file's metadata that describe the model."""
        return {"residue_names": self.residue_names, "atom_names": self.atom_names}

    def _check(
        self,
        c_alpha: Tensor,
        residue_types: Tensor,
        chain_offsets: Tensor,
        samples: int,
        bead_noise: float,
    ) -> None:
        check_positions("c_alpha", c_alpha, [-1, -1, 3], self.atom_mask)
        check_vector("residue_types", residue_types, torch.int64, c_alpha.shape[1], c_alpha)
        check_sequence(residue_types, chain_offsets, len(self.residue_names), c_alpha)
        check_draw(samples, bead_noise, self.max_bead_noise_nm, "C-alphas")


def slot_names(residue: str) -> list[str]:
    """Return the atom names in the 15 slots of a residue type."""
    atoms = HEAVY_ATOMS[residue]
    return [*atoms, *[""] * (SLOT_OXT - len(atoms)), "OXT"]
