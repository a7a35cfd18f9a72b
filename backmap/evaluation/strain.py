"""Strain of residues: their energy in a force field as built, and after a short minimisation."""

from __future__ import annotations

import warnings

import numpy as np

from backmap.chemistry import SLOT_OXT, Topology
from backmap.errors import InputError, InputWarning
from backmap.io import AtomList
from backmap.postprocessing import Hydrogens
from backmap.postprocessing.minimisation import CUTOFF_NM, DETERMINISTIC, FORCE_FIELD, speed_up_solvent
from backmap.postprocessing.openmm_topology import openmm_topology

ITERATIONS = (0, 50, 200)
"""Numbers of iterations of the minimiser after which energies are measured."""

TOLERANCE = 1.0
"""Root-mean-square force in kJ/mol/nm at which a minimisation stops early."""


class StrainEnergies:
    """Energies of residues in AMBER ff14SB with the solvent OBC2, before and during a minimisation.

    Every term of the force field is divided equally among its atoms, so that the energies of the residues sum
    to that of the protein, without a cutoff. Hydrogens are placed. In the minimisation, which uses a cutoff,
    all atoms are free.

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
        lacking = (listed & ~present).any(axis=1) | (topology.chain_ends & ~present[:, SLOT_OXT])
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
        """Make the potential, and the context in which OpenMM minimises."""
        topology = openmm_topology(atoms, "strain")
        import openmm
        import torch
        from openmm import app, unit

        from backmap.physics import Potential
        from backmap.physics.force_field import ForceField

        try:
            force_field = app.ForceField(*FORCE_FIELD)
            system = force_field.createSystem(topology, nonbondedMethod=app.NoCutoff)
            self._potential = Potential(ForceField.from_openmm(system), torch.float64)
            system = force_field.createSystem(
                topology, nonbondedMethod=app.CutoffNonPeriodic, nonbondedCutoff=CUTOFF_NM * unit.nanometer
            )
        except ValueError as error:
            raise InputError(" ".join(str(error).split())) from error
        speed_up_solvent(system)
        platform = openmm.Platform.getPlatformByName("CPU")
        integrator = openmm.VerletIntegrator(0.001)
        self._context = openmm.Context(system, integrator, platform, DETERMINISTIC["CPU"])

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
        return np.stack([self._of_frame(frame) for frame in built], axis=1)

    def _of_frame(self, positions: np.ndarray) -> np.ndarray:
        """Return energies (3, residues) of a frame (atoms, 3)."""
        import openmm
        from openmm import unit

        energies = [self._by_residue(positions)]
        self._context.setPositions(positions)
        done = 0
        for iterations in ITERATIONS[1:]:
            try:
                openmm.LocalEnergyMinimizer.minimize(self._context, TOLERANCE, iterations - done)
                state = self._context.getState(positions=True)
                relaxed = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
                energies.append(self._by_residue(relaxed))
            except openmm.OpenMMException:
                energies.append(np.full(len(self._starts), np.nan))
            done = iterations
        found = np.stack(energies)
        return np.where(np.isfinite(found), found, np.nan)

    def _by_residue(self, positions: np.ndarray) -> np.ndarray:
        import torch

        each = self._potential.atom_energies(torch.tensor(positions)).numpy()
        return np.add.reduceat(each, self._starts)


def strain_of(topology: Topology, present: np.ndarray, frame: np.ndarray, name: str) -> StrainEnergies | None:
    """Return what measures the strain of a protein; None, with a warning, if that is not possible."""
    try:
        return StrainEnergies(topology, present, frame)
    except InputError as error:
        warnings.warn(f"{name}: no strain energies ({error})", InputWarning, stacklevel=2)
        return None
