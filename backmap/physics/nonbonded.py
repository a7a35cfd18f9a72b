"""Lennard-Jones, Coulomb and implicit solvent over all pairs of atoms, with hand-written gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from backmap.physics.force_field import ForceField, ImplicitSolvent

COULOMB = 138.93545764438198
"""Coulomb's constant in kJ/mol nm per squared elementary charge."""

SMALLEST_SQUARE_NM2 = 1e-6
"""Lower bound on squared distances, so that 1 / r^12 stays finite in single precision."""

RADIUS_OFFSET_NM = 0.009
PROBE_RADIUS_NM = 0.14
ALPHA, BETA, GAMMA = 1.0, 0.8, 4.85
"""Generalised Born model OBC2: Onufriev, Bashford and Case, Proteins 55, 383 (2004)."""

FAR_NM = 1e3
"""A radius larger than all distances: an atom of this size is not screened."""

PAIRS_AT_ONCE = {"cpu": 2**16, "cuda": 2**24}
"""Pairs of atoms, over all frames, processed at once; on the CPU, so that they fit the cache."""


class Nonbonded(torch.nn.Module):
    """Energy of all pairs of atoms, each visited from both sides with half its energy.

    Excluded and 1-4 pairs have their own entries in the tables of pair coefficients. Matrices of pairs have
    the shape (rows, atoms, frames) and are computed one block of rows at a time.
    """

    charge_products: torch.Tensor
    repulsion: torch.Tensor
    attraction: torch.Tensor
    polarisation_products: torch.Tensor
    own_polarisation: torch.Tensor
    surface: torch.Tensor
    radii: torch.Tensor
    reduced_radii: torch.Tensor
    screening_radii: torch.Tensor
    smallest_distances: torch.Tensor

    def __init__(self, force_field: ForceField, dtype: torch.dtype) -> None:
        super().__init__()
        charge_products, repulsion, attraction = pair_coefficients(force_field)
        self._keep("charge_products", charge_products * (COULOMB / 2), dtype)
        self._keep("repulsion", repulsion / 2, dtype)
        self._keep("attraction", attraction / 2, dtype)
        self.has_solvent = force_field.solvent is not None
        if force_field.solvent is not None:
            self._keep_solvent(force_field.solvent, dtype)

    def _keep_solvent(self, solvent: ImplicitSolvent, dtype: torch.dtype) -> None:
        reduced, screening = reduced_radii(solvent), screening_radii(solvent)
        itself = np.eye(len(reduced), dtype=bool)
        smallest = np.where(itself, FAR_NM, reduced[:, None])
        products = polarisation(solvent) / 2 * solvent.charges[:, None] * solvent.charges
        self.can_enclose = bool((screening > smallest).any())
        self._keep("polarisation_products", np.where(itself, 0.0, products), dtype)
        self._keep("own_polarisation", products.diagonal(), dtype)
        self._keep("surface", surface_energies(solvent), dtype)
        self._keep("radii", solvent.radii, dtype)
        self._keep("reduced_radii", reduced, dtype)
        self._keep("screening_radii", screening, dtype)
        self._keep("smallest_distances", smallest, dtype)

    def _keep(self, name: str, values: np.ndarray, dtype: torch.dtype) -> None:
        self.register_buffer(name, torch.tensor(values, dtype=dtype)[..., None], persistent=False)

    def forward(
        self, positions: torch.Tensor, gradient: torch.Tensor | None, *, by_atom: bool = False
    ) -> dict[str, torch.Tensor]:
        """Return the energies and add their gradient to `gradient`.

        Parameters
        ----------
        positions : Tensor, (3, atoms, frames)
        gradient : Tensor, (3, atoms, frames), optional
        by_atom : bool
            Give half the energy of each pair to each of its atoms.

        Returns
        -------
        dict of Tensor, (frames,), or (atoms, frames) by atom
            Energies in kJ/mol of ``lennard_jones``, ``coulomb`` and, with a solvent, ``solvent``.
        """
        blocks = _Blocks(positions)
        shape = positions.shape[1:] if by_atom else positions.shape[2:]
        energies = {name: positions.new_zeros(shape) for name in ("lennard_jones", "coulomb")}
        if not self.has_solvent:
            for pairs in blocks:
                push = self._direct(pairs, energies, derivative=gradient is not None)
                if gradient is not None and push is not None:
                    pairs.add_to(gradient, push)
            return energies

        screening = torch.cat([self._screening(pairs) for pairs in blocks])
        born, born_slope = self._born_radii(screening)
        own, by_born = self._own_energy(born)
        energies["solvent"] = own if by_atom else own.sum(0)
        for pairs in blocks:
            push = self._direct(pairs, energies, derivative=gradient is not None)
            by_rows = self._polarisation(pairs, born, energies, push)
            if gradient is not None and push is not None and by_rows is not None:
                by_born[pairs.rows] += by_rows
                pairs.push = push
                if not blocks.are_one:
                    pairs.add_to(gradient, push)
        if gradient is not None:
            by_screening = by_born.mul_(born_slope)
            for pairs in blocks:
                push = self._screening_push(pairs, by_screening)
                pairs.add_to(gradient, push if pairs.push is None else push.add_(pairs.push))
        return energies

    def _direct(
        self, pairs: _Pairs, energies: dict[str, torch.Tensor], derivative: bool
    ) -> torch.Tensor | None:
        """Add Lennard-Jones and Coulomb energies; return -(dE / dr) / r of each pair."""
        square = pairs.inverse * pairs.inverse
        sixth = (square * square).mul_(square)
        repulsion = (self.repulsion[pairs.rows] * sixth).mul_(sixth)
        lennard_jones = torch.addcmul(repulsion, self.attraction[pairs.rows], sixth, value=-1)
        coulomb = self.charge_products[pairs.rows] * pairs.inverse
        pairs.add_energies(energies["lennard_jones"], lennard_jones)
        pairs.add_energies(energies["coulomb"], coulomb)
        if not derivative:
            return None
        return coulomb.add_(repulsion.add_(lennard_jones), alpha=6).mul_(square)

    def _screening(self, pairs: _Pairs) -> torch.Tensor:
        """Return the screening integral of each atom, summed over all others, (rows, frames)."""
        area, ratio, logarithm, gap = self._screening_parts(pairs)
        terms = torch.addcmul(gap, ratio - pairs.distance, area, value=0.25).add_(logarithm, alpha=0.5)
        if self.can_enclose:
            smallest = self.smallest_distances[pairs.rows]
            inside = torch.maximum(self.screening_radii - pairs.distance, smallest)
            terms.add_(smallest.reciprocal() - inside.reciprocal_(), alpha=2)
        return terms.sum(1)

    def _screening_parts(self, pairs: _Pairs) -> tuple[torch.Tensor, ...]:
        """Return l^2 - u^2, s^2 / r, log(u / l) / r and l - u.

        l and u are the inverse distances of the near and the far side of each atom's sphere of radius s.
        Where the near side lies inside the screened atom, that atom's radius replaces its distance; where the
        far side does too, l = u.
        """
        if pairs.screening_parts is None:
            smallest = self.smallest_distances[pairs.rows]
            near = torch.maximum((pairs.distance - self.screening_radii).abs_(), smallest)
            far = torch.maximum(pairs.distance + self.screening_radii, smallest)
            logarithm = (near / far).log_().mul_(pairs.inverse)
            near, far = near.reciprocal_(), far.reciprocal_()
            gap = near - far
            area = near.add_(far).mul_(gap)
            ratio = self.screening_radii**2 * pairs.inverse
            pairs.screening_parts = area, ratio, logarithm, gap
        return pairs.screening_parts

    def _screening_push(self, pairs: _Pairs, by_screening: torch.Tensor) -> torch.Tensor:
        """Return -(dE / dr) / r due to screening, which is stationary in the near and the far side."""
        area, ratio, logarithm, _ = self._screening_parts(pairs)
        slope = torch.addcmul(area, area, ratio * pairs.inverse).mul_(0.25)
        slope.addcmul_(logarithm, pairs.inverse, value=0.5)
        return slope.mul_(pairs.inverse).mul_(by_screening[pairs.rows, None])

    def _born_radii(self, screening: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return effective Born radii and their derivatives by the screening sums, (atoms, frames)."""
        psi = screening * self.reduced_radii * 0.5
        bent = torch.tanh(((GAMMA * psi - BETA) * psi + ALPHA) * psi)
        born = (self.reduced_radii.reciprocal() - bent / self.radii).reciprocal_()
        slope = (1 - bent * bent) * ((3 * GAMMA * psi - 2 * BETA) * psi + ALPHA)
        return born, slope * born * born * (0.5 * self.reduced_radii / self.radii)

    def _own_energy(self, born: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return self-polarisation plus surface energies, and their derivatives by the Born radii."""
        inverse = born.reciprocal()
        polarisation = self.own_polarisation * inverse
        cube = inverse * inverse * inverse
        surface = self.surface * cube * cube
        slope = torch.add(polarisation, surface, alpha=6).mul_(inverse).neg_()
        return polarisation.add_(surface), slope

    def _polarisation(
        self,
        pairs: _Pairs,
        born: torch.Tensor,
        energies: dict[str, torch.Tensor],
        push: torch.Tensor | None,
    ) -> torch.Tensor | None:
        """Add the pairs' energy, and -(dE / dr) / r to `push`; return dE / d(Born radius) of the rows."""
        rows = born[pairs.rows, None]
        exponent = (pairs.square * (-0.25 / rows)).mul_(born.reciprocal())
        decay = exponent.exp()
        inverse = (rows * born).mul_(decay).add_(pairs.square).rsqrt_()
        energy = self.polarisation_products[pairs.rows] * inverse
        pairs.add_energies(energies["solvent"], energy)
        if push is None:
            return None
        strength = energy.mul_(inverse).mul_(inverse)
        decay.mul_(strength)
        push.add_(strength).sub_(decay, alpha=0.25)
        return decay.addcmul_(decay, exponent, value=-1).mul_(born).sum(1).neg_()


class _Pairs:
    """A block of rows of the matrix of all pairs, with its intermediate results."""

    def __init__(self, positions: torch.Tensor, rows: slice) -> None:
        self.rows = rows
        self.difference = positions[:, rows, None] - positions[:, None]
        x, y, z = self.difference
        self.square = (x * x).addcmul_(y, y).addcmul_(z, z).clamp_(min=SMALLEST_SQUARE_NM2)
        self.inverse = self.square.rsqrt()
        self.are_all = len(self.square) == positions.shape[1]
        self.push: torch.Tensor | None = None
        self.screening_parts: tuple[torch.Tensor, ...] | None = None

    @property
    def distance(self) -> torch.Tensor:
        return self.square * self.inverse

    def add_energies(self, total: torch.Tensor, energies: torch.Tensor) -> None:
        """Add energies (rows, atoms, frames) to a total (frames,), or to those of atoms (atoms, frames)."""
        if total.dim() == 1:
            total += energies.sum((0, 1))
        else:
            total[self.rows] += energies.sum(1)

    def add_to(self, gradient: torch.Tensor, push: torch.Tensor) -> None:
        """Add the gradient of both atoms of each pair, given -(dE / dr) / r."""
        if self.are_all:
            gradient -= (self.difference * (push + push.transpose(0, 1))).sum(2)
            return
        pulls = self.difference * push
        gradient[:, self.rows] -= pulls.sum(2)
        gradient += pulls.sum(1)


class _Blocks(Iterable[_Pairs]):
    """All rows, block by block; a single block is kept, several are recomputed on each iteration."""

    def __init__(self, positions: torch.Tensor) -> None:
        _, atoms, frames = positions.shape
        size = max(1, PAIRS_AT_ONCE[positions.device.type] // max(1, atoms * frames))
        self.positions = positions
        self.slices = [slice(start, min(start + size, atoms)) for start in range(0, atoms, size)]
        self.are_one = len(self.slices) == 1
        self.kept = [_Pairs(positions, rows) for rows in self.slices] if self.are_one else []

    def __iter__(self) -> Iterator[_Pairs]:
        return iter(self.kept or (_Pairs(self.positions, rows) for rows in self.slices))


def reduced_radii(solvent: ImplicitSolvent) -> np.ndarray:
    """Return the radii (atoms,) of OBC2 in nm, with their offset."""
    return solvent.radii - RADIUS_OFFSET_NM


def screening_radii(solvent: ImplicitSolvent) -> np.ndarray:
    """Return the radii (atoms,) in nm with which atoms screen others."""
    return solvent.scales * reduced_radii(solvent)


def polarisation(solvent: ImplicitSolvent) -> float:
    """Return the energy that polarises a solvent, per product of charges and inverse length, in kJ/mol nm."""
    solute, outside = solvent.dielectrics
    return float(-COULOMB * (1 / solute - 1 / outside))


def surface_energies(solvent: ImplicitSolvent) -> np.ndarray:
    """Return the surface energy of each atom times the sixth power of its Born radius, in kJ/mol nm^6."""
    tension = 4 * math.pi * solvent.surface_tension
    return tension * (solvent.radii + PROBE_RADIUS_NM) ** 2 * solvent.radii**6


def pair_coefficients(force_field: ForceField) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return charge products, A and B of all pairs, (atoms, atoms) each; zero on the diagonal."""
    kinds = np.ix_(force_field.kinds, force_field.kinds)
    products = force_field.charges[:, None] * force_field.charges
    tables = np.stack([products, force_field.repulsion[kinds], force_field.attraction[kinds]])
    i, j = force_field.exceptions.T
    tables[:, i, j] = tables[:, j, i] = force_field.exception_parameters.T
    tables[:, range(force_field.n_atoms), range(force_field.n_atoms)] = 0
    return tables[0], tables[1], tables[2]
