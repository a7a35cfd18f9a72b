"""Atoms that are given besides the C-alphas: kept where they are, while the others are built."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from backmap.chemistry import ATOM_MASK, SLOT_CA, SLOT_OXT
from backmap.models.chain import Chain


class Given(NamedTuple):
    """Atoms that are given.

    Attributes
    ----------
    atoms : Tensor, (frames, residues, 15, 3) float32
        In nm, relative to the same origin as the C-alphas; of no meaning where an atom is not given.
    present : Tensor, (residues, 15) bool
        Which atoms are given, the same in all frames.
    """

    atoms: Tensor
    present: Tensor

    def usable(self, chain: Chain) -> Given:
        """Leave out C-alphas, which come by themselves, and atoms that no residue of the type has."""
        present = self.present & standing_atoms(chain)
        present[:, SLOT_CA] = False
        return Given(self.atoms.masked_fill(~present[:, :, None], 0.0), present)

    def of_samples(self, samples: int) -> Given:
        """Repeat for samples x frames, samples first."""
        return Given(self.atoms.repeat(samples, 1, 1, 1), self.present)

    def of_sites(self) -> Given:
        """Flatten to frames x residues sites: atoms (n, 15, 3), present (n, 15)."""
        present = self.present.expand(self.atoms.shape[:3])
        return Given(self.atoms.flatten(0, 1), present.flatten(0, 1))

    def kept_in(self, built: Tensor, slots: slice = slice(None)) -> Tensor:
        """Put the given atoms of some slots (..., slots, 3) in the place of built ones."""
        return torch.where(self.present[..., slots, None], self.atoms[..., slots, :], built)


def standing_atoms(chain: Chain) -> Tensor:
    """(residues, 15) bool: atoms of a finished structure, OXT where a residue has no bonded successor."""
    atoms = torch.from_numpy(ATOM_MASK).to(chain.types.device)[chain.types]
    atoms[:, SLOT_OXT] = ~chain.linked
    return atoms
