"""A short minimisation of every frame, by which atoms that were built give way to each other."""

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
"""Root mean square force in kJ/mol/nm at which a minimisation ends early."""
DETERMINISTIC = {
    "CPU": {"Threads": "1", "DeterministicForces": "true"},
    "CUDA": {"DeterministicForces": "true", "Precision": "mixed"},
}
"""Settings of OpenMM's platforms by which the same positions have the same forces."""
PREFERRED_PLATFORMS = ("CUDA", "CPU", "Reference")
SOLVENT_SHARE = 10
"""One iteration with solvent follows on so many without, which cost little."""
_MOLECULE, _SPRINGS, _SOLVENT = range(3)
"""Groups of forces."""
_ELSEWHERE_NM = 50.0


class RestrainedMinimisation:
    """Relaxes frames in implicit solvent while the C-alphas stay and other heavy atoms are held by springs.

    The force field is AMBER ff14SB, the solvent OBC2 (Onufriev, Bashford, Case, Proteins 2004, 55, 383).
    Most iterations leave the solvent out: they take overlaps away as well, several times faster. Objects may
    be pickled and used by several threads at once: each thread has an OpenMM context of its own, made at its
    first frame.

    Parameters
    ----------
    atoms : AtomList
        All atoms, with hydrogens.
    iterations : int
        Of the minimiser, at most, for every frame without solvent; a tenth as many follow with solvent.
    stiffness : float
        Of the springs between heavy atoms and where they were built, kJ/mol/nm^2.
    platform : str, optional
        OpenMM's platform; by default CUDA where there is one, or the CPU.

    Raises
    ------
    InputError
        If OpenMM or the platform is missing, a setting has no meaning, there are no hydrogens, a chain is
        broken, or the force field does not know a residue.
    """

    def __init__(
        self, atoms: AtomList, *, iterations: int, stiffness: float = 1000.0, platform: str | None = None
    ) -> None:
        if iterations < 1:
            raise InputError(f"iterations {iterations}: ask for at least 1")
        if not stiffness >= 0:
            raise InputError(f"stiffness {stiffness}: use a number from 0 in kJ/mol/nm^2")
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
            In nm, C-alphas as they were, bit by bit. A frame does not depend on those before it. Where the
            energy or positions become infinite, all other atoms of the frame are NaN.
        """
        coordinates = np.asarray(coordinates, dtype=np.float64)
        result = coordinates.copy()
        for built, frame in zip(coordinates, result, strict=True):
            frame[~self._fixed] = self._relax(built)[~self._fixed]
        return result

    def energies(self, coordinates: np.ndarray) -> np.ndarray:
        """Give potential energies (frames,) in kJ/mol, without springs, of frames (frames, atoms, 3)."""
        context, _ = self._context()
        return np.array([_energy(context, frame) for frame in np.asarray(coordinates, dtype=np.float64)])

    def _relax(self, built: np.ndarray) -> np.ndarray:
        """Minimise one frame; NaN if its energy or positions become infinite."""
        import openmm
        from openmm import unit

        context, springs = self._context()
        for spring, (atom, position) in enumerate(zip(self._held, built[self._held], strict=True)):
            springs.setParticleParameters(spring, int(atom), position)
        springs.updateParametersInContext(context)
        try:
            # OpenMM keeps lists of neighbours while atoms move little. Elsewhere they are made anew, and so a
            # frame does not depend on the one before.
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
        """Give this thread's context and its springs, which are the last force of its system."""
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
    """Minimise the energy of some groups of forces."""
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
    """Make the system and write it as XML, from which each thread makes one of its own."""
    import openmm
    from openmm import app, unit

    force_field = app.ForceField(*FORCE_FIELD)
    for residue in force_field.getUnmatchedResidues(topology):
        raise InputError(
            f"{atoms.describe(residue.index)}: the force field {FORCE_FIELD[0]} has no template for it; "
            "leave the minimisation out"
        )
    system = force_field.createSystem(
        topology, nonbondedMethod=app.CutoffNonPeriodic, nonbondedCutoff=CUTOFF_NM * unit.nanometer
    )
    _speed_up_solvent(system)
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


def _speed_up_solvent(system: openmm.System) -> None:
    """Replace the general force in which OpenMM writes OBC2 by its special one, five times faster."""
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
        raise InputError(f"platform {name}: OpenMM has {', '.join(known)} on this machine")
    return name


def _is_usable(platform: str) -> bool:
    """Whether a platform works on this machine: CUDA may be installed where there is no GPU."""
    import openmm

    system = openmm.System()
    system.addParticle(1.0)
    try:
        openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform))
    except openmm.OpenMMException:
        return False
    return True


def _require_whole_chains(atoms: AtomList) -> None:
    """Refuse what the force field has no terms for."""
    if not any("H" in residue.elements for residue in atoms.residues):
        raise InputError("a minimisation needs hydrogens; add them with --hydrogens")
    first = np.cumsum([0] + [len(residue.atom_names) for residue in atoms.residues])
    residue_of = np.repeat(np.arange(len(atoms.residues)), np.diff(first))
    joined = {tuple(sorted(residue_of[list(bond)])) for bond in atoms.bonds}
    for index in range(len(atoms.residues) - 1):
        if not atoms.ends_chain(index) and (index, index + 1) not in joined:
            raise InputError(
                f"{atoms.describe(index)}: the chain is broken after it, and a minimisation needs whole "
                "chains; leave the minimisation out, or give the segments different chain names"
            )
