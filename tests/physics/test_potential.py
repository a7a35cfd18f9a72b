import shutil

import numpy as np
import pytest
import torch

from backmap.physics import Potential, nonbonded
from backmap.physics.force_field import ForceField

openmm = pytest.importorskip("openmm")

ADP, CHIGNOLIN, PROTEIN = "alanine_dipeptide.pdb", "chignolin.pdb.gz", "5z2s.pdb.gz"
VACUUM = ("amber99sbildn.xml",)
IMPLICIT = ("amber99sbildn.xml", "amber99_obc.xml")
IMPLICIT_CUSTOM = ("amber99sbildn.xml", "implicit/obc2.xml")
AMBER_CMAP = ("amber19-all.xml",)
CHARMM = ("charmm36.xml",)


def of_openmm(system, positions):
    """Energy and forces in double precision."""
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


def assert_agrees(system, positions, tolerance=1e-9):
    potential = Potential(ForceField.from_openmm(system), torch.float64)
    x = torch.tensor(positions, requires_grad=True)
    energy = potential(x)
    energy.backward()
    expected, forces = of_openmm(system, positions)
    assert energy.item() == pytest.approx(expected, rel=tolerance)
    assert np.abs(x.grad.numpy() + forces).max() < tolerance * np.abs(forces).max()


@pytest.fixture(scope="module")
def solvated(build):
    """Alanine dipeptide in OBC2: potential in double precision and distorted frames."""
    system, positions = build(ADP, *IMPLICIT)
    frames = torch.tensor(positions) + 0.005 * torch.randn(5, 22, 3, dtype=torch.float64)
    return Potential(ForceField.from_openmm(system), torch.float64), frames


@pytest.mark.parametrize("files", [VACUUM, IMPLICIT, AMBER_CMAP], ids=" ".join)
@pytest.mark.parametrize("name", [ADP, CHIGNOLIN, PROTEIN])
def test_matches_openmm(build, name, files):
    assert_agrees(*build(name, *files))


def test_matches_openmm_for_charmm(build):
    system, positions = build(CHIGNOLIN, *CHARMM)
    assert {"CMAPTorsionForce", "CustomTorsionForce", "CustomNonbondedForce"} <= {
        type(force).__name__ for force in system.getForces()
    }
    assert_agrees(system, positions)


def test_matches_openmm_for_custom_born_force(build):
    # OpenMM rounds Coulomb's constant in this force: 138.935485.
    assert_agrees(*build(CHIGNOLIN, *IMPLICIT_CUSTOM), tolerance=1e-5)


@pytest.mark.parametrize("constrained", [True, False])
def test_constrained_bonds_have_no_energy(build, constrained):
    from openmm import app

    system, positions = build(ADP, *VACUUM, constraints=app.HBonds if constrained else None)
    x = torch.tensor(positions)
    x[17] += 0.03  # the hydrogen of the second amide leaves its nitrogen
    bonds = Potential(ForceField.from_openmm(system), torch.float64).terms(x)["bonds"]
    assert (bonds < 50) == constrained


def test_matches_openmm_far_from_equilibrium(build):
    system, positions = build(ADP, *IMPLICIT)
    generator = np.random.default_rng(0)
    assert_agrees(system, positions + generator.normal(0, 0.05, positions.shape))


def test_an_atom_inside_another(build):
    system, positions = build(ADP, *IMPLICIT)
    positions[0] = positions[10] + [0.01, 0.0, 0.0]
    assert_agrees(system, positions)


def test_phases_between_zero_and_a_half_turn():
    system = openmm.System()
    force = openmm.PeriodicTorsionForce()
    for periodicity, phase in enumerate([0.3, 1.0, 2.0, -0.7, 3.0, 1.5], start=1):
        force.addTorsion(
            *(range(4) if periodicity % 2 else (3, 2, 1, 0)), periodicity, phase, 4.0 + periodicity
        )
    system.addForce(force)
    for _ in range(4):
        system.addParticle(12.0)
    for seed in range(5):
        assert_agrees(system, np.random.default_rng(seed).normal(size=(4, 3)))


def test_correction_maps_on_all_sides(build):
    system, positions = build(ADP, *AMBER_CMAP)
    for seed in range(10):
        assert_agrees(system, np.random.default_rng(seed).normal(0, 0.3, positions.shape), tolerance=1e-7)


def test_terms_add_up(solvated):
    potential, frames = solvated
    terms = potential.terms(frames)
    assert set(terms) == {
        "bonds", "angles", "torsions", "corrections", "lennard_jones", "coulomb", "solvent",
    }  # fmt: skip
    torch.testing.assert_close(sum(terms.values()), potential(frames))


def test_gradcheck(build):
    for files in (IMPLICIT, AMBER_CMAP):
        system, positions = build(ADP, *files)
        potential = Potential(ForceField.from_openmm(system), torch.float64)
        x = torch.tensor(positions).requires_grad_()
        assert torch.autograd.gradcheck(potential, (x,), eps=1e-6, atol=1e-3, rtol=1e-5)


def test_second_derivatives_are_refused(solvated):
    potential, frames = solvated
    x = frames.clone().requires_grad_()
    with pytest.raises(
        RuntimeError, match="^a potential has first derivatives only; .* without create_graph$"
    ):
        torch.autograd.grad(potential(x).sum(), x, create_graph=True)


@pytest.mark.parametrize("at_once", [1, 500, 2**20])
def test_batch_equals_single(solvated, monkeypatch, at_once):
    potential, frames = solvated
    energies, gradients = zip(*map(potential.energy_and_gradient, frames), strict=True)
    monkeypatch.setitem(nonbonded.PAIRS_AT_ONCE, "cpu", at_once)
    energy, gradient = potential.energy_and_gradient(frames.expand(2, 60, -1, -1, -1))
    assert energy.shape == (2, 60, 5) and gradient.shape == (2, 60, 5, 22, 3)
    torch.testing.assert_close(energy, torch.stack(energies).expand_as(energy))
    torch.testing.assert_close(gradient, torch.stack(gradients).expand_as(gradient))


def test_empty_and_non_contiguous(solvated):
    potential, frames = solvated
    energy, gradient = potential.energy_and_gradient(frames[:0])
    assert energy.shape == (0,) and gradient.shape == (0, 22, 3)
    turned = frames.transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(potential(turned), potential(frames))


def test_rotation_translation(solvated):
    potential, frames = solvated
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    rotation *= torch.linalg.det(rotation)
    energy, gradient = potential.energy_and_gradient(frames)
    moved, turned = potential.energy_and_gradient(frames @ rotation.T + torch.randn(3, dtype=torch.float64))
    torch.testing.assert_close(moved, energy)
    torch.testing.assert_close(turned, gradient @ rotation.T, rtol=1e-6, atol=1e-6)


def test_single_precision(build):
    system, positions = build(CHIGNOLIN, *IMPLICIT)
    force_field = ForceField.from_openmm(system)
    x = torch.tensor(positions - positions.mean(0))
    energy, gradient = Potential(force_field).energy_and_gradient(x.float())
    expected, slope = Potential(force_field, torch.float64).energy_and_gradient(x)
    assert energy.item() == pytest.approx(expected.item(), rel=1e-5)
    assert (gradient - slope).abs().max() < 1e-4 * slope.abs().max()


def test_coinciding_atoms_give_finite_numbers(build):
    system, positions = build(ADP, *IMPLICIT)
    x = torch.tensor(positions, dtype=torch.float32)
    x[:5] = x[0]
    energy, gradient = Potential(ForceField.from_openmm(system)).energy_and_gradient(x)
    assert energy.isfinite() and gradient.isfinite().all()


@pytest.mark.skipif(not shutil.which("g++") and not shutil.which("clang++"), reason="no C++ compiler")
def test_compiled_equals_eager(build):
    system, positions = build(ADP, *VACUUM)
    force_field = ForceField.from_openmm(system)
    x = torch.tensor(positions, dtype=torch.float32).expand(8, -1, -1)
    compiled = Potential(force_field, compiled=True)
    torch.testing.assert_close(compiled(x), Potential(force_field)(x))


def test_cuda_matches_cpu(solvated, cuda):
    potential, frames = solvated
    energy, gradient = potential.energy_and_gradient(frames)
    on_gpu = potential.to(cuda).energy_and_gradient(frames.to(cuda))
    potential.cpu()
    torch.testing.assert_close(on_gpu[0].cpu(), energy)
    torch.testing.assert_close(on_gpu[1].cpu(), gradient)


@pytest.mark.parametrize(
    "positions, error, message",
    [
        (
            torch.zeros(2, 21, 3, dtype=torch.float64),
            ValueError,
            r"positions has the shape \(2, 21, 3\); it must be \(\.\.\., 22, 3\)",
        ),
        (
            torch.zeros(22, 3),
            TypeError,
            "positions is torch.float32, but the potential is torch.float64",
        ),
        (
            torch.zeros(22, 3, dtype=torch.float64, device="meta"),
            ValueError,
            "positions is on meta, but the potential is on cpu",
        ),
    ],
    ids=["shape", "dtype", "device"],
)
def test_bad_input(solvated, positions, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        solvated[0](positions)


def test_bad_dtype(build):
    system, _ = build(ADP, *VACUUM)
    with pytest.raises(TypeError, match="^dtype is torch.float16; give float32 or float64$"):
        Potential(ForceField.from_openmm(system), torch.float16)


@pytest.mark.parametrize("files", [VACUUM, IMPLICIT, CHARMM], ids=" ".join)
def test_energies_of_atoms_sum_to_that_of_the_molecule(build, files):
    system, positions = build(CHIGNOLIN, *files)
    potential = Potential(ForceField.from_openmm(system), torch.float64)
    frames = torch.tensor(positions) + 0.005 * torch.randn(2, len(positions), 3, dtype=torch.float64)
    each = potential.atom_energies(frames)
    assert each.shape == frames.shape[:-1]
    torch.testing.assert_close(each.sum(-1), potential(frames))


def test_a_bond_belongs_to_its_atoms(build):
    system, positions = build(ADP, *VACUUM)
    force_field = ForceField.from_openmm(system)
    potential = Potential(force_field, torch.float64)
    x = torch.tensor(positions)[None].permute(2, 1, 0).contiguous()
    bonds = potential.bonded(x, None, by_atom=True)["bonds"][:, 0].numpy()
    expected = np.zeros(len(positions))
    for (i, j), (length, stiffness) in zip(force_field.bonds, force_field.bond_parameters, strict=True):
        energy = stiffness * (np.linalg.norm(positions[i] - positions[j]) - length) ** 2 / 2
        expected[[i, j]] += energy / 2
    np.testing.assert_allclose(bonds, expected, atol=1e-9)
