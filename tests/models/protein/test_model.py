import pytest
import torch

from backmap.chemistry import SLOT_CA
from backmap.errors import InputError
from backmap.inference.protein import ProteinBuilder
from backmap.models.checkpoint import load_checkpoint, load_model, save_checkpoint, to_checkpoint
from backmap.models.protein.config import ProteinConfig
from backmap.models.protein.peptide_planes import draw_class
from tests.models.protein.conftest import SMALL


@pytest.fixture
def engine(model, two_helices):
    topology, _ = two_helices
    return ProteinBuilder(model, topology, topology.linked())


def test_all_atoms_are_built_and_c_alphas_stay(engine, two_helices):
    topology, c_alpha = two_helices
    atoms = engine.reconstruct(c_alpha[None], numbers=torch.arange(1), samples=3, seed=0)
    assert atoms.shape == (3, 1, 25, 15, 3)
    assert torch.equal(atoms[:, 0, :, SLOT_CA], c_alpha.expand(3, -1, -1))
    built = torch.from_numpy(topology.atom_mask)
    assert torch.isfinite(atoms).all()
    assert (atoms[:, 0] != 0).any(dim=-1)[:, built].all()


def test_rotation_and_translation_turn_the_atoms(engine, two_helices, random_rotation):
    _, c_alpha = two_helices
    atoms = engine.reconstruct(c_alpha[None], numbers=torch.arange(1), samples=1, seed=0)
    moved = c_alpha @ random_rotation.T + torch.tensor([0.3, -0.2, 0.1])
    turned = engine.reconstruct(moved[None], numbers=torch.arange(1), samples=1, seed=0)
    expected = atoms @ random_rotation.T + torch.tensor([0.3, -0.2, 0.1])
    built = torch.from_numpy(two_helices[0].atom_mask)
    error = (turned - expected).norm(dim=-1)[0, 0][built]
    # Rounding may tip one draw at the very edge of a bin, not more.
    assert (error > 1e-3).float().mean() < 0.05


def test_chains_across_a_face_meet(engine, two_helices):
    """A chain that stands some box vectors away is built as the one beside."""
    _, c_alpha = two_helices
    build = {"numbers": torch.arange(1), "samples": 3, "seed": 0}
    box = torch.tensor([[6.0, 0, 0], [-2.9, 7, 0], [1.0, 3, 8]])
    beside = engine.reconstruct(c_alpha[None], **build)
    assert (engine.reconstruct(c_alpha[None], **build, box=box[None]) - beside).abs().max() < 1e-4
    shift = torch.zeros_like(c_alpha)
    shift[20:] = torch.tensor([1.0, -2, 1]) @ box
    away = (c_alpha + shift)[None]
    built = torch.from_numpy(two_helices[0].atom_mask)

    def differing(atoms: torch.Tensor) -> float:
        """Share of atoms that differ: rounding may tip single draws."""
        error = (atoms - shift[:, None] - beside).norm(dim=-1)[:, 0, built]
        return (error > 1e-3).float().mean().item()

    assert differing(engine.reconstruct(away, **build, box=box[None])) < 0.01
    assert differing(engine.reconstruct(away, **build)) > 0.03


def test_batch_of_one_equals_batch_of_many(engine, two_helices):
    _, c_alpha = two_helices
    frames = c_alpha + 0.01 * torch.randn(7, 25, 3, generator=torch.Generator().manual_seed(2))
    together = engine.reconstruct(frames, numbers=torch.arange(len(frames)), samples=2, seed=4)
    alone = torch.cat(
        [
            engine.reconstruct(frames[i : i + 1], numbers=torch.tensor([i]), samples=2, seed=4)
            for i in range(7)
        ],
        dim=1,
    )
    assert torch.allclose(together, alone, atol=1e-5)


def test_seed_decides(engine, two_helices):
    _, c_alpha = two_helices
    draw = [
        engine.reconstruct(c_alpha[None], numbers=torch.arange(1), samples=1, seed=seed) for seed in (1, 1, 2)
    ]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])


def test_another_chain_far_away_changes_nothing_but_itself(model, two_helices):
    topology, c_alpha = two_helices
    engine = ProteinBuilder(model, topology, topology.linked())
    c_alpha = c_alpha.clone()
    c_alpha[20:] += 50.0
    near = engine.reconstruct(c_alpha[None], numbers=torch.arange(1), samples=1, seed=0)
    c_alpha[20:] += 1.0
    far = engine.reconstruct(c_alpha[None], numbers=torch.arange(1), samples=1, seed=0)
    # Neighbours are the nearest residues at any distance, so only geometry close by may not move.
    assert torch.allclose(near[..., :20, SLOT_CA, :], far[..., :20, SLOT_CA, :])


def test_draw_class_follows_the_probabilities():
    logits = torch.log(torch.tensor([0.1, 0.6, 0.0, 0.3]))
    uniforms = (torch.arange(1000) + 0.5) / 1000
    counts = torch.bincount(draw_class(logits.expand(1000, -1), uniforms), minlength=4)
    assert counts.tolist() == [100, 600, 0, 300]
    assert draw_class(logits, torch.tensor(0.99999994)) == 3


def test_checkpoint_gives_the_same_model(model, engine, two_helices, tmp_path):
    topology, c_alpha = two_helices
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, to_checkpoint("protein", SMALL, model, {"seed": 0}))
    again = ProteinBuilder(load_model(path), topology, topology.linked())
    assert load_checkpoint(path).provenance == {"seed": 0}
    same = again.reconstruct(c_alpha[None], numbers=torch.arange(1), samples=1, seed=3)
    assert torch.equal(same, engine.reconstruct(c_alpha[None], numbers=torch.arange(1), samples=1, seed=3))


def test_bad_checkpoints_are_refused(tmp_path, model):
    with pytest.raises(InputError, match="is not a model file"):
        load_model(tmp_path / "nothing")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a model")
    with pytest.raises(InputError, match="is not a model file"):
        load_model(broken)
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, to_checkpoint("alchemy", SMALL, model, {}))
    with pytest.raises(InputError, match="'alchemy' model"):
        load_model(other)
    wrong = tmp_path / "wrong.safetensors"
    save_checkpoint(wrong, to_checkpoint("protein", ProteinConfig(), model, {}))
    with pytest.raises(InputError, match="do not match"):
        load_model(wrong)
