"""A short energy minimisation of every frame, which resolves overlaps between built atoms."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from backmap.errors import InputError
from backmap.io import AtomList

from .openmm_topology import openmm_topology

if TYPE_CHECKING:
    import openmm

FORCE_FIELD = ("amber14-all.xml", "implicit/obc2.xml")
_BORN_OFFSET_NM = 0.009
CUTOFF_NM = 2.0
TOLERANCE = 1.0
"""Root-mean-square force in kJ/mol/nm at which a minimisation stops early."""
DETERMINISTIC = {
    "CPU": {"Threads": "1", "DeterministicForces": "true"},
    "CUDA": {"DeterministicForces": "true", "Precision": "mixed"},
}
"""Settings of OpenMM's platforms that give identical forces for identical positions."""
PREFERRED_PLATFORMS = ("CUDA", "CPU", "Reference")
SOLVENT_SHARE = 10
"""Iterations without solvent, which are cheap, per iteration with solvent."""
_MOLECULE, _SPRINGS, _SOLVENT = range(3)
"""Force groups."""
_ELSEWHERE_NM = 50.0


class RestrainedMinimisation:
    """Relaxes frames in implicit solvent with C-alphas fixed and other heavy atoms restrained by springs.

    The force field is AMBER ff14SB, the solvent model OBC2 (Onufriev, Bashford, Case, Proteins 2004, 55,
    383). Most iterations omit the solvent: they resolve overlaps just as well, several times faster. Objects
    can be pickled, and used by several threads at once: each thread creates its own OpenMM context for its
    first frame.

    Parameters
    ----------
    atoms : AtomList
        All atoms, with hydrogens.
    iterations : int
        Maximum number of minimiser iterations per frame without solvent; a tenth as many follow with solvent.
    stiffness : float
        Stiffness in kJ/mol/nm^2 of the springs that tie heavy atoms to their built positions.
    platform : str, optional
        OpenMM platform; by default CUDA if available, otherwise the CPU.

    Raises
    ------
    InputError
        If OpenMM or the platform is missing, a setting is out of range, there are no hydrogens, a chain is
        broken, or the force field does not know a residue.
    """

    def __init__(
        self, atoms: AtomList, *, iterations: int, stiffness: float = 1000.0, platform: str | None = None
    ) -> None:
        if iterations < 1:
            raise InputError(f"iterations {iterations}: must be at least 1")
        if not stiffness >= 0:
            raise InputError(f"stiffness {stiffness}: must be at least 0 kJ/mol/nm^2")
        _require_whole_chains(atoms)
        topology = openmm_topology(atoms, "a minimisation")
        self.iterations = iterations
        self.platform = _choose_platform(platform)
        names = [name for residue in atoms.residues for name in residue.atom_names]
        elements = [element for residue in atoms.residues for element in residue.elements]
        self._fixed = np.array([name == "CA" for name in names])
        self._held = np.flatnonzero(~self._fixed & np.array([element != "H" for element in elements]))
        self._system = _describe_system(atoms, topology, self._fixed, self._held, stiffness)
        self._reset()

    def apply(self, coordinates: np.ndarray) -> np.ndarray:
        """Relax frames.

        Parameters
        ----------
        coordinates : ndarray, (frames, atoms, 3) float64
            In nm.

        Returns
        -------
        ndarray, (frames, atoms, 3) float64
            In nm; C-alphas are bitwise unchanged. The result of a frame does not depend on earlier frames. If
            the energy or positions of a frame become infinite, all its other atoms are NaN.
        """
        coordinates = np.asarray(coordinates, dtype=np.float64)
        result = coordinates.copy()
        for built, frame in zip(coordinates, result, strict=True):
            frame[~self._fixed] = self._relax(built)[~self._fixed]
        return result

    def energies(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the potential energies (frames,) in kJ/mol of frames (frames, atoms, 3), without springs."""
        context, _ = self._context()
        return np.array([_energy(context, frame) for frame in np.asarray(coordinates, dtype=np.float64)])

    def _relax(self, built: np.ndarray) -> np.ndarray:
        """Minimise one frame; return NaN if its energy or positions become infinite."""
        import openmm
        from openmm import unit

        context, springs = self._context()
        for spring, (atom, position) in enumerate(zip(self._held, built[self._held], strict=True)):
            springs.setParticleParameters(spring, int(atom), position)
        springs.updateParametersInContext(context)
        try:
            # OpenMM reuses neighbour lists while atoms move little. Moving the atoms far away forces it to
            # rebuild them, so that a frame does not depend on the one before.
            context.setPositions(built + _ELSEWHERE_NM)
            context.getState(energy=True, groups={_MOLECULE})
            context.setPositions(built)
            _minimise(context, {_MOLECULE, _SPRINGS}, self.iterations)
            _minimise(context, {_MOLECULE, _SPRINGS, _SOLVENT}, -(-self.iterations // SOLVENT_SHARE))
            state = context.getState(positions=True, energy=True, groups={_MOLECULE, _SPRINGS})
        except openmm.OpenMMException:
            return np.full_like(built, np.nan)
        relaxed = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        return relaxed if np.isfinite(energy) else np.full_like(built, np.nan)

    def _context(self) -> tuple[openmm.Context, openmm.CustomExternalForce]:
        """Return this thread's context and its springs, the last force of its system."""
        import openmm

        if not hasattr(self._local, "context"):
            system = openmm.XmlSerializer.deserialize(self._system)
            platform = openmm.Platform.getPlatformByName(self.platform)
            settings = DETERMINISTIC.get(self.platform, {})
            self._local.springs = system.getForce(system.getNumForces() - 1)
            self._local.context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform, settings)
        return self._local.context, self._local.springs

    def _reset(self) -> None:
        self._local = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()


def _minimise(context: openmm.Context, groups: set[int], iterations: int) -> None:
    """Minimise the energy of some force groups."""
    import openmm

    context.getIntegrator().setIntegrationForceGroups(groups)
    openmm.LocalEnergyMinimizer.minimize(context, TOLERANCE, iterations)


def _energy(context: openmm.Context, frame: np.ndarray) -> float:
    from openmm import unit

    context.setPositions(frame)
    state = context.getState(energy=True, groups={_MOLECULE, _SOLVENT})
    return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def _describe_system(
    atoms: AtomList, topology: Any, fixed: np.ndarray, held: np.ndarray, stiffness: float
) -> str:
    """Build the system and serialise it as XML, from which each thread makes its own copy."""
    import openmm
    from openmm import app, unit

    force_field = app.ForceField(*FORCE_FIELD)
    for residue in force_field.getUnmatchedResidues(topology):
        raise InputError(
            f"{atoms.describe(residue.index)}: the force field {FORCE_FIELD[0]} has no template for it; "
            "leave out the minimisation"
        )
    system = force_field.createSystem(
        topology, nonbondedMethod=app.CutoffNonPeriodic, nonbondedCutoff=CUTOFF_NM * unit.nanometer
    )
    speed_up_solvent(system)
    for atom in np.flatnonzero(fixed):
        system.setParticleMass(int(atom), 0.0)
    springs = openmm.CustomExternalForce("0.5 * stiffness * ((x - x0)^2 + (y - y0)^2 + (z - z0)^2)")
    springs.addGlobalParameter("stiffness", stiffness)
    for name in ("x0", "y0", "z0"):
        springs.addPerParticleParameter(name)
    for atom in held:
        springs.addParticle(int(atom), (0.0, 0.0, 0.0))
    springs.setForceGroup(_SPRINGS)
    system.addForce(springs)
    return openmm.XmlSerializer.serialize(system)


def speed_up_solvent(system: openmm.System) -> None:
    """Replace the generic force in which OpenMM expresses OBC2 by the dedicated one, five times faster."""
    import openmm

    index, general = next(
        (index, force)
        for index, force in enumerate(system.getForces())
        if isinstance(force, openmm.CustomGBForce)
    )
    special = openmm.GBSAOBCForce()
    for atom in range(general.getNumParticles()):
        charge, reduced, scaled = general.getParticleParameters(atom)
        special.addParticle(charge, reduced + _BORN_OFFSET_NM, scaled / reduced)
    special.setNonbondedMethod(openmm.GBSAOBCForce.CutoffNonPeriodic)
    special.setCutoffDistance(CUTOFF_NM)
    special.setForceGroup(_SOLVENT)
    system.removeForce(index)
    system.addForce(special)


def _choose_platform(name: str | None) -> str:
    import openmm

    known = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    if name is None:
        return next(
            preferred for preferred in PREFERRED_PLATFORMS if preferred in known and _is_usable(preferred)
        )
    if name not in known:
        raise InputError(f"platform {name}: not available on this machine; use one of {', '.join(known)}")
    return name


def _is_usable(platform: str) -> bool:
    """Return whether a platform works on this machine: CUDA may be installed without a GPU."""
    import openmm

    system = openmm.System()
    system.addParticle(1.0)
    try:
        openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform))
    except openmm.OpenMMException:
        return False
    return True


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
