"""What exported models of proteins share: whole systems on plain tensors, built in chunks of frames."""

from typing import Any

import torch
from torch import Tensor, nn

from backmap.chemistry import ATOM_MASK, HEAVY_ATOMS, RESIDUE_NAMES, SLOT_OXT
from backmap.export.arguments import chain_index, check_bonds, check_draw, check_frames, check_rings
from backmap.inference.c_alpha_rule import MAX_BEAD_NOISE_NM
from backmap.inference.protein_job import POSITION_DECIMALS
from backmap.models.chain import Chain

RESIDUES_AT_ONCE = 8192
"""Residues, over samples and frames, that are built together, which bounds the memory."""


class ExportedBuilder(nn.Module):
    """Builds the frames of a protein in chunks; subclasses build a chunk near the origin.

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

    # Not Final: TorchScript reads the annotations of the subclass only.
    __constants__ = ("residues_at_once", "slot_oxt", "max_bead_noise_nm", "decimals")
    atom_mask: Tensor
    residues_at_once = RESIDUES_AT_ONCE
    slot_oxt = SLOT_OXT
    max_bead_noise_nm = MAX_BEAD_NOISE_NM
    decimals = POSITION_DECIMALS

    def __init__(self, family: str) -> None:
        super().__init__()
        self.family = family
        self.length_unit = "nm"
        self.residue_names = list(RESIDUE_NAMES)
        self.atom_names = [_slot_names(name) for name in RESIDUE_NAMES]
        self.register_buffer("atom_mask", torch.from_numpy(ATOM_MASK), persistent=False)

    def build_all(
        self,
        name: str,
        positions: Tensor,
        main: Tensor,
        residue_types: Tensor,
        chain_offsets: Tensor,
        samples: int,
        seed: int,
        numbers: Tensor | None,
        linked: Tensor,
        box: Tensor | None,
        bead_noise: float,
        reach_nm: float,
    ) -> tuple[Tensor, Tensor]:
        """Build all frames from positions (frames, n, 3) called ``name``.

        ``main`` (frames, residues, 3) are those that lead the chain, which may be ``reach_nm`` farther apart
        than C-alphas. The other arguments and the result are those of ``forward``.
        """
        check_draw(samples, bead_noise, self.max_bead_noise_nm, name)
        frames, residues = main.shape[0], main.shape[1]
        if numbers is None:
            numbers = torch.arange(frames, device=positions.device)
        check_frames(numbers, linked, box, frames, residues, positions)
        check_rings(linked, chain_offsets, self.family == "protein")
        if box is not None:
            box = box.float()
        chain = Chain(residue_types, chain_index(chain_offsets), linked)
        check_bonds(name, main, chain.following, reach_nm)
        with torch.no_grad():
            mask = self.atom_mask[residue_types]
            ends = chain_offsets[1:] - 1
            mask[ends, self.slot_oxt] = ~linked[ends]
            protein = self.prepare(chain)
            atoms = positions.new_zeros([samples, frames, residues, mask.shape[1], 3])
            step = max(1, self.residues_at_once // (samples * residues))
            for first in range(0, frames, step):
                last = min(first + step, frames)
                # Near the origin, where single precision is most accurate.
                exact = positions[first:last].double()
                origin = exact[:, :1]
                built, stays = self.build(
                    torch.round(exact - origin, decimals=self.decimals).float(),
                    protein,
                    numbers[first:last],
                    box[first:last] if box is not None else None,
                    samples,
                    seed,
                    bead_noise,
                )
                moved = built.double() + origin.unsqueeze(2)
                atoms[:, first:last] = self.put_back(moved, exact, stays, protein).to(atoms.dtype)
            return atoms.masked_fill_(~mask.unsqueeze(-1), 0.0), mask

    @torch.jit.unused
    def prepare(self, chain: Chain) -> Any:
        """Return what :meth:`build` needs to know of a protein."""
        raise NotImplementedError

    @torch.jit.unused
    def build(
        self,
        near: Tensor,
        protein: Any,
        numbers: Tensor,
        box: Tensor | None,
        samples: int,
        seed: int,
        bead_noise: float,
    ) -> tuple[Tensor, Tensor]:
        """Build frames.

        Parameters
        ----------
        near : Tensor, (frames, n, 3) float32
            Positions near the origin, in nm.
        protein : object
            From :meth:`prepare`.
        numbers, box, samples, seed, bead_noise
            As for ``forward``.

        Returns
        -------
        Tensor, (samples, frames, residues, 15, 3)
            In nm.
        Tensor, (frames,) bool
            Frames in which positions that are atoms stay in place.
        """
        raise NotImplementedError

    @torch.jit.unused
    def put_back(self, atoms: Tensor, positions: Tensor, stays: Tensor, protein: Any) -> Tensor:
        """Return atoms (samples, frames, residues, 15, 3) with those that stay exactly in place."""
        raise NotImplementedError

    @torch.jit.unused
    def describe(self) -> dict[str, Any]:
        """Return the entries of the file's metadata that describe the model."""
        return {"residue_names": self.residue_names, "atom_names": self.atom_names}


def _slot_names(residue: str) -> list[str]:
    """Return the atom names in the 15 slots of a residue type."""
    atoms = HEAVY_ATOMS[residue]
    return [*atoms, *[""] * (SLOT_OXT - len(atoms)), "OXT"]
