"""A short energy minimisation of built frames, which resolves overlaps between atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from backmap.chemistry.residues import CONTACT_RADII_NM
from backmap.errors import InputError
from backmap.io import AtomList
from backmap.physics.force_field import ForceField
from backmap.physics.minimisation import FixedSites, Springs, Walls, minimise
from backmap.physics.short_range import ShortRangePotential

from .openmm_topology import openmm_topology

if TYPE_CHECKING:
    import openmm

FORCE_FIELD = "amber14-all.xml"
ATOMS_AT_ONCE = {"cpu": 30_000, "cuda": 2_000_000}
"""Atoms of all frames minimised together; on the CPU, so that their steps fit the cache."""

NEAR_SITES = 12
"""Fixed sites that an atom avoids: the nearest."""

NEAR_NM = 0.6
"""Farther ones are not near."""

HYDROGEN_RADIUS_NM, POLAR_HYDROGEN_RADIUS_NM = 0.10, 0.03
"""Radii on carbon or sulfur, and on nitrogen or oxygen, which allow for hydrogen bonds."""


class RestrainedMinimisation:
    """Relaxes frames with C-alphas and given atoms fixed and other heavy atoms restrained by springs.

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
    given : ndarray, (given,) int64, optional
        Indices of further atoms that are fixed.
    device : torch.device or str, optional
        Where frames are minimised; by default the GPU if there is one.

    Raises
    ------
    InputError
        If OpenMM is missing, a setting is out of range, there are no hydrogens, a chain is broken (its
        segments need ends of their own), or the force field does not know a residue.
    """

    def __init__(
        self,
        atoms: AtomList,
        *,
        iterations: int,
        stiffness: float = 1000.0,
        given: np.ndarray | None = None,
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
        if given is not None:
            self._fixed[given] = True
        held = np.where(elements == "H", 0.0, stiffness)
        self._radii = explicit_radii(atoms)
        self._stiffness = torch.from_numpy(np.where(self._fixed, np.inf, held)).float()
        self._potential = ShortRangePotential(_parametrise(atoms, topology))

    def apply(self, coordinates: np.ndarray) -> np.ndarray:
        """Relax frames as :meth:`apply_beside` does, without other molecules."""
        return self.apply_beside(coordinates, None)

    def apply_beside(self, coordinates: np.ndarray, beside: FixedSites | None) -> np.ndarray:
        """Relax frames.

        Parameters
        ----------
        coordinates : ndarray, (frames, atoms, 3) float64
            In nm, near the origin: the minimisation works in single precision.
        beside : FixedSites, optional
            Sites of other molecules, which stay in place and are avoided.

        Returns
        -------
        ndarray, (frames, atoms, 3) float64
            In nm; fixed atoms are bitwise unchanged. The result of a frame does not depend on other frames.
            If the energy of a frame is not finite, all its other atoms are NaN.
        """
        coordinates = np.asarray(coordinates, dtype=np.float64)
        result = coordinates.copy()
        if not coordinates.size:
            return result
        device = self._device()
        size = max(1, ATOMS_AT_ONCE[device.type] // coordinates.shape[1])
        for first in range(0, len(coordinates), size):
            part = slice(first, first + size)
            walls = None if beside is None else self._walls(coordinates[part], beside, part, device)
            result[part, ~self._fixed] = self._relax(coordinates[part], walls, device)[:, ~self._fixed]
        return result

    def _walls(self, built: np.ndarray, beside: FixedSites, part: slice, device: torch.device) -> Walls:
        """Find the fixed sites near each atom of frames (frames, atoms, 3)."""
        from scipy.spatial import KDTree

        shape = (*built.shape[:2], NEAR_SITES)
        sites, contact = np.zeros((*shape, 3)), np.zeros(shape)
        for frame, (atoms, others) in enumerate(zip(built, beside.positions[part], strict=True)):
            _, index = KDTree(others).query(atoms, NEAR_SITES, distance_upper_bound=NEAR_NM)
            atom, place = np.nonzero(index < len(others))
            found = index[atom, place]
            sites[frame, atom, place] = others[found]
            contact[frame, atom, place] = self._radii[atom] + beside.radii[found]
        return Walls(*(torch.from_numpy(values).to(device, torch.float32) for values in (sites, contact)))

    def _relax(self, built: np.ndarray, walls: Walls | None, device: torch.device) -> np.ndarray:
        """Minimise frames together; those whose energy is not finite become NaN."""
        points = torch.from_numpy(built).to(device, torch.float32)
        springs = Springs(points, self._stiffness.to(device))
        relaxed, energy = minimise(self._potential.to(device), springs, self.iterations, walls)
        relaxed[~energy.isfinite()] = torch.nan
        return relaxed.double().cpu().numpy()

    def _device(self) -> torch.device:
        if self._wanted_device is not None:
            return torch.device(self._wanted_device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def explicit_radii(atoms: AtomList) -> np.ndarray:
    """Return the radii (atoms,) in nm within which atoms, hydrogens among them, do not touch others."""
    elements = [element for residue in atoms.residues for element in residue.elements]
    polar = set()
    for bond in atoms.bonds:
        for parent, atom in (bond, bond[::-1]):
            if elements[atom] == "H" and elements[parent] in ("N", "O"):
                polar.add(atom)
    return np.array(
        [
            CONTACT_RADII_NM.get(element, CONTACT_RADII_NM["C"])
            if element != "H"
            else (POLAR_HYDROGEN_RADIUS_NM if atom in polar else HYDROGEN_RADIUS_NM)
            for atom, element in enumerate(elements)
        ]
    )


def _parametrise(atoms: AtomList, topology: Any) -> ForceField:
    """Let OpenMM read the force field and assign its parameters."""
    from openmm import app

    files = app.ForceField(FORCE_FIELD)
    for residue in files.getUnmatchedResidues(topology):
        is_whole_chain = len(residue.chain) == 1
        raise InputError(
            f"{atoms.describe(residue.index)}: the force field {FORCE_FIELD} has no template for it"
            f"{', as it is a chain of its own' if is_whole_chain else ''}; leave out the minimisation"
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
