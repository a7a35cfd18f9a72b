"""Reading the forces of an OpenMM System."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from backmap.physics.force_field import ForceField, ImplicitSolvent

if TYPE_CHECKING:
    import openmm

WITHOUT_ENERGY = {
    "AndersenThermostat",
    "CMMotionRemover",
    "MonteCarloAnisotropicBarostat",
    "MonteCarloBarostat",
    "MonteCarloFlexibleBarostat",
    "MonteCarloMembraneBarostat",
}
BORN_OFFSET_NM = 0.009

HARMONIC_TORSION = re.compile(
    r"k\*\(theta-theta0\)\^2"
    r"|k\*min\(dtheta,2\*pi-dtheta\)\^2;dtheta=abs\(theta-theta0\);pi=3\.14159\d*"
)
LENNARD_JONES_TABLES = "acoef(type1,type2)/r^12-bcoef(type1,type2)/r^6"
LENNARD_JONES_PAIR = "4*epsilon*((sigma/r)^12-(sigma/r)^6)"
OBC2_VALUES = [
    "select(step(r+sr2-or1),0.5*(1/L-1/U+0.25*(r-sr2^2/r)*(1/(U^2)-1/(L^2))+0.5*log(L/U)/r),0);"
    "U=r+sr2;L=max(or1,D);D=abs(r-sr2)",
    "1/(1/or-tanh(psi-0.8*psi^2+4.85*psi^3)/radius);psi=I*or;radius=or+offset;offset=0.009",
]
OBC2_SELF = "-0.5*138.935485*(1/soluteDielectric-1/solventDielectric)*charge^2/B"
OBC2_SURFACE = "(radius+0.14)^2*(radius/B)^6;radius=or+offset"
OBC2_PAIR = (
    "-138.935485*(1/soluteDielectric-1/solventDielectric)*charge1*charge2/f;"
    "f=sqrt(r^2+B1*B2*exp(-r^2/(4*B1*B2)))"
)
"""Expressions that OpenMM writes for CHARMM's impropers, Lennard-Jones tables and 1-4 pairs, and for OBC2."""


def read_system(system: openmm.System) -> ForceField:
    """Read all forces; see `ForceField.from_openmm`."""
    reader = _Reader(system)
    for force in system.getForces():
        reader.read(force)
    return reader.force_field()


class _Reader:
    """The terms of a System read so far, in lists with one entry per term."""

    def __init__(self, system: openmm.System) -> None:
        self.system = system
        self.atoms = system.getNumParticles()
        self.bonds: list[tuple[float, ...]] = []
        self.angles: list[tuple[float, ...]] = []
        self.torsions: list[tuple[float, ...]] = []
        self.harmonic_torsions: list[tuple[float, ...]] = []
        self.corrections: list[tuple[int, ...]] = []
        self.maps: list[np.ndarray] = []
        self.charge_sigma_epsilon = np.zeros((self.atoms, 3))
        self.table_kind = np.zeros(self.atoms, dtype=np.int64)
        self.repulsion_table = self.attraction_table = np.zeros((1, 1))
        self.exceptions: dict[tuple[int, int], np.ndarray] = {}
        self.table_exclusions: set[tuple[int, int]] | None = None
        self.extra_pairs: list[tuple[int, int, float, float]] = []
        self.solvent: ImplicitSolvent | None = None
        self.roles: set[str] = set()

    def read(self, force: openmm.Force) -> None:
        """Add the terms of one force."""
        name = type(force).__name__
        if name in WITHOUT_ENERGY:
            return
        if name not in READERS:
            raise ValueError(f"{name} is not supported; supported forces are {', '.join(READERS)}")
        method = getattr(force, "getNonbondedMethod", lambda: 0)()
        if method != 0:
            raise ValueError(
                f"{name} uses a cutoff or Ewald sums; create the System with nonbondedMethod=NoCutoff"
            )
        if force.usesPeriodicBoundaryConditions():
            raise ValueError(f"{name} uses periodic boundary conditions; create the System without them")
        role = SINGLE.get(name)
        if role in self.roles:
            raise ValueError(f"the System has more than one {role}")
        if role is not None:
            self.roles.add(role)
        READERS[name](self, force)

    def harmonic_bonds(self, force: openmm.HarmonicBondForce) -> None:
        self.bonds += _terms(force.getBondParameters, force.getNumBonds())

    def harmonic_angles(self, force: openmm.HarmonicAngleForce) -> None:
        self.angles += _terms(force.getAngleParameters, force.getNumAngles())

    def periodic_torsions(self, force: openmm.PeriodicTorsionForce) -> None:
        self.torsions += _terms(force.getTorsionParameters, force.getNumTorsions())

    def custom_torsions(self, force: openmm.CustomTorsionForce) -> None:
        names = [force.getPerTorsionParameterName(i) for i in range(force.getNumPerTorsionParameters())]
        understood = HARMONIC_TORSION.fullmatch(_expression(force.getEnergyFunction()))
        if not understood or sorted(names) != ["k", "theta0"]:
            raise _unknown(force, force.getEnergyFunction())
        order = [names.index("theta0"), names.index("k")]
        for *atoms, values in _terms(force.getTorsionParameters, force.getNumTorsions()):
            self.harmonic_torsions.append((*atoms, *(values[i] for i in order)))

    def corrections_of_torsions(self, force: openmm.CMAPTorsionForce) -> None:
        offset = len(self.maps)
        for index in range(force.getNumMaps()):
            points, energies = (_plain(value) for value in force.getMapParameters(index))
            # OpenMM stores the energies with the first torsion varying fastest.
            self.maps.append(np.reshape(energies, (points, points)).T)
        for kind, *atoms in _terms(force.getTorsionParameters, force.getNumTorsions()):
            self.corrections.append((*atoms, kind + offset))
        if len({energies.shape for energies in self.maps}) > 1:
            raise ValueError("the tables of CMAPTorsionForce have different numbers of points")

    def nonbonded(self, force: openmm.NonbondedForce) -> None:
        if force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets():
            raise ValueError("NonbondedForce has parameter offsets, which are not supported")
        self.charge_sigma_epsilon = np.array(_terms(force.getParticleParameters, self.atoms)).reshape(-1, 3)
        for first, second, product, sigma, epsilon in _terms(
            force.getExceptionParameters, force.getNumExceptions()
        ):
            self.exceptions[_pair(first, second)] = np.array([product, *_coefficients(sigma, epsilon)])

    def lennard_jones_tables(self, force: openmm.CustomNonbondedForce) -> None:
        names = {force.getTabulatedFunctionName(i): i for i in range(force.getNumTabulatedFunctions())}
        understood = _expression(force.getEnergyFunction()) == LENNARD_JONES_TABLES
        if not understood or set(names) != {"acoef", "bcoef"} or force.getNumInteractionGroups():
            raise _unknown(force, force.getEnergyFunction())
        tables = {}
        for name, index in names.items():
            kinds, _, values = force.getTabulatedFunction(index).getFunctionParameters()
            tables[name] = np.reshape(values, (kinds, -1))
        self.repulsion_table, self.attraction_table = tables["acoef"], tables["bcoef"]
        self.table_kind = np.array(_terms(force.getParticleParameters, self.atoms), dtype=np.int64).reshape(
            -1
        )
        self.table_exclusions = {
            _pair(*force.getExclusionParticles(i)) for i in range(force.getNumExclusions())
        }

    def lennard_jones_pairs(self, force: openmm.CustomBondForce) -> None:
        names = [force.getPerBondParameterName(i) for i in range(force.getNumPerBondParameters())]
        understood = _expression(force.getEnergyFunction()) == LENNARD_JONES_PAIR
        if not understood or names != ["sigma", "epsilon"]:
            raise _unknown(force, force.getEnergyFunction())
        for first, second, (sigma, epsilon) in _terms(force.getBondParameters, force.getNumBonds()):
            self.extra_pairs.append((first, second, sigma, epsilon))

    def born_solvent(self, force: openmm.GBSAOBCForce) -> None:
        charges, radii, scales = np.array(_terms(force.getParticleParameters, self.atoms)).reshape(-1, 3).T
        self.solvent = ImplicitSolvent(
            charges,
            radii,
            scales,
            np.array([force.getSoluteDielectric(), force.getSolventDielectric()]),
            np.array(_plain(force.getSurfaceAreaEnergy())),
        )

    def custom_born_solvent(self, force: openmm.CustomGBForce) -> None:
        values = [force.getComputedValueParameters(i) for i in range(force.getNumComputedValues())]
        terms = [force.getEnergyTermParameters(i)[0] for i in range(force.getNumEnergyTerms())]
        names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
        obc2 = [_expression(value[1]) for value in values] == OBC2_VALUES and names == ["charge", "or", "sr"]
        surface_tension = 0.0
        for term in map(_expression, terms):
            surface = re.match(r"([\d.]+)\*" + re.escape(OBC2_SURFACE), term)
            if surface:
                surface_tension = float(surface[1]) / (4 * np.pi)
            obc2 &= bool(surface) or term.startswith((OBC2_SELF, OBC2_PAIR))
        if not obc2 or force.getNumExclusions():
            raise ValueError(
                "CustomGBForce is supported for OBC2 without salt only, and this one describes another model"
            )
        charges, reduced, scaled = np.array(_terms(force.getParticleParameters, self.atoms)).reshape(-1, 3).T
        self.solvent = ImplicitSolvent(
            charges,
            reduced + BORN_OFFSET_NM,
            scaled / reduced,
            np.array([_constant(terms[0], "soluteDielectric"), _constant(terms[0], "solventDielectric")]),
            np.array(surface_tension),
        )

    def force_field(self) -> ForceField:
        """Assemble the force field."""
        if self.table_exclusions is not None and self.table_exclusions != set(self.exceptions):
            raise ValueError("CustomNonbondedForce and NonbondedForce exclude different pairs")
        for first, second, sigma, epsilon in self.extra_pairs:
            pair = _pair(first, second)
            if pair not in self.exceptions:
                raise ValueError(
                    f"CustomBondForce acts on the atoms {first} and {second}, which are not excluded"
                )
            self.exceptions[pair] = self.exceptions[pair] + [0.0, *_coefficients(sigma, epsilon)]
        kinds, repulsion, attraction = self._lennard_jones()
        bonds, bond_parameters = _split(self.bonds, 2, 2)
        angles, angle_parameters = _split(self.angles, 3, 2)
        torsions, torsion_parameters = _split(self.torsions, 4, 3)
        impropers, improper_parameters = _split(self.harmonic_torsions, 4, 2)
        corrections, correction_index = _split(self.corrections, 8, 1)
        constraints, constraint_lengths = _split(
            _terms(self.system.getConstraintParameters, self.system.getNumConstraints()), 2, 1
        )
        return ForceField(
            masses=np.array(
                [_plain(self.system.getParticleMass(i)) for i in range(self.atoms)], dtype=np.float64
            ),
            bonds=bonds,
            bond_parameters=bond_parameters,
            angles=angles,
            angle_parameters=angle_parameters,
            torsions=torsions,
            torsion_parameters=torsion_parameters,
            harmonic_torsions=impropers,
            harmonic_torsion_parameters=improper_parameters,
            correction_torsions=corrections,
            correction_index=correction_index[:, 0].astype(np.int64),
            correction_maps=np.array(self.maps) if self.maps else np.zeros((0, 0, 0)),
            charges=self.charge_sigma_epsilon[:, 0].copy(),
            kinds=kinds,
            repulsion=repulsion,
            attraction=attraction,
            exceptions=np.array(list(self.exceptions), dtype=np.int64).reshape(-1, 2),
            exception_parameters=np.array(list(self.exceptions.values()), dtype=np.float64).reshape(-1, 3),
            constraints=constraints,
            constraint_lengths=constraint_lengths[:, 0],
            solvent=self.solvent,
        )

    def _lennard_jones(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return atom kinds and their tables: Lorentz-Berthelot rules plus CHARMM's tables, if any."""
        keys = np.column_stack([self.charge_sigma_epsilon[:, 1:], self.table_kind])
        unique, kinds = np.unique(keys, axis=0, return_inverse=True)
        sigma, epsilon, table_kind = unique[:, 0], unique[:, 1], unique[:, 2].astype(np.int64)
        repulsion, attraction = _coefficients(
            (sigma[:, None] + sigma) / 2, np.sqrt(epsilon[:, None] * epsilon)
        )
        pairs = np.ix_(table_kind, table_kind)
        return (
            kinds.reshape(-1),
            repulsion + self.repulsion_table[pairs],
            attraction + self.attraction_table[pairs],
        )


READERS: dict[str, Callable[[_Reader, Any], None]] = {
    "HarmonicBondForce": _Reader.harmonic_bonds,
    "HarmonicAngleForce": _Reader.harmonic_angles,
    "PeriodicTorsionForce": _Reader.periodic_torsions,
    "CustomTorsionForce": _Reader.custom_torsions,
    "CMAPTorsionForce": _Reader.corrections_of_torsions,
    "NonbondedForce": _Reader.nonbonded,
    "CustomNonbondedForce": _Reader.lennard_jones_tables,
    "CustomBondForce": _Reader.lennard_jones_pairs,
    "GBSAOBCForce": _Reader.born_solvent,
    "CustomGBForce": _Reader.custom_born_solvent,
}
SINGLE = {
    "NonbondedForce": "NonbondedForce",
    "CustomNonbondedForce": "CustomNonbondedForce",
    "GBSAOBCForce": "implicit solvent",
    "CustomGBForce": "implicit solvent",
}
"""Forces that may occur once only, with their role."""


def _plain(value: Any) -> Any:
    """Convert a quantity to a number in nm, ps, daltons, kJ/mol, elementary charges and radians."""
    from openmm import unit

    return value.value_in_unit_system(unit.md_unit_system) if unit.is_quantity(value) else value


def _terms(get: Callable[[int], Sequence[Any]], count: int) -> list[tuple[Any, ...]]:
    return [tuple(_plain(value) for value in get(index)) for index in range(count)]


def _split(terms: Sequence[Sequence[float]], atoms: int, parameters: int) -> tuple[np.ndarray, np.ndarray]:
    """Separate atom indices from parameters."""
    table = np.array(terms, dtype=np.float64).reshape(-1, atoms + parameters)
    return table[:, :atoms].astype(np.int64), table[:, atoms:].copy()


def _pair(first: int, second: int) -> tuple[int, int]:
    return (first, second) if first < second else (second, first)


def _coefficients(sigma: Any, epsilon: Any) -> tuple[Any, Any]:
    """Return A and B of A / r^12 - B / r^6."""
    return 4 * epsilon * sigma**12, 4 * epsilon * sigma**6


def _expression(text: str) -> str:
    return "".join(text.split()).rstrip(";")


def _constant(expression: str, name: str) -> float:
    found = re.search(rf"{name}=([\d.eE+-]+)", _expression(expression))
    if found is None:
        raise ValueError(f"CustomGBForce does not define {name}")
    return float(found[1])


def _unknown(force: openmm.Force, expression: str) -> ValueError:
    return ValueError(f"{type(force).__name__} with the energy {expression!r} is not supported")
