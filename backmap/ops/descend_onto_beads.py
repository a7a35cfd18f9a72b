"""Descent of atoms down an energy, while weighted means of them stay on beads."""

import torch
from torch import Tensor


def descent_places(springs: Tensor, centres: Tensor, parts: Tensor, n_atoms: int, n_beads: int) -> Tensor:
    """Group the lists of `descend_onto_beads` by atom and by bead, for many calls with the same lists.

    Can be compiled by TorchScript.

    Parameters
    ----------
    springs : Tensor (springs, 2), int64
        As for `descend_onto_beads`.
    centres : Tensor (centres, 4), int64
        The same.
    parts : Tensor (parts, 2), int64
        The same.
    n_atoms, n_beads : int
        Number of atoms and of beads in a frame.

    Returns
    -------
    Tensor (3 (atoms + 1) + beads + 1 + 2 springs + 4 centres + 2 parts,), int64
        For ends of springs, corners of centres and parts by atom, and for parts by bead: where those of each
        atom (bead) begin, and their places in the flattened list, one after another.
    """
    pieces: list[Tensor] = []
    for items, n_items in (
        (springs.flatten(), n_atoms),
        (centres.flatten(), n_atoms),
        (parts[:, 1], n_atoms),
        (parts[:, 0], n_beads),
    ):
        order = torch.argsort(items, dim=0, stable=True)
        every = torch.arange(n_items + 1, device=items.device)
        pieces += [torch.searchsorted(items[order], every), order]
    return torch.cat(pieces)


def descend_onto_beads(
    atoms: Tensor,
    before: Tensor,
    slope: Tensor,
    springs: Tensor,
    spring_length: Tensor,
    spring_stiffness: Tensor,
    centres: Tensor,
    volume: Tensor,
    volume_stiffness: Tensor,
    links: Tensor,
    link_length: Tensor,
    link_stiffness: Tensor,
    parts: Tensor,
    weight: Tensor,
    pull: Tensor,
    beads: Tensor,
    share: Tensor,
    *,
    steps: int,
    step_size: float,
    momentum: float,
    largest_step: float,
    places: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Move atoms down the gradient of an energy with momentum, onto their beads after each step.

    The energy is the sum of ``stiffness (distance - length)^2`` over springs and links, of
    ``stiffness (V - volume)^2`` over centres, with V the triple product of the vectors from the first of four
    atoms to the other three, and of a term with a constant gradient, ``slope``. A step is that of Nesterov's
    accelerated gradient:

        y = x + momentum (x - x_before)
        x_before, x = x, y - step_size gradient(y)

    in which no atom moves farther from y than ``largest_step``. Then each bead pulls its atoms: with d the
    vector from the weighted sum of its atoms to the bead, each atom moves by the sum of ``pull share d`` over
    its beads. With the pull of the least motion, a share of 1 puts the sum on the bead, and a share of
    a / (1 + a) is an implicit step down ``|d|^2 / (2 noise^2)`` if a is step_size / noise^2 times the sum of
    squared weights.

    Parameters
    ----------
    atoms, before : Tensor (*, atoms, 3), float32 or float64
        Where atoms are, and where they were one step before, in nm.
    slope : Tensor (*, atoms, 3), dtype of `atoms`
        Gradient in kT/nm that stays the same in all steps.
    springs : Tensor (springs, 2), int64
        Pairs of atoms, the same in all frames.
    spring_length : Tensor (*, springs), dtype of `atoms`
        In nm.
    spring_stiffness : Tensor (springs,), dtype of `atoms`
        In kT/nm^2.
    centres : Tensor (centres, 4), int64
        An atom and three others around it, the same in all frames.
    volume : Tensor (*, centres), dtype of `atoms`
        In nm^3, signed.
    volume_stiffness : Tensor (centres,), dtype of `atoms`
        In kT/nm^6.
    links : Tensor (*, links, 2), int64
        Pairs of atoms of springs that differ between frames; -1 for none.
    link_length, link_stiffness : Tensor (*, links), dtype of `atoms`
        In nm and kT/nm^2.
    parts : Tensor (parts, 2), int64
        Bead and atom, for each atom that is part of a bead.
    weight, pull : Tensor (parts,), dtype of `atoms`
        Weight of the atom in the bead, and how far it moves per distance to the bead.
    beads : Tensor (*, beads, 3), dtype of `atoms`
        In nm.
    share : Tensor (*, beads), dtype of `atoms`
        Share of the way to its bead by which the image of a bead moves in each step, in [0, 1].
    steps : int
        Number of steps.
    step_size : float
        In nm^2/kT.
    momentum : float
        In [0, 1).
    largest_step : float
        In nm.
    places : Tensor (places,), int64, optional
        The lists by atom and by bead, from `descent_places` of the same lists; by default they are grouped in
        each call. Other places of the right form give wrong results, not errors.

    Returns
    -------
    Tensor (*, atoms, 3)
        Where atoms are after the last step.
    Tensor (*, atoms, 3)
        Where they were one step before, to go on from there.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value.

    Notes
    -----
    For inference only: there is no gradient. Frames are independent of each other, and the same frame gives
    the same result in every batch and for any number of threads.
    """
    return torch.ops.backmap.descend_onto_beads(
        atoms,
        before,
        slope,
        springs,
        spring_length,
        spring_stiffness,
        centres,
        volume,
        volume_stiffness,
        links,
        link_length,
        link_stiffness,
        parts,
        weight,
        pull,
        beads,
        share,
        steps,
        step_size,
        momentum,
        largest_step,
        places,
    )
