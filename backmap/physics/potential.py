"""The molecular-mechanics energy of a molecule for many frames at once."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch

from backmap.physics.bonded import Bonded
from backmap.physics.force_field import ForceField
from backmap.physics.nonbonded import PAIRS_AT_ONCE, Nonbonded

FRAMES_AT_ONCE = 64
"""Frames of a large molecule computed at once; for small molecules, the number of pairs decides."""

COMPILATION: dict[str, str | int | bool | Callable[..., Any]] = {"realize_opcount_threshold": 15}
"""Store intermediate results of this many operations instead of recomputing them for each pair of atoms."""


class Potential(torch.nn.Module):
    """Potential energy by a force field, differentiable once with respect to positions.

    Energies and gradients come from one pass of hand-written formulas, so that only positions and gradients
    grow with the number of frames. Non-bonded terms include all pairs of atoms, without a cutoff. On CUDA the
    gradient is a sum of atomic additions, and its last bits depend on their order.

    Parameters
    ----------
    force_field : ForceField
    dtype : torch.dtype
        float32 or float64: dtype of the parameters and of positions.
    compiled : bool
        Let torch.compile fuse the formulas into a few loops. This needs a C++ compiler (on CUDA: Triton),
        takes some seconds on the first call with and on the first call without a gradient, and is several
        times faster for small molecules.

    Notes
    -----
    Parameters are buffers that are not part of the state dictionary; store `ForceField.to_arrays` instead.
    """

    def __init__(
        self, force_field: ForceField, dtype: torch.dtype = torch.float32, *, compiled: bool = False
    ) -> None:
        super().__init__()
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(f"dtype is {dtype}; give float32 or float64")
        self.atoms = force_field.n_atoms
        self.bonded = Bonded(force_field, dtype)
        self.nonbonded = Nonbonded(force_field, dtype)
        self._of_chunk = (
            torch.compile(self._evaluate_chunk, options=COMPILATION) if compiled else self._evaluate_chunk
        )

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the energy of each frame.

        Parameters
        ----------
        positions : Tensor, (..., atoms, 3)
            In nm, with the module's dtype and on its device.

        Returns
        -------
        Tensor, (...,)
            In kJ/mol. Its gradient is the one of `energy_and_gradient`.

        Raises
        ------
        ValueError
            If the shape is not (..., atoms, 3) or the device differs from the module's.
        TypeError
            If the dtype differs from the module's.
        RuntimeError
            On the backward pass, if second derivatives are requested.
        """
        if torch.is_grad_enabled() and positions.requires_grad:
            return _Energy.apply(positions, self)
        return _total(self.terms(positions))

    @torch.no_grad()
    def terms(self, positions: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the energy of each frame term by term, without a gradient.

        Parameters
        ----------
        positions : Tensor, (..., atoms, 3)
            In nm.

        Returns
        -------
        dict of Tensor, (...,)
            In kJ/mol: ``bonds``, ``angles``, ``torsions`` (including impropers), ``corrections`` (CMAP),
            ``lennard_jones``, ``coulomb`` and, with an implicit solvent, ``solvent``.
        """
        return self._evaluate(positions, derivative=False)[0]

    @torch.no_grad()
    def atom_energies(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the energy of each atom: its equal share of every term it takes part in.

        Parameters
        ----------
        positions : Tensor, (..., atoms, 3)
            In nm.

        Returns
        -------
        Tensor, (..., atoms)
            In kJ/mol; the sum over atoms is the energy of the frame.
        """
        self._check(positions)
        shares = []
        for frame in positions.reshape(-1, self.atoms, 3):
            by_component = frame.T[..., None].contiguous()
            bonded = self.bonded(by_component, None, by_atom=True)
            shares.append(_total(bonded | self.nonbonded(by_component, None, by_atom=True))[:, 0])
        return torch.stack(shares).view(positions.shape[:-1])

    @torch.no_grad()
    def energy_and_gradient(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the energy and its gradient (the negative forces) without recording for autograd.

        Parameters
        ----------
        positions : Tensor, (..., atoms, 3)
            In nm.

        Returns
        -------
        energy : Tensor, (...,)
            In kJ/mol.
        gradient : Tensor, (..., atoms, 3)
            In kJ/mol/nm.
        """
        energies, gradient = self._evaluate(positions, derivative=True)
        assert gradient is not None  # asked for by `derivative`
        return _total(energies), gradient

    def _evaluate(
        self, positions: torch.Tensor, derivative: bool
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        self._check(positions)
        size = max(FRAMES_AT_ONCE, PAIRS_AT_ONCE[positions.device.type] // max(1, self.atoms**2))
        chunks = positions.reshape(-1, self.atoms, 3).split(size)
        energies, gradients = zip(*(self._of_chunk(chunk, derivative) for chunk in chunks), strict=True)
        shape = positions.shape[:-2]
        together = {name: _joined([part[name] for part in energies]).view(shape) for name in energies[0]}
        return together, _joined(gradients).view(positions.shape) if derivative else None

    def _evaluate_chunk(
        self, frames: torch.Tensor, derivative: bool
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        by_component = frames.permute(2, 1, 0).contiguous()
        gradient = torch.zeros_like(by_component) if derivative else None
        energies = self.bonded(by_component, gradient) | self.nonbonded(by_component, gradient)
        return energies, gradient.permute(2, 1, 0).contiguous() if gradient is not None else None

    def _check(self, positions: torch.Tensor) -> None:
        expected = self.nonbonded.repulsion
        if positions.shape[-2:] != (self.atoms, 3):
            raise ValueError(
                f"positions has the shape {tuple(positions.shape)}; it must be (..., {self.atoms}, 3)"
            )
        if positions.dtype != expected.dtype:
            raise TypeError(f"positions is {positions.dtype}, but the potential is {expected.dtype}")
        if positions.device != expected.device:
            raise ValueError(f"positions is on {positions.device}, but the potential is on {expected.device}")


def _total(energies: dict[str, torch.Tensor]) -> torch.Tensor:
    return reduce(operator.add, energies.values())


def _joined(parts: tuple[torch.Tensor, ...] | list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class _Energy(torch.autograd.Function):
    """The energy with its gradient, which is computed in the forward pass."""

    @staticmethod
    def forward(ctx: Any, positions: torch.Tensor, potential: Potential) -> torch.Tensor:
        energy, gradient = potential.energy_and_gradient(positions)
        ctx.save_for_backward(gradient)
        return energy

    @staticmethod
    def backward(ctx: Any, by_energy: torch.Tensor) -> tuple[torch.Tensor, None]:
        if torch.is_grad_enabled():
            raise RuntimeError("a potential has first derivatives only; differentiate without create_graph")
        (gradient,) = ctx.saved_tensors
        return by_energy[..., None, None] * gradient, None
