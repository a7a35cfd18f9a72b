"""Sampling of C-alphas around the beads of coarse-grained models."""

import torch
from torch import Tensor


def c_alpha_energy(
    c_alpha: Tensor,
    kinds: Tensor,
    weights: Tensor,
    table: Tensor,
    *,
    first_angle: float,
    last_angle: float,
    following: Tensor | None = None,
) -> Tensor:
    """Look up the energy of every window of four consecutive C-alphas.

    A window is a residue and its three successors. Its energy is interpolated in a table of its two angles
    and the dihedral between them by quadratic B-splines of three nodes along each axis, so that gradients are
    continuous. Beyond half a step inside the ends of the table, the energy is extrapolated linearly.

    Parameters
    ----------
    c_alpha : Tensor (*, residues, 3), float32 or float64
        In nm.
    kinds : Tensor (residues,), int64
        Index of the table for the window of each residue.
    weights : Tensor (*, residues), dtype of `c_alpha`
        Factor on each window's energy; windows with weight 0 are skipped.
    table : Tensor (kinds, angles, dihedrals, angles), dtype of `c_alpha`
        Energies in kT. Angles run from `first_angle` to `last_angle`, dihedrals from -pi in equal steps.
    first_angle, last_angle : float
        In radians.
    following : Tensor (residues,), int64, optional
        The residue after each, which is the next one or, after the last of a ring, its first; -1 for none.
        By default each residue is followed by the next.

    Returns
    -------
    Tensor (*, residues), dtype of `c_alpha`
        Energy in kT of the window that begins at each residue; 0 for the last three of a chain.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value.

    Notes
    -----
    The result has no gradient.
    """
    return torch.ops.backmap.c_alpha_energy(
        c_alpha, kinds, weights, table, first_angle, last_angle, following
    )


def draw_c_alphas(
    beads: Tensor,
    noise: Tensor,
    bonds: Tensor,
    kinds: Tensor,
    weights: Tensor,
    table: Tensor,
    keys: Tensor,
    steps: Tensor,
    *,
    first_angle: float,
    last_angle: float,
    temperature: float,
    step_size: float,
    largest_step: float,
    contact_distance: float,
    contact_strength: float,
    box: Tensor | None = None,
    following: Tensor | None = None,
    other_keys: Tensor | None = None,
    turns: Tensor | None = None,
) -> Tensor:
    """Draw C-alphas near beads by Langevin dynamics with annealing and fixed bond lengths.

    The energy, in kT, is the sum of :func:`c_alpha_energy`, of ``|c_alpha - bead|^2 / (2 noise^2)``, and of
    ``contact_strength * (contact_distance - distance)^2`` over pairs that are closer than `contact_distance`
    and are more than two bonds apart. Step n of N moves every residue by

        -m gradient + sqrt(2 m temperature (N - 1 - n) / N) r,  m = min(step_size, noise^2 / 2),

    but by at most `largest_step`, where r is a vector of nearly normal random numbers (sums of four uniform
    numbers) hashed from (key, n, residue, axis). With `other_keys`, r is cos(turn) times that of the one
    stream plus sin(turn) times that of the other, so that frames whose turns differ little move alike. Two
    rounds then restore the bonds, first the even, then the odd ones, then those that close rings, by moving
    both ends equally. Twenty rounds precede the first and follow the last step.

    Where an angle is above 160 or below 20 degrees, the force on the dihedral is damped: it vanishes on a
    straight line instead of diverging.

    Pairs are searched every ten steps, up to 0.1 nm beyond contact; each residue keeps the 32 partners with
    the lowest indices.

    Parameters
    ----------
    beads : Tensor (*, residues, 3), float32 or float64
        In nm, molecules whole.
    noise : Tensor (*, residues), dtype of `beads`
        Standard deviation of each coordinate in nm; residues with 0 do not move.
    bonds : Tensor (*, residues), dtype of `beads`
        Length in nm of the bond from each residue to its successor; 0 without a bond.
    kinds, weights, table, first_angle, last_angle
        As for :func:`c_alpha_energy`.
    keys : Tensor (*), int64
        Random stream of each frame.
    steps : Tensor (*), int64
        Number of steps of each frame, at most 100 000; frames with 0 are unchanged.
    temperature : float
        Temperature of the first step, in units of the temperature of the energies.
    step_size : float
        Maximum mobility in nm^2 / kT.
    largest_step : float
        In nm.
    contact_distance : float
        In nm.
    contact_strength : float
        In kT / nm^2.
    box : Tensor (*, 3, 3) or (3, 3), dtype of `beads`, optional
        Vectors of periodic boxes in nm, as rows, in reduced form; contacts are between nearest images.
    following : Tensor (residues,), int64, optional
        As for :func:`c_alpha_energy`; bonds lead from each residue to the one that follows it.
    other_keys : Tensor (*), int64, optional
        Second random stream of each frame.
    turns : Tensor (*), dtype of `beads`, optional
        Angle in radians from the first stream to the second; required with `other_keys`.

    Returns
    -------
    Tensor (*, residues, 3), dtype of `beads`
        In nm.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value.

    Notes
    -----
    The result has no gradient. The same arguments give the same result for any number of threads. CPU and
    CUDA sum in different orders, and many steps amplify rounding.
    """
    return torch.ops.backmap.draw_c_alphas(
        beads,
        noise,
        bonds,
        kinds,
        weights,
        table,
        keys,
        steps,
        first_angle,
        last_angle,
        temperature,
        step_size,
        largest_step,
        contact_distance,
        contact_strength,
        box,
        following,
        other_keys,
        turns,
    )
