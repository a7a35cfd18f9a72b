"""Strain of residues: their energy in a force field as built, and after a short minimisation."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from backmap.chemistry import SLOT_OXT, Topology
from backmap.errors import InputError, InputWarning
from backmap.io import AtomList
from backmap.physics import Potential
from backmap.physics.force_field import ForceField
from backmap.physics.minimisation import Springs, minimise
from backmap.physics.short_range import ShortRangePotential
from backmap.postprocessing import Hydrogens
from backmap.postprocessing.openmm_topology import openmm_topology

FORCE_FIELD = ("amber14-all.xml", "implicit/obc2.xml")

ITERATIONS = (0, 50, 200)
"""Numbers of iterations of the minimiser after which energies are measured."""

_ATOMS_AT_ONCE = 30_000
"""Atoms of all frames minimised together, so that their steps fit the cache."""


class StrainEnergies:
    """Energies of residues in AMBER ff14SB with the solvent OBC2, before and during a minimisation.

    Every term of the force field is divided equally among its atoms, so that the energies of the residues sum
    to that of the protein, without a cutoff. Hydrogens are placed. The minimisation, in which all atoms are
    free, is that of :func:`backmap.physics.minimisation.minimise`.

    Parameters
    ----------
    topology : Topology
    present : ndarray, (residues, 15) bool
        Known heavy atoms.
    frame : ndarray, (residues, 15, 3)
        A frame in nm, which decides protonation and disulfide bonds.

    Raises
    ------
    InputError
        If OpenMM is missing, an atom is missing, or the force field does not describe the protein.
    """

    def __init__(self, topology: Topology, present: np.ndarray, frame: np.ndarray) -> None:
        listed = topology.atom_mask.copy()
        listed[:, SLOT_OXT] = present[:, SLOT_OXT]
        lacking = (listed & ~present).any(axis=1) | (
            topology.chain_ends & ~topology.in_rings & ~present[:, SLOT_OXT]
        )
        if lacking.any():
            raise InputError(f"{topology.describe(int(lacking.argmax()))} lacks heavy atoms, or OXT")
        self._listed = np.flatnonzero(listed)
        flat = np.asarray(frame, dtype=np.float64).reshape(-1, 3)
        self._hydrogens = Hydrogens(AtomList.of_protein(topology, listed), flat[self._listed])
        atoms = self._hydrogens.atoms
        counts = [len(residue.atom_names) for residue in atoms.residues]
        self._starts = np.cumsum([0, *counts[:-1]])
        self._prepare(atoms)

    def _prepare(self, atoms: AtomList) -> None:
        """Make the potential that is measured, and the one that is minimised."""
        topology = openmm_topology(atoms, "strain")
        from openmm import app

        try:
            measured, minimised = (
                ForceField.from_openmm(app.ForceField(*files).createSystem(topology))
                for files in (FORCE_FIELD, FORCE_FIELD[:1])
            )
        except ValueError as error:
            raise InputError(" ".join(str(error).split())) from error
        self._potential = Potential(measured, torch.float64)
        self._minimised = ShortRangePotential(minimised)

    def __call__(self, atoms: np.ndarray) -> np.ndarray:
        """Measure frames.

        Parameters
        ----------
        atoms : ndarray, (frames, residues, 15, 3)
            nm.

        Returns
        -------
        ndarray, (3, frames, residues)
            kJ/mol after each of ``ITERATIONS``; NaN where the energy is not finite.
        """
        flat = np.asarray(atoms, dtype=np.float64).reshape(len(atoms), -1, 3)
        built = self._hydrogens.apply(flat[:, self._listed])
        size = max(1, _ATOMS_AT_ONCE // built.shape[1])
        parts = [self._of_frames(built[first : first + size]) for first in range(0, len(built), size)]
        found = np.concatenate(parts, axis=1)
        return np.where(np.isfinite(found), found, np.nan)

    def _of_frames(self, built: np.ndarray) -> np.ndarray:
        """Return energies (3, frames, residues) of frames (frames, atoms, 3)."""
        points = torch.from_numpy(built).float()
        free = Springs(points, torch.zeros(built.shape[1]))
        relaxed = [
            minimise(self._minimised, free, iterations)[0].double().numpy() for iterations in ITERATIONS[1:]
        ]
        return np.stack([[self._by_residue(frame) for frame in frames] for frames in (built, *relaxed)])

    def _by_residue(self, positions: np.ndarray) -> np.ndarray:
        each = self._potential.atom_energies(torch.tensor(positions)).numpy()
        return np.add.reduceat(each, self._starts)


def strain_of(topology: Topology, present: np.ndarray, frame: np.ndarray, name: str) -> StrainEnergies | None:
    """Return what measures the strain of a protein; None, with a warning, if that is not possible."""
    try:
        return StrainEnergies(topology, present, frame)
    except InputError as error:
        warnings.warn(f"{name}: no strain energies ({error})", InputWarning, stacklevel=2)
        return None
