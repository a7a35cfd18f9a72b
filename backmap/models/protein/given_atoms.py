"""Atoms given besides the C-alphas, which are kept while the others are built. For TorchScript, too."""

from typing import NamedTuple

import torch
from torch import Tensor

from backmap import chemistry
from backmap.models.chain import Chain


class Given(NamedTuple):
    """Given atoms.

    Attributes
    ----------
    atoms : Tensor, (frames, residues, 15, 3) float32
        In nm, relative to the same origin as the C-alphas; arbitrary where an atom is not given.
    present : Tensor, (residues, 15) bool
        Atoms that are given, the same in all frames.
    """

    atoms: Tensor
    present: Tensor


def usable(given: Given, atom_mask: Tensor, chain: Chain) -> Given:
    """Remove C-alphas, which are given separately, and atoms that the residue type does not have.

    ``atom_mask`` is as for :func:`standing_atoms`.
    """
    present = given.present & standing_atoms(atom_mask, chain)
    present[:, chemistry.SLOT_CA] = False
    return Given(given.atoms.masked_fill(~present[:, :, None], 0.0), present)


def of_samples(given: Given, samples: int) -> Given:
    """Repeat the frames for each sample: samples x frames, samples first."""
    return Given(given.atoms.repeat(samples, 1, 1, 1), given.present)


def of_sites(given: Given) -> Given:
    """Flatten to frames x residues sites: atoms (n, 15, 3) and present (n, 15)."""
    present = given.present.expand(given.atoms.shape[:3])
    return Given(given.atoms.flatten(0, 1), present.flatten(0, 1))


def cut_given(given: Given, first: int, last: int) -> Given:
    """Return the sites from ``first`` up to ``last``."""
    return Given(given.atoms[first:last], given.present[first:last])


def keep_given(given: Given, built: Tensor, first: int, last: int) -> Tensor:
    """Replace built atoms (..., slots, 3) in the slots from ``first`` up to ``last`` by given ones."""
    return torch.where(given.present[..., first:last, None], given.atoms[..., first:last, :], built)


def standing_atoms(atom_mask: Tensor, chain: Chain) -> Tensor:
    """Return the atoms (residues, 15) of a finished structure, with OXT at the ends of segments.

    ``atom_mask`` (20, 15) bool are the atoms of each residue type, :data:`backmap.chemistry.ATOM_MASK`.
    """
    atoms = atom_mask[chain.types]
    atoms[:, chemistry.SLOT_OXT] = ~chain.linked
    return atoms
