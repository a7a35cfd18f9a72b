"""Reading frames with forces: what belongs together is taken, what does not is refused."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from backmap.chemistry import LinearMapping
from backmap.datasets.mapped_forces import Aggregation, ForceUnit, load_mapped_forces
from backmap.errors import InputError
from backmap.io import open_writer
from backmap.io.atom_list import AtomList
from tests.models.temporal.dipeptide import BEAD_ATOMS, STRUCTURE, dipeptide

KT = 8.314462618e-3 * 300
FRAMES = 1200


@pytest.fixture(scope="module")
def sprung() -> tuple[np.ndarray, np.ndarray]:
    """Alanine dipeptide as an elastic network at 300 K: frames and forces in equilibrium."""
    _, _, start = dipeptide()
    rest = start.double().numpy()
    n = len(rest)
    apart = rest[:, None] - rest[None]
    distance = np.linalg.norm(apart, axis=-1) + np.eye(n)
    blocks = -np.einsum("ijx,ijy->ijxy", apart, apart) / distance[..., None, None] ** 2 * 4e3
    blocks[np.arange(n), np.arange(n)] = -blocks.sum(axis=1)
    hessian = blocks.swapaxes(1, 2).reshape(3 * n, 3 * n)
    values, vectors = np.linalg.eigh(hessian)
    moving = values > 1e-6 * values.max()
    generator = np.random.default_rng(4)
    normal = generator.normal(size=(FRAMES, moving.sum())) * np.sqrt(KT / values[moving])
    moved = normal @ vectors[:, moving].T
    return (rest.ravel() + moved).reshape(FRAMES, n, 3), -(moved @ hessian).reshape(FRAMES, n, 3)


def write(folder, frames, forces, name="train"):
    molecule, _, _ = dipeptide()
    with open_writer(folder / f"{name}.dcd", AtomList.of_molecule(molecule), overwrite=True) as writer:
        writer.write(frames)
    np.save(folder / f"{name}.forces.npy", forces.astype(np.float32))
    return folder / f"{name}.dcd"


def load(*trajectories, **options):
    mapping_of = partial(LinearMapping.from_atoms, BEAD_ATOMS)
    options.setdefault("constrain_hydrogens", False)
    return load_mapped_forces(trajectories, STRUCTURE, mapping_of=mapping_of, **options)


@pytest.mark.parametrize("aggregation", list(Aggregation))
def test_both_are_mapped_and_parted_in_time(tmp_path, sprung, aggregation):
    found = load(write(tmp_path, *sprung), aggregation=aggregation, train_share=0.75)
    data, held_out = found.train, found.held_out
    assert (len(data), len(held_out)) == (900, 300)
    assert np.allclose(data.beads, sprung[0][:900, BEAD_ATOMS], atol=1e-5)
    if aggregation is Aggregation.BASIC:
        assert np.allclose(held_out.forces, sprung[1][900:, BEAD_ATOMS], rtol=1e-4, atol=0.05)
    ratio, error = data.virial_ratio(KT)
    assert ratio == pytest.approx(1.0, abs=5 * error) and error < 0.2
    assert data.data_hash != held_out.data_hash


def test_units_are_told_apart(tmp_path, sprung):
    frames, forces = sprung
    path = write(tmp_path, frames, forces / 41.84)
    with pytest.raises(InputError, match='seem to be in kcal/mol/A; set force_unit = "kcal/mol/A"'):
        load(path)
    data = load(path, unit=ForceUnit.KCAL_PER_MOL_ANGSTROM, aggregation=Aggregation.BASIC).train
    assert np.allclose(data.forces, forces[: len(data), BEAD_ATOMS], rtol=1e-3, atol=0.1)
    with pytest.raises(InputError, match="seem to be in kJ/mol/nm; leave out force_unit"):
        load(write(tmp_path, frames, forces), unit=ForceUnit.KCAL_PER_MOL_ANGSTROM)


def test_forces_of_other_frames_are_refused(tmp_path, sprung):
    frames, forces = sprung
    with pytest.raises(InputError, match="do not belong to the frames: by the virial theorem"):
        load(write(tmp_path, frames, np.roll(forces, 100, axis=0)))
    with pytest.raises(InputError, match="do not belong to the frames"):
        load(write(tmp_path, frames, -forces))


def test_weights_of_biased_frames(tmp_path, sprung):
    path = write(tmp_path, *sprung)
    np.save(tmp_path / "train.log_weights.npy", np.linspace(0, 2, FRAMES).astype(np.float32))
    weights = load(path).train.weights
    assert weights.mean() == pytest.approx(1.0)
    assert weights[-1] / weights[0] == pytest.approx(np.exp(2 * (len(weights) - 1) / (FRAMES - 1)), rel=1e-4)
    np.save(tmp_path / "train.log_weights.npy", np.zeros(5, dtype=np.float32))
    with pytest.raises(InputError, match="must hold one finite number for each of 1200 frames"):
        load(path)


def test_trajectories_without_forces_come_after_the_others(tmp_path, sprung):
    frames, forces = sprung
    path = write(tmp_path, frames[:800], forces[:800])
    more = write(tmp_path, frames[800:], forces[800:], "more")
    found = load(path, without_forces=[more], train_share=0.5, aggregation=Aggregation.BASIC)
    for side, first in ((found.train, 0), (found.held_out, 400)):
        assert side.has_forces.tolist() == [True] * 400 + [False] * 200
        assert np.allclose(side.beads[400:], frames[800 + first // 2 :][:200, BEAD_ATOMS], atol=1e-5)
        assert np.allclose(side.forces[:400], forces[first:][:400, BEAD_ATOMS], rtol=1e-4, atol=0.05)
        assert np.isnan(side.forces[400:]).all()
    with pytest.raises(InputError, match="400 frames are too few to learn forces from"):
        load(write(tmp_path, frames[:400], forces[:400]), without_forces=[more])


def test_bad_input(tmp_path, sprung):
    frames, forces = sprung
    path = write(tmp_path, frames, forces)
    (tmp_path / "train.forces.npy").unlink()
    with pytest.raises(InputError, match=r"train\.forces\.npy: there are no forces; write them with"):
        load(path)
    with pytest.raises(InputError, match=r"has shape \(1200, 21, 3\), but its trajectory needs"):
        load(write(tmp_path, frames, forces[:, :21]))
    with pytest.raises(InputError, match="100 frames are too few to learn forces from; give at least 500"):
        load(write(tmp_path, frames[:100], forces[:100]))
    holed = forces.copy()
    holed[7, 3, 1] = np.nan
    with pytest.raises(InputError, match="the forces of frame 8 are not finite"):
        load(write(tmp_path, frames, holed))
    (tmp_path / "train.forces.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match="cannot be read as a NumPy array"):
        load(path)
    np.save(tmp_path / "train.forces.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read as a NumPy array"):
        load(path)
    with pytest.raises(InputError, match="1 trajectories need as many files of forces, not 2"):
        load(path, forces=["a.npy", "b.npy"])
