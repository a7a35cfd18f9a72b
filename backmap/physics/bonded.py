"""Bonds, angles and torsions of a force field, with hand-written gradients."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.polynomial import chebyshev

from backmap.physics.bicubic import bicubic_coefficients
from backmap.physics.force_field import ForceField

XYZ, YZX, ZXY = slice(0, 3), slice(1, 4), slice(2, 5)
"""Components of vectors stored as x, y, z, x, y, so that cross products become products of slices."""

SMALLEST_SQUARE = 1e-14
"""Lower bound on squared lengths (nm^2) and areas (nm^4), so that coinciding atoms give finite numbers."""

Slopes = tuple[torch.Tensor, ...]
"""Derivatives of an energy with respect to arms, (3, arms, frames) each; empty if not requested."""

NEGLIGIBLE_SINE = 1e-9
"""The sine of a rounded phase of pi is below this; the torsion is then even."""


class Bonded(torch.nn.Module):
    """Energy of all bonded terms.

    All terms are functions of difference vectors ("arms") between two atoms. An angle has two arms u and v. A
    torsion i-j-k-l has the arms b1 = j - i, b2 = k - j and b3 = l - k, and consists of two such wedges,
    (b1, b2) and (b2, b3). One cross and one dot product over all wedges thus serve both angles and torsions.

    Arms are stored in this order: bonds, the first arms u of all wedges, the second arms v of all wedges.
    Wedges are stored in this order: angles, first halves of torsions, second halves of torsions.
    """

    heads: torch.Tensor
    tails: torch.Tensor
    bond_parameters: torch.Tensor
    angle_parameters: torch.Tensor
    even: torch.Tensor
    odd: torch.Tensor
    harmonic: torch.Tensor
    harmonic_parameters: torch.Tensor
    corrected: torch.Tensor
    correction_index: torch.Tensor
    patches: torch.Tensor

    def __init__(self, force_field: ForceField, dtype: torch.dtype) -> None:
        super().__init__()
        bonds, angles = force_field.bonds, force_field.angles
        torsions, (periodic, harmonic, corrected) = distinct_torsions(
            force_field.torsions,
            force_field.harmonic_torsions,
            force_field.correction_torsions.reshape(-1, 4),
        )
        i, j, k, m = torsions.T
        self.bonds, self.angles, self.torsions = len(bonds), len(angles), len(torsions)
        self.wedges = self.angles + 2 * self.torsions
        self._keep("heads", np.concatenate([bonds[:, 0], angles[:, 0], j, k, angles[:, 2], k, m]))
        self._keep("tails", np.concatenate([bonds[:, 1], angles[:, 1], i, j, angles[:, 1], j, k]))
        self._keep("bond_parameters", force_field.bond_parameters.T[..., None], dtype)
        self._keep("angle_parameters", force_field.angle_parameters.T[..., None], dtype)

        even, odd = fourier_polynomials(periodic, force_field.torsion_parameters, self.torsions)
        self.has_odd = bool(odd.any())
        self._keep("even", even[..., None], dtype)
        self._keep("odd", odd[..., None], dtype)
        self.harmonic_torsions = len(harmonic)
        self._keep("harmonic", harmonic)
        self._keep("harmonic_parameters", force_field.harmonic_torsion_parameters.T[..., None], dtype)
        self.corrections = len(corrected) // 2
        self._keep("corrected", corrected)
        self._keep("correction_index", force_field.correction_index[:, None])
        self._keep("patches", bicubic_coefficients(force_field.correction_maps), dtype)

    def _keep(self, name: str, values: np.ndarray, dtype: torch.dtype | None = None) -> None:
        self.register_buffer(name, torch.tensor(values, dtype=dtype), persistent=False)

    def forward(
        self, positions: torch.Tensor, gradient: torch.Tensor | None, *, by_atom: bool = False
    ) -> dict[str, torch.Tensor]:
        """Return the energies and add their gradient to `gradient`.

        Parameters
        ----------
        positions : Tensor, (3, atoms, frames)
        gradient : Tensor, (3, atoms, frames), optional
        by_atom : bool
            Divide each term equally among its atoms.

        Returns
        -------
        dict of Tensor, (frames,), or (atoms, frames) by atom
            Energies in kJ/mol of ``bonds``, ``angles``, ``torsions`` and ``corrections``.
        """
        energies = self._terms(positions, gradient)
        if not by_atom:
            return {name: terms.sum(0) for name, terms in energies.items()}
        empty = torch.zeros_like(positions[0])
        divided = {}
        for name, terms in energies.items():
            members = self.members[name]
            divided[name] = empty.clone()
            for column in members.T:
                divided[name].index_add_(0, column, terms / members.shape[1])
        return divided

    @property
    def members(self) -> dict[str, torch.Tensor]:
        """The atoms of the terms of each kind, (terms, atoms of a term) int64."""
        angles = slice(self.bonds, self.bonds + self.angles)
        first = slice(angles.stop, angles.stop + self.torsions)
        arms = self.bonds + self.wedges
        second_angle = slice(arms, arms + self.angles)
        last = slice(arms + self.angles + self.torsions, arms + self.wedges)
        torsions = torch.stack(
            [self.tails[first], self.heads[first], self.tails[last], self.heads[last]], dim=1
        )
        return {
            "bonds": torch.stack([self.heads[: self.bonds], self.tails[: self.bonds]], dim=1),
            "angles": torch.stack([self.heads[angles], self.tails[angles], self.heads[second_angle]], dim=1),
            "torsions": torsions,
            "corrections": torsions[self.corrected].reshape(self.corrections, 8),
        }

    def _terms(self, positions: torch.Tensor, gradient: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """Return the energies (terms, frames) of the terms of each kind, and add their gradient."""
        repeated = torch.cat((positions, positions[:2]))
        arms = repeated.index_select(1, self.heads).sub_(repeated.index_select(1, self.tails))
        bonds, u, v = arms.split([self.bonds, self.wedges, self.wedges], dim=1)
        normals = (u[YZX] * v[ZXY]).sub_(u[ZXY] * v[YZX])
        u, v = u[XYZ], v[XYZ]
        areas = _dot(normals, normals).clamp_(min=SMALLEST_SQUARE)
        inner = _dot(u, v)
        derivative = gradient is not None

        angles, torsions = slice(0, self.angles), slice(self.angles, None)
        bond_energy, bond_slopes = self._bond_energy(bonds[XYZ], derivative)
        angle_energy, angle_slopes = self._angle_energy(
            u[:, angles], v[:, angles], areas[angles], inner[angles], derivative
        )
        torsion_energies, torsion_slopes = self._torsion_energies(
            u[:, torsions], normals[:, torsions], areas[torsions], inner[torsions], derivative
        )
        if gradient is not None:
            (u_angle, v_angle), (u_torsion, v_torsion) = angle_slopes, torsion_slopes
            slopes = torch.cat((*bond_slopes, u_angle, *u_torsion, v_angle, *v_torsion), dim=1)
            gradient.index_add_(1, self.heads, slopes)
            gradient.index_add_(1, self.tails, slopes, alpha=-1)
        return {"bonds": bond_energy, "angles": angle_energy, **torsion_energies}

    def _bond_energy(self, arms: torch.Tensor, derivative: bool) -> tuple[torch.Tensor, Slopes]:
        equilibrium, stiffness = self.bond_parameters
        length = _dot(arms, arms).clamp_(min=SMALLEST_SQUARE).sqrt_()
        stretch = length - equilibrium
        tension = stretch * stiffness
        energy = (tension * stretch).mul_(0.5)
        return energy, (arms * tension.div_(length),) if derivative else ()

    def _angle_energy(
        self, u: torch.Tensor, v: torch.Tensor, areas: torch.Tensor, inner: torch.Tensor, derivative: bool
    ) -> tuple[torch.Tensor, Slopes]:
        equilibrium, stiffness = self.angle_parameters
        area = areas.sqrt()
        bend = torch.atan2(area, inner).sub_(equilibrium)
        moment = bend * stiffness
        energy = (moment * bend).mul_(0.5)
        if not derivative:
            return energy, ()
        # d angle / du = ((u.v / u.u) u - v) / |u x v|, and the same with u and v exchanged.
        moment.div_(area)
        along = inner * moment
        by_u = (u * (along / _dot(u, u).clamp_(min=SMALLEST_SQUARE))).sub_(v * moment)
        by_v = (v * (along / _dot(v, v).clamp_(min=SMALLEST_SQUARE))).sub_(u * moment)
        return energy, (by_u, by_v)

    def _torsion_energies(
        self,
        u: torch.Tensor,
        normals: torch.Tensor,
        areas: torch.Tensor,
        inner: torch.Tensor,
        derivative: bool,
    ) -> tuple[dict[str, torch.Tensor], tuple[Slopes, ...]]:
        """Return energies, and slopes of the arms u and v for the first and then for the second halves."""
        halves = (2, self.torsions)
        first_arm, axis = u.unflatten(1, halves).unbind(1)
        normals, areas, inner = (
            normals.unflatten(1, halves),
            areas.unflatten(0, halves),
            inner.unflatten(0, halves),
        )
        axis_square = _dot(axis, axis).clamp_(min=SMALLEST_SQUARE)
        axis_length = axis_square.sqrt()
        inverse = (areas[0] * areas[1]).rsqrt_()
        cosine = _dot(normals[:, 0], normals[:, 1]).mul_(inverse)
        sine = _dot(first_arm, normals[:, 1]).mul_(inverse.mul_(axis_length))
        energies, slope = self._energies_of_torsion(cosine, sine, derivative)
        if slope is None:
            return energies, ()
        # With m = b1 x b2 and n = b2 x b3: d phi / d b1 = |b2| m / m.m and d phi / d b3 = |b2| n / n.n. The
        # derivative by b2 sums these, scaled by -(b1.b2 / b2.b2) and -(b3.b2 / b2.b2).
        outer = normals * (slope.mul_(axis_length) / areas)
        shares = outer * (inner / axis_square).neg_()
        return energies, ((outer[:, 0], shares[:, 1]), (shares[:, 0], outer[:, 1]))

    def _energies_of_torsion(
        self, cosine: torch.Tensor, sine: torch.Tensor, derivative: bool
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """Return energies from cos(phi) and sin(phi), (torsions, frames), and the derivative by phi."""
        energy, by_cosine = _polynomial(self.even, cosine, derivative)
        slope = by_cosine.mul_(sine).neg_() if by_cosine is not None else None
        if self.has_odd:
            factor, by_cosine = _polynomial(self.odd, cosine, derivative)
            energy = energy + sine * factor
            if slope is not None and by_cosine is not None:
                slope += cosine * factor - sine * sine * by_cosine
        energies = {"torsions": energy, "corrections": energy[:0]}
        if self.harmonic_torsions:
            equilibrium, stiffness = self.harmonic_parameters
            turn = torch.atan2(sine[self.harmonic], cosine[self.harmonic]) - equilibrium
            turn = torch.remainder(turn + math.pi, 2 * math.pi) - math.pi
            energies["torsions"] = energy.index_add(0, self.harmonic, stiffness * turn * turn)
            if slope is not None:
                slope.index_add_(0, self.harmonic, 2 * stiffness * turn)
        if self.corrections:
            angles = torch.atan2(sine[self.corrected], cosine[self.corrected]).unflatten(0, (-1, 2))
            values, slopes = self._interpolate(angles)
            energies["corrections"] = values
            if slope is not None:
                slope.index_add_(0, self.corrected, slopes.flatten(0, 1))
        return energies, slope

    def _interpolate(self, angles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return CMAP energies of pairs of torsions, (corrections, 2, frames), and their slopes."""
        points = self.patches.shape[1]
        scaled = angles * (points / (2 * math.pi))
        cells = scaled.floor()
        inside = scaled - cells
        cells = cells.long().remainder(points)
        patches = self.patches[self.correction_index, cells[:, 0], cells[:, 1]]
        exponents = torch.arange(4, dtype=angles.dtype, device=angles.device)
        powers = inside[..., None] ** exponents
        derivatives = exponents * torch.nn.functional.pad(powers[..., :3], (1, 0))
        columns = (patches * powers[:, 1, :, None, :]).sum(-1)
        turned = (patches * derivatives[:, 1, :, None, :]).sum(-1)
        by_first = (columns * derivatives[:, 0]).sum(-1)
        by_second = (turned * powers[:, 0]).sum(-1)
        slopes = torch.stack((by_first, by_second), dim=1).mul_(points / (2 * math.pi))
        return (columns * powers[:, 0]).sum(-1), slopes


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum(0)


def _polynomial(
    coefficients: torch.Tensor, argument: torch.Tensor, derivative: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the value and the derivative by Horner's scheme; coefficients are in ascending order."""
    value = coefficients[-1].expand_as(argument)
    slope = torch.zeros_like(argument) if derivative else None
    for coefficient in coefficients[:-1].flip(0):
        if slope is not None:
            slope = torch.addcmul(value, slope, argument)
        value = torch.addcmul(coefficient, value, argument)
    return value, slope


def distinct_torsions(*tables: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return unique torsions, from the end with the lower index, and the row of each table's rows."""
    rows = np.concatenate(tables)
    rows = np.where((rows[:, 0] > rows[:, 3])[:, None], rows[:, ::-1], rows)
    torsions, index = np.unique(rows, axis=0, return_inverse=True)
    ends = np.cumsum([len(table) for table in tables])[:-1]
    return torsions, np.split(index.reshape(-1), ends)


def fourier_polynomials(
    index: np.ndarray, parameters: np.ndarray, torsions: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rewrite sums of k (1 + cos(n phi - phase)) as P(cos phi) + sin phi Q(cos phi).

    This uses the Chebyshev polynomials: cos(n phi) = T_n(cos phi), sin(n phi) = sin(phi) T_n'(cos phi) / n.

    Returns
    -------
    ndarray, ndarray, (degree + 1, torsions) float64
        Coefficients of P and of Q in ascending order.
    """
    highest = int(parameters[:, 0].max(initial=0))
    even, odd = np.zeros((2, torsions, highest + 1))
    for torsion, (periodicity, phase, barrier) in zip(index, parameters, strict=True):
        series = np.eye(highest + 1)[int(periodicity)]
        even[torsion, 0] += barrier
        _add(even[torsion], barrier * math.cos(phase) * chebyshev.cheb2poly(series))
        if periodicity and abs(math.sin(phase)) > NEGLIGIBLE_SINE:
            sines = chebyshev.cheb2poly(chebyshev.chebder(series)) / periodicity
            _add(odd[torsion], barrier * math.sin(phase) * sines)
    return even.T, odd.T


def _add(coefficients: np.ndarray, addition: np.ndarray) -> None:
    coefficients[: len(addition)] += addition
