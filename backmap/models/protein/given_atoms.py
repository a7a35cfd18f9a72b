"""Atoms that are given besides the C-alphas: kept where they are, while the others are built."""

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


def usable(given: Given, chain: Chain) -> Given:
    """Leave out C-alphas, which come by themselves, and atoms that no residue of the type has."""
    present = given.present & standing_atoms(chain)
    present[:, SLOT_CA] = False
    return Given(given.atoms.masked_fill(~present[:, :, None], 0.0), present)


def of_samples(given: Given, samples: int) -> Given:
    """Repeat for samples x frames, samples first."""
    return Given(given.atoms.repeat(samples, 1, 1, 1), given.present)


def of_sites(given: Given) -> Given:
    """Flatten to frames x residues sites: atoms (n, 15, 3), present (n, 15)."""
    present = given.present.expand(given.atoms.shape[:3])
    return Given(given.atoms.flatten(0, 1), present.flatten(0, 1))


def cut_given(given: Given, first: int, last: int) -> Given:
    """The sites from ``first`` up to ``last``."""
    return Given(given.atoms[first:last], given.present[first:last])


def keep_given(given: Given, built: Tensor, first: int, last: int) -> Tensor:
    """Put given atoms in the place of built ones (..., slots, 3), the slots from ``first`` up to ``last``."""
    return torch.where(given.present[..., first:last, None], given.atoms[..., first:last, :], built)


def standing_atoms(chain: Chain) -> Tensor:
    """(residues, 15) bool: atoms of a finished structure, OXT where a residue has no bonded successor."""
    atoms = torch.from_numpy(ATOM_MASK).to(chain.types.device)[chain.types]
    atoms[:, SLOT_OXT] = ~chain.linked
    return atoms
