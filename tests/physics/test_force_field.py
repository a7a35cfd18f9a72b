import numpy as np
import pytest

from backmap.physics.force_field import ForceField

openmm = pytest.importorskip("openmm")

WATERS = 4
CUT = "the selection cuts a molecule"
NO_CUTOFF = "uses a cutoff or Ewald sums; create the System with nonbondedMethod=NoCutoff"
NOT_PERIODIC = "uses periodic boundary conditions; create the System without them"
ONLY_OBC2 = "is supported for OBC2 without salt only, and this one describes another model"


def force_of(system, force_type):
    return next(force for force in system.getForces() if isinstance(force, force_type))


def solvated_butane() -> openmm.System:
    """Four atoms in a row, the last bond constrained, then rigid waters, all in OBC2."""
    system = openmm.System()
    bonds, angles, torsions = (
        openmm.HarmonicBondForce(),
        openmm.HarmonicAngleForce(),
        openmm.PeriodicTorsionForce(),
    )
    pairs, solvent = openmm.NonbondedForce(), openmm.GBSAOBCForce()
    for charge in (0.1, -0.2, 0.3, -0.2):
        system.addParticle(12.0)
        pairs.addParticle(charge, 0.34, 0.4)
        solvent.addParticle(charge, 0.17, 0.72)
    for first in range(2):
        bonds.addBond(first, first + 1, 0.15, 2e5)
        angles.addAngle(first, first + 1, first + 2, 1.9, 400.0)
    system.addConstraint(2, 3, 0.15)
    torsions.addTorsion(0, 1, 2, 3, 3, 0.0, 5.0)
    pairs.createExceptionsFromBonds([(0, 1), (1, 2), (2, 3)], 0.8, 0.5)
    for water in range(WATERS):
        oxygen = 4 + 3 * water
        for mass, charge, sigma, epsilon, radius in (
            (16.0, -0.8, 0.315, 0.6, 0.15), (1.0, 0.4, 1.0, 0.0, 0.12), (1.0, 0.4, 1.0, 0.0, 0.12),
        ):  # fmt: skip
            system.addParticle(mass)
            pairs.addParticle(charge, sigma, epsilon)
            solvent.addParticle(charge, radius, 0.85)
        for first, second, length in ((0, 1, 0.0957), (0, 2, 0.0957), (1, 2, 0.1514)):
            system.addConstraint(oxygen + first, oxygen + second, length)
            pairs.addException(oxygen + first, oxygen + second, 0.0, 1.0, 0.0)
    for force in (bonds, angles, torsions, pairs, solvent, openmm.CMMotionRemover()):
        system.addForce(force)
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))
    return system


def test_reads_every_term():
    field = ForceField.from_openmm(solvated_butane())
    assert field.n_atoms == 4 + 3 * WATERS
    assert field.bonds.tolist() == [[0, 1], [1, 2]]
    assert field.bond_parameters.tolist() == [[0.15, 2e5]] * 2
    assert field.angles.tolist() == [[0, 1, 2], [1, 2, 3]]
    assert field.torsion_parameters.tolist() == [[3, 0.0, 5.0]]
    assert field.charges[:4].tolist() == [0.1, -0.2, 0.3, -0.2]
    assert field.constraints[0].tolist() == [2, 3] and len(field.constraints) == 1 + 3 * WATERS
    assert field.masses[4:7].tolist() == [16.0, 1.0, 1.0]
    assert field.solvent is not None and field.solvent.dielectrics.tolist() == [1.0, 78.3]


def test_lennard_jones_follows_lorentz_and_berthelot():
    field = ForceField.from_openmm(solvated_butane())
    sigma, epsilon = (0.34 + 0.315) / 2, np.sqrt(0.4 * 0.6)
    carbon, oxygen = field.kinds[0], field.kinds[4]
    assert field.repulsion[carbon, oxygen] == pytest.approx(4 * epsilon * sigma**12)
    assert field.attraction[oxygen, carbon] == pytest.approx(4 * epsilon * sigma**6)


def test_exceptions_are_excluded_or_scaled():
    field = ForceField.from_openmm(solvated_butane())
    parameters = {
        tuple(pair): row for pair, row in zip(field.exceptions, field.exception_parameters, strict=True)
    }
    assert not parameters[0, 1].any() and not parameters[0, 2].any()
    assert parameters[0, 3] == pytest.approx([0.8 * 0.1 * -0.2, 4 * 0.2 * 0.34**12, 4 * 0.2 * 0.34**6])


@pytest.mark.parametrize("with_solvent", [True, False])
def test_arrays_come_back(with_solvent):
    system = solvated_butane()
    if not with_solvent:
        system.removeForce(4)
    arrays = ForceField.from_openmm(system).to_arrays()
    again = ForceField.from_arrays(arrays).to_arrays()
    assert again.keys() == arrays.keys()
    assert any(name.startswith("solvent.") for name in arrays) == with_solvent
    for name, values in arrays.items():
        np.testing.assert_array_equal(again[name], values)
        assert again[name].dtype == values.dtype


def test_arrays_go_through_safetensors():
    from safetensors.numpy import load, save

    arrays = ForceField.from_openmm(solvated_butane()).to_arrays()
    again = load(save({name: np.ascontiguousarray(values) for name, values in arrays.items()}))
    for name, values in arrays.items():
        np.testing.assert_array_equal(again[name], values)


def test_missing_arrays_are_named():
    arrays = ForceField.from_openmm(solvated_butane()).to_arrays()
    del arrays["angles"], arrays["kinds"]
    with pytest.raises(ValueError, match="^the force field lacks angles, kinds$"):
        ForceField.from_arrays(arrays)


def test_solute_of_a_solvated_system():
    solute = ForceField.from_openmm(solvated_butane()).select(np.array([3, 2, 1, 0]))
    assert solute.n_atoms == 4
    assert solute.bonds.tolist() == [[3, 2], [2, 1]]
    assert solute.torsions.tolist() == [[3, 2, 1, 0]]
    assert solute.charges.tolist() == [-0.2, 0.3, -0.2, 0.1]
    assert solute.constraints.tolist() == [[1, 0]]
    assert len(solute.exceptions) == 6
    assert solute.solvent is not None and len(solute.solvent.radii) == 4


def test_energy_of_the_solute_is_that_of_the_solute_alone():
    import torch

    from backmap.physics import Potential

    whole = ForceField.from_openmm(solvated_butane())
    apart = torch.randn(whole.n_atoms, 3, dtype=torch.float64)
    solute = Potential(whole.select(np.arange(4)), torch.float64).terms(apart[:4])
    apart[4:] += 1e4
    system = Potential(whole, torch.float64).terms(apart)
    for name in ("bonds", "angles", "torsions"):
        torch.testing.assert_close(solute[name], system[name])


@pytest.mark.parametrize(
    "atoms, error, message",
    [
        ([0, 0], ValueError, "atoms contains an index more than once"),
        ([0, 16], ValueError, "atoms ranges from 0 to 16, but there are 16 atoms"),
        ([0.0], TypeError, "atoms has dtype float64; give integer indices"),
        ([0, 1], ValueError, f"{CUT}: bonds link the atoms 1, 2, not all selected"),
        ([0, 1, 2], ValueError, f"{CUT}: constraints link the atoms 2, 3, not all selected"),
    ],
)  # fmt: skip
def test_selections_that_make_no_sense(atoms, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        ForceField.from_openmm(solvated_butane()).select(np.array(atoms))


def with_cutoff(system):
    force_of(system, openmm.NonbondedForce).setNonbondedMethod(openmm.NonbondedForce.PME)


def with_periodic_bonds(system):
    force_of(system, openmm.HarmonicBondForce).setUsesPeriodicBoundaryConditions(True)


def with_unknown_force(system):
    system.addForce(openmm.RBTorsionForce())


def with_offsets(system):
    pairs = force_of(system, openmm.NonbondedForce)
    pairs.addGlobalParameter("scale", 1.0)
    pairs.addParticleParameterOffset("scale", 0, 0.1, 0.0, 0.0)


def with_two_solvents(system):
    system.addForce(openmm.GBSAOBCForce(force_of(system, openmm.GBSAOBCForce)))


def with_other_torsion(system):
    system.addForce(openmm.CustomTorsionForce("k*cos(theta)"))


def with_other_solvent(system):
    system.removeForce(4)
    system.addForce(openmm.CustomGBForce())


@pytest.mark.parametrize(
    "change, message",
    [
        (with_cutoff, f"NonbondedForce {NO_CUTOFF}"),
        (with_periodic_bonds, f"HarmonicBondForce {NOT_PERIODIC}"),
        (with_unknown_force, "RBTorsionForce is not supported; supported forces are HarmonicBondForce, .*"),
        (with_offsets, "NonbondedForce has parameter offsets, which are not supported"),
        (with_two_solvents, "the System has more than one implicit solvent"),
        (with_other_torsion, r"CustomTorsionForce with the energy 'k\*cos\(theta\)' is not supported"),
        (with_other_solvent, f"CustomGBForce {ONLY_OBC2}"),
    ],
)  # fmt: skip
def test_systems_that_are_not_supported(change, message):
    system = solvated_butane()
    change(system)
    with pytest.raises(ValueError, match=f"^{message}$"):
        ForceField.from_openmm(system)
