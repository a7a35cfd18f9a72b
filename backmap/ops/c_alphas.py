"""C-alphas drawn about the beads of coarse-grained models."""

import torch
from torch import Tensor


def c_alpha_energy(
    c_alpha: Tensor, kinds: Tensor, weights: Tensor, table: Tensor, *, first_angle: float, last_angle: float
) -> Tensor:
    """Look up the energy of every four consecutive C-alphas.

    A window is a residue and its three successors. Its energy is interpolated in a table of its angles and
    the dihedral between them, by quadratic B-splines of three nodes along each: gradients are continuous. An
    angle beyond half a step inside the table's end continues linearly.

    Parameters
    ----------
    c_alpha : Tensor (*, residues, 3), float32 or float64
        In nm.
    kinds : Tensor (residues,), int64
        Which table the window of each residue is looked up in.
    weights : Tensor (*, residues), dtype of `c_alpha`
        Factor of each window's energy; a window with weight 0 is not looked at.
    table : Tensor (kinds, angles, dihedrals, angles), dtype of `c_alpha`
        Energies in kT. Angles from `first_angle` to `last_angle`, dihedrals in steps from -pi on.
    first_angle, last_angle : float
        In radians.

    Returns
    -------
    Tensor (*, residues), dtype of `c_alpha`
        Energy in kT of the window that begins at each residue; 0 for the last three.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value.

    Notes
    -----
    No gradient: the result is a constant, whatever the arguments require.
    """
    return torch.ops.backmap.c_alpha_energy(c_alpha, kinds, weights, table, first_angle, last_angle)


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
) -> Tensor:
    """Draw C-alphas near beads by Langevin dynamics that cool down, while bonds keep their lengths.

    The energy, in kT, is the sum of :func:`c_alpha_energy`, of ``|c_alpha - bead|^2 / (2 noise^2)``, and of
    ``contact_strength * (contact_distance - distance)^2`` over pairs that are closer than `contact_distance`
    and have more than two bonds between them. Step n of N moves every residue by

        -m gradient + sqrt(2 m temperature (N - 1 - n) / N) r,  m = min(step_size, noise^2 / 2),

    but by no more than `largest_step`; r is a vector of nearly normal random numbers (sums of four uniform
    ones), hashes of (key, n, residue, axis). Then two rounds restore the bonds, first the even ones, then the
    odd ones, by moving both ends equally. Twenty rounds come before the first and after the last step.

    Where an angle lies beyond 160 or below 20 degrees the pull on the dihedral is damped: it vanishes on a
    straight line instead of growing without bound.

    Pairs are searched for every ten steps up to 0.1 nm beyond contact, for each residue the 32 with the
    lowest numbers.

    Parameters
    ----------
    beads : Tensor (*, residues, 3), float32 or float64
        In nm, molecules whole.
    noise : Tensor (*, residues), dtype of `beads`
        Standard deviation of each coordinate in nm; a residue with 0 does not move.
    bonds : Tensor (*, residues), dtype of `beads`
        Length in nm of the bond of each residue to its successor, 0 where there is none.
    kinds, weights, table, first_angle, last_angle
        As for :func:`c_alpha_energy`.
    keys : Tensor (*), int64
        Random stream of each frame.
    steps : Tensor (*), int64
        Number of steps of each frame, at most 100 000; with 0 it stays as it is.
    temperature : float
        Of the first step, in units of that of the energies.
    step_size : float
        Largest mobility in nm^2 / kT.
    largest_step : float
        In nm.
    contact_distance : float
        In nm.
    contact_strength : float
        In kT / nm^2.
    box : Tensor (*, 3, 3) or (3, 3), dtype of `beads`, optional
        Vectors of periodic boxes in nm, as rows, in reduced form: residues meet their nearest images.

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
    No gradient: the result is a constant, whatever the arguments require. The same arguments give the same
    result, for any number of threads. CPU and CUDA sum in different orders, and many steps amplify rounding.
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
    )
