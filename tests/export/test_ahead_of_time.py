"""A step of a temporal model as machine code against the same step in Python and in TorchScript."""

import json

import pytest
import torch

from backmap.chemistry import LinearMapping, Molecule
from backmap.cli.main import main
from backmap.errors import InputError
from backmap.export.ahead_of_time import TemporalStep, save_ahead_of_time
from backmap.export.temporal import ExportedTemporal
from backmap.models.temporal.config import InternalConfig, TemporalConfig
from backmap.models.temporal.model import TemporalModel
from tests.export.test_temporal import make_model

ATOMS = 5


def frames(count: int, seed: int) -> torch.Tensor:
    """Frames (count, atoms, 3) of a short zigzag that trembles, in nm."""
    at_rest = torch.tensor([[0.12 * atom, 0.08 * (atom % 2), 0.03 * (atom == 3)] for atom in range(ATOMS)])
    generator = torch.Generator().manual_seed(seed)
    return at_rest + 0.01 * torch.randn(count, ATOMS, 3, generator=generator)


def make_small_model() -> TemporalModel:
    """An untrained model of a chain of five atoms, three of them beads; half of its draws are unphysical."""
    torch.manual_seed(1)
    names = tuple(f"C{atom}" for atom in range(ATOMS))
    bonds = tuple((atom, atom + 1) for atom in range(ATOMS - 1))
    molecule = Molecule(names, ("C",) * ATOMS, ("MOL",) * ATOMS, (1,) * ATOMS, bonds)
    config = TemporalConfig("internal-coordinates", internal=InternalConfig(hidden=8, layers=1, latent=4))
    model = TemporalModel(config, molecule, LinearMapping.from_atoms((0, 2, 4), molecule)).eval()
    frame, previous = frames(60, 1), frames(60, 2).unsqueeze(1)
    model.autoencoder.fit(frame, previous)
    model.library = torch.cat([previous, frame.unsqueeze(1)], dim=1)
    drawn = model.step(model.beads_of(frame), previous, torch.rand(60, model.uniforms_per_frame))
    length = (drawn[:, 0] - drawn[:, 1]).norm(dim=-1)
    model.bond_range[0] = length.quantile(torch.tensor([0.25, 0.75]))
    return model


def beads_of(model: TemporalModel, count: int) -> torch.Tensor:
    """Beads (count, beads, 3) float64 in nm, far from the origin."""
    return model.beads_of(frames(count, 3)).double() + 50.0


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A model, and its package. Compiling takes a while, most of it for code that is called once a step."""
    model, path = make_small_model(), tmp_path_factory.mktemp("export") / "model.pt2"
    with torch._inductor.config.patch({"aot_inductor.compile_wrapper_opt_level": "O0"}):
        save_ahead_of_time(path, model, {"backmap": "1.2.3"}, "# card\n")
    return model, torch._inductor.aoti_load_package(str(path))


def scalars(*values: int) -> list[torch.Tensor]:
    return [torch.tensor(value) for value in values]


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_any_number_of_rows_and_any_random_numbers(both, rows):
    model, package = both
    beads = beads_of(model, rows)
    previous = ExportedTemporal(model).seed_frames(beads)
    for frame, seed, attempt in ((0, 0, 0), (7, 2**63 - 1, 0), (7, 5, 3)):
        inputs = (beads, previous, *scalars(frame, seed, attempt), torch.arange(rows) + 3)
        for found, expected in zip(package(*inputs), TemporalStep(model)(*inputs), strict=True):
            assert found.dtype == expected.dtype
            assert (found.double() - expected.double()).abs().max() < 1e-5


def test_rollout_is_that_of_torchscript(both):
    """Frame after frame, unphysical ones drawn again by the caller, until the library would have to help."""
    model, package = both
    beads, whole = beads_of(model, 6), ExportedTemporal(model)
    previous, again = whole.seed_frames(beads[:1]), 0
    expected, there = whole.rollout(beads, seed=2)
    assert there.all()
    for number, frame in enumerate(beads):
        for attempt in range(5):
            inputs = (frame[None], previous, *scalars(number, 2, attempt), torch.tensor([0]))
            atoms, following, physical = package(*inputs)
            if bool(physical):
                break
            again += 1
        assert (atoms[0] - expected[0, number]).abs().max() < 1e-5
        previous = following
    assert again > 0


def test_package_says_what_it_is(both):
    _, package = both
    metadata = package.get_metadata()
    described = json.loads(metadata["metadata.json"])
    assert described["family"] == "temporal" and described["backmap"] == "1.2.3"
    assert metadata["card.md"] == "# card\n" and int(metadata["format"]) == described["format"]


def test_what_cannot_be_compiled_ahead_of_time_is_refused(tmp_path, capsys):
    for name in ("protein", "diamondback"):
        assert main(["export", name, "--format", "aot", "-o", str(tmp_path / "model.pt2")]) == 2
        assert "only temporal models can be compiled ahead of time" in capsys.readouterr().err
    assert main(["export", "chignolin", "--format", "aot", "-o", str(tmp_path / "model.ts")]) == 2
    assert "must end in .pt2" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="voxel models"):
        save_ahead_of_time(tmp_path / "model.pt2", make_model("voxels"), {}, "")
