"""A short energy minimisation of built frames, which resolves overlaps between atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from backmap.errors import InputError
from backmap.io import AtomList
from backmap.physics.force_field import ForceField
from backmap.physics.minimisation import Springs, minimise
from backmap.physics.short_range import ShortRangePotential

from .openmm_topology import openmm_topology

if TYPE_CHECKING:
    import openmm

FORCE_FIELD = "amber14-all.xml"
ATOMS_AT_ONCE = {"cpu": 30_000, "cuda": 2_000_000}
"""Atoms of all frames minimised together; on the CPU, so that their steps fit the cache."""


class RestrainedMinimisation:
    """Relaxes frames with C-alphas fixed and other heavy atoms restrained by springs.

    The force field is AMBER ff14SB with a cutoff and a distance-dependent dielectric, and the method L-BFGS:
    see :class:`backmap.physics.short_range.ShortRangePotential` and
    :func:`backmap.physics.minimisation.minimise`. OpenMM reads the force field's parameters and takes no
    further part. Objects can be pickled, and used by several threads at once.

    Parameters
    ----------
    atoms : AtomList
        All atoms, with hydrogens.
    iterations : int
        Evaluations of the energy per frame.
    stiffness : float
        Stiffness in kJ/mol/nm^2 of the springs that tie heavy atoms to their built positions.
    device : torch.device or str, optional
        Where frames are minimised; by default the GPU if there is one.

    Raises
    ------
    InputError
        If OpenMM is missing, a setting is out of range, there are no hydrogens, a chain is broken, or the
        force field does not know a residue.
    """

    def __init__(
        self,
        atoms: AtomList,
        *,
        iterations: int,
        stiffness: float = 1000.0,
        device: torch.device | str | None = None,
    ) -> None:
        if iterations < 1:
            raise InputError(f"iterations {iterations}: must be at least 1")
        if not 0 <= stiffness < np.inf:
            raise InputError(f"stiffness {stiffness}: must be finite and at least 0 kJ/mol/nm^2")
        _require_whole_chains(atoms)
        topology = openmm_topology(atoms, "a minimisation")
        self.iterations = iterations
        self._wanted_device = device
        names = np.array([name for residue in atoms.residues for name in residue.atom_names])
        elements = np.array([element for residue in atoms.residues for element in residue.elements])
        self._fixed = names == "CA"
        held = np.where(elements == "H", 0.0, stiffness)
        self._stiffness = torch.from_numpy(np.where(self._fixed, np.inf, held)).float()
        self._potential = ShortRangePotential(_parametrise(atoms, topology))

    def apply(self, coordinates: np.ndarray) -> np.ndarray:
        """Relax frames.

        Parameters
        ----------
        coordinates : ndarray, (frames, atoms, 3) float64
            In nm, near the origin: the minimisation works in single precision.

        Returns
        -------
        ndarray, (frames, atoms, 3) float64
            In nm; C-alphas are bitwise unchanged. The result of a frame does not depend on other frames. If
            the energy of a frame is not finite, all its other atoms are NaN.
        """
        coordinates = np.asarray(coordinates, dtype=np.float64)
        result = coordinates.copy()
        if not coordinates.size:
            return result
        device = self._device()
        size = max(1, ATOMS_AT_ONCE[device.type] // coordinates.shape[1])
        for first in range(0, len(coordinates), size):
            part = slice(first, first + size)
            result[part, ~self._fixed] = self._relax(coordinates[part], device)[:, ~self._fixed]
        return result

    def _relax(self, built: np.ndarray, device: torch.device) -> np.ndarray:
        """Minimise frames together; those whose energy is not finite become NaN."""
        points = torch.from_numpy(built).to(device, torch.float32)
        springs = Springs(points, self._stiffness.to(device))
        relaxed, energy = minimise(self._potential.to(device), springs, self.iterations)
        relaxed[~energy.isfinite()] = torch.nan
        return relaxed.double().cpu().numpy()

    def _device(self) -> torch.device:
        if self._wanted_device is not None:
            return torch.device(self._wanted_device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _parametrise(atoms: AtomList, topology: Any) -> ForceField:
    """Let OpenMM read the force field and assign its parameters."""
    from openmm import app

    files = app.ForceField(FORCE_FIELD)
    for residue in files.getUnmatchedResidues(topology):
        raise InputError(
            f"{atoms.describe(residue.index)}: the force field {FORCE_FIELD} has no template for it; "
            "leave out the minimisation"
        )
    system: openmm.System = files.createSystem(topology)
    return ForceField.from_openmm(system)


def _require_whole_chains(atoms: AtomList) -> None:
    """Refuse atoms without hydrogens and broken chains, which the force field cannot describe."""
    if not any("H" in residue.elements for residue in atoms.residues):
        raise InputError("a minimisation needs hydrogens; add them first")
    first = np.cumsum([0] + [len(residue.atom_names) for residue in atoms.residues])
    residue_of = np.repeat(np.arange(len(atoms.residues)), np.diff(first))
    joined = {tuple(sorted(residue_of[list(bond)])) for bond in atoms.bonds}
    for index in range(len(atoms.residues) - 1):
        if not atoms.ends_chain(index) and (index, index + 1) not in joined:
            raise InputError(
                f"{atoms.describe(index)}: the chain is broken after this residue, but a minimisation needs "
                "whole chains; leave out the minimisation, or give the segments different chain names"
            )
