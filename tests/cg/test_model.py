from __future__ import annotations

import pytest
import torch

from backmap.cg.model import CgForceField, kinds_of_beads, load_force_field
from backmap.cg.prior import handedness, torsion_angles
from backmap.errors import InputError
from backmap.models.checkpoint import save_checkpoint
from tests.cg.force_fields import CONFIG, small_force_field


@pytest.fixture(scope="module")
def force_field() -> CgForceField:
    return small_force_field(scale=20.0).double()


@pytest.fixture(scope="module")
def beads(force_field) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    start = force_field.start[:5]
    return start + 0.01 * torch.randn(start.shape, generator=generator, dtype=torch.float64)


def test_gradcheck(force_field, beads):
    assert torch.autograd.gradcheck(force_field, beads.requires_grad_(True), atol=1e-5)


def test_forces_are_the_gradient(force_field, beads):
    energy, forces = force_field.energy_and_forces(beads)
    step = 1e-6
    for bead, axis in ((0, 0), (2, 1), (5, 2)):
        there, back = beads.detach().clone(), beads.detach().clone()
        there[:, bead, axis] += step
        back[:, bead, axis] -= step
        slope = (force_field(there) - force_field(back)) / (2 * step)
        torch.testing.assert_close(-slope, forces[:, bead, axis], rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(energy, force_field(beads))


def test_rotation_translation(force_field, beads):
    turn = torch.linalg.matrix_exp(torch.tensor([[0, 1, -2], [-1, 0, 3], [2, -3, 0]], dtype=torch.float64))
    energy, forces = force_field.energy_and_forces(beads)
    moved, moved_forces = force_field.energy_and_forces(beads @ turn + 7.0)
    torch.testing.assert_close(moved, energy, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(moved_forces, forces @ turn, rtol=1e-7, atol=1e-6)


def test_forces_neither_push_nor_turn_the_whole(force_field, beads):
    _, forces = force_field.energy_and_forces(beads)
    largest = float(forces.abs().max())
    assert forces.sum(dim=1).abs().max() < 1e-9 * largest
    torque = torch.linalg.cross(beads.detach(), forces, dim=-1).sum(dim=1)
    assert torque.abs().max() < 1e-9 * largest


def test_beads_of_one_kind_can_be_exchanged(force_field, beads):
    """The network knows kinds and distances, but not the order of beads of the same kind."""
    network = force_field.network
    kinds = network.kinds.clone()
    try:
        network.kinds[:] = torch.tensor([0, 1, 2, 3, 0, 1])
        order = torch.tensor([4, 5, 2, 3, 0, 1])
        torch.testing.assert_close(network(beads[:, order]), network(beads))
        other = torch.tensor([1, 0, 2, 3, 4, 5])
        assert (network(beads[:, other]) - network(beads)).abs().min() > 1e-6
    finally:
        network.kinds[:] = kinds


def test_a_mirror_image_has_another_energy_because_of_the_prior(force_field, beads):
    mirrored = beads * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(force_field.network(mirrored), force_field.network(beads))
    assert (force_field(mirrored) > force_field(beads) + 100.0).all()


def test_a_torsion_and_a_hand_that_are_known():
    square = torch.tensor([[[1.0, 0, 0], [0, 0, 0], [0, 1.0, 0], [0, 1.0, 1.0]]])
    cosine, sine = torsion_angles(square, torch.tensor([[0, 1, 2, 3]]))
    assert cosine.item() == pytest.approx(0.0, abs=1e-6)
    assert abs(sine.item()) == pytest.approx(1.0, abs=1e-6)
    corner = torch.tensor([[[0, 0, 0], [2.0, 0, 0], [0, 3.0, 0], [0, 0, 1.0]]])
    assert handedness(corner, torch.tensor([[0, 1, 2, 3]])).item() == pytest.approx(1.0, abs=1e-6)
    assert handedness(corner, torch.tensor([[0, 2, 1, 3]])).item() == pytest.approx(-1.0, abs=1e-6)


def test_beads_on_top_of_each_other_have_finite_forces(force_field):
    energy, forces = force_field.energy_and_forces(torch.zeros(1, 6, 3, dtype=torch.float64))
    assert energy.isfinite().all() and forces.isfinite().all()


def test_a_file_is_enough(tmp_path):
    force_field = small_force_field()
    save_checkpoint(tmp_path / "cg.safetensors", force_field.to_checkpoint({}))
    again = load_force_field(tmp_path / "cg.safetensors")
    beads = force_field.start[:4]
    torch.testing.assert_close(again(beads), force_field(beads), rtol=0, atol=0)
    assert torch.equal(again.start, force_field.start) and again.config == CONFIG


def test_torchscript_gives_the_same(force_field, beads):
    scripted = torch.jit.script(force_field)
    energy, forces = force_field.energy_and_forces(beads)
    for of_script, of_python in zip(scripted.energy_and_forces(beads), (energy, forces), strict=True):
        torch.testing.assert_close(of_script, of_python)


@pytest.mark.parametrize("name", ["protein", "alanine-dipeptide"])
def test_other_models_are_refused(name):
    from backmap.models.shipped import shipped_models

    with pytest.raises(InputError, match="give a force field made by"):
        load_force_field(shipped_models()[name].path)


def test_a_damaged_file_is_refused(tmp_path):
    checkpoint = small_force_field().to_checkpoint({})
    del checkpoint.tensors["prior.pair_sigma"]
    save_checkpoint(tmp_path / "cg.safetensors", checkpoint)
    with pytest.raises(InputError, match=r"cg\.safetensors.*pair_sigma.*missing"):
        load_force_field(tmp_path / "cg.safetensors")


def test_kinds_of_beads():
    assert kinds_of_beads(small_force_field().beads) == [0, 1, 2, 3, 4, 5]
