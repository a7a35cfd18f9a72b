from pathlib import Path

import pytest
import torch

from backmap.cli.main import main
from backmap.models.checkpoint import load_model
from backmap.models.temporal.config import InternalConfig, TemporalConfig, VoxelConfig
from backmap.training.loop import LoopConfig, TrainingLoop
from backmap.training.temporal import (
    DivergenceSchedule,
    EnergySchedule,
    LossWeights,
    TemporalTrainingConfig,
    random_rotations,
    train_temporal,
)
from tests.models.temporal.dipeptide import STRUCTURE, dipeptide, moving_dipeptide

CPU = torch.device("cpu")
INTERNAL = TemporalConfig("internal-coordinates", internal=InternalConfig(hidden=32, layers=1, latent=8))
REGRESSION = TemporalConfig(
    "internal-coordinates",
    internal=InternalConfig(hidden=32, layers=1, latent=8, dropout=0.2, regression=True),
)
VOXELS = TemporalConfig(
    "voxels", voxels=VoxelConfig(grid_points=6, width_nm=1.2, sigma_nm=0.095, channels=2, latent=8)
)

ORIENTED = TemporalConfig(
    "voxels",
    voxels=VoxelConfig(
        grid_points=8,
        sigma_nm=0.135,
        channels=4,
        latent=8,
        network="separable",
        orientation="beads",
        hidden=16,
    ),
)
CONFIGS = {"internal": INTERNAL, "regression": REGRESSION, "voxels": VOXELS, "oriented": ORIENTED}


def training(epochs: int, **settings) -> TemporalTrainingConfig:
    loop = LoopConfig(epochs, drawn_per_epoch=64, batch=16, warm_up_epochs=1, validate_every=1)
    return TemporalTrainingConfig(loop, seed=5, mixture_codes=200, **settings)


def train(config, settings, folder, resume=False, **options):
    folder.mkdir(exist_ok=True)
    molecule, mapping, _ = dipeptide()
    data, held_out = moving_dipeptide(300).split(0.8)
    return train_temporal(config, settings, molecule, mapping, data, held_out, folder, CPU, resume, **options)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_resumed_equals_uninterrupted(config, tmp_path, monkeypatch):
    whole = train(config, training(3), tmp_path / "whole")
    train_epoch = TrainingLoop._train_epoch

    def killed(loop, *arguments):
        if loop.epoch == 2:
            raise KeyboardInterrupt
        return train_epoch(loop, *arguments)

    monkeypatch.setattr(TrainingLoop, "_train_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config, training(3), tmp_path / "parts")
    monkeypatch.undo()
    resumed = train(config, training(3), tmp_path / "parts", resume=True)
    found = resumed.model.state_dict()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(found[name], tensor), name
    assert [entry["loss"] for entry in resumed.history] == [entry["loss"] for entry in whole.history]


@pytest.mark.parametrize("config", [INTERNAL, VOXELS, ORIENTED], ids=["internal", "voxels", "oriented"])
def test_loss_falls(config, tmp_path):
    loop = LoopConfig(
        12, drawn_per_epoch=128, batch=16, learning_rate=3e-3, schedule="constant", validate_every=12
    )
    result = train(config, TemporalTrainingConfig(loop, mixture_codes=200), tmp_path)
    assert result.history[-1]["loss"] < result.history[0]["loss"] * 0.9
    assert {"reconstruction", "coordinates", "beads", "distances", "divergence"} <= set(result.history[0])
    rows = (tmp_path / "temporal.csv").read_text().splitlines()
    assert len(rows) == 13 and rows[0].startswith("epoch,loss,samples_per_s,reconstruction")


def test_what_is_learned_besides_the_weights(tmp_path):
    model = train(INTERNAL, training(1), tmp_path).model
    assert model.mixture.means.shape == (10, 8)
    assert torch.allclose(model.mixture.weights.sum(), torch.tensor(1.0))
    assert model.library.shape == (239, 2, 22, 3)
    frames = torch.from_numpy(moving_dipeptide(20, seed=9).coordinates)
    assert model.is_physical(frames, model.beads_of(frames)).all()


def test_energy_enters_when_its_schedule_begins(tmp_path):
    def energy(frames: torch.Tensor) -> torch.Tensor:
        return 1e3 * (frames[:, 0] - frames[:, 1]).square().sum(-1)

    schedule = EnergySchedule(start_step=4, rise_steps=4, gradient_clip=0.1)
    settings = training(3, weights=LossWeights(energy=1.0), energy_schedule=schedule)
    history = train(INTERNAL, settings, tmp_path, energy=energy).history
    assert ["energy" in entry for entry in history] == [False, True, True]
    with pytest.raises(ValueError, match="weighs the energy, but no force field is given"):
        train(INTERNAL, settings, tmp_path / "without")


def test_schedules():
    energy = EnergySchedule(start_step=100, rise_steps=100, first_weight=1e-6)
    assert [energy.weight(step) for step in (0, 99, 100)] == [0, 0, 1e-6]
    assert energy.weight(150) == pytest.approx(1e-3)
    assert energy.weight(10_000) == 1
    cyclic = DivergenceSchedule(cycles=2, steps_per_cycle=100)
    assert [cyclic.weight(step) for step in (0, 25, 50, 99, 100, 125, 200)] == [0, 0.5, 1, 1, 0, 0.5, 1]
    assert DivergenceSchedule().weight(0) == 1
    falling = DivergenceSchedule(cycles=1, steps_per_cycle=100, start=5)
    assert [falling.weight(step) for step in (0, 25, 50, 99, 100, 1000)] == [5, 3, 1, 1, 1, 1]


def test_rotations_are_rotations():
    torch.manual_seed(0)
    turns = random_rotations(2000, CPU)
    assert torch.allclose(turns @ turns.transpose(1, 2), torch.eye(3).expand(2000, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(turns), torch.ones(2000), atol=1e-5)
    assert turns.mean(0).abs().max() < 0.05


def test_a_grid_that_does_not_enclose_is_refused(tmp_path):
    small = TemporalConfig("voxels", voxels=VoxelConfig(width_nm=0.6, latent=8))
    with pytest.raises(ValueError, match="does not enclose the molecule"):
        train(small, training(1), tmp_path)


# ---- The command line --------------------------------------------------------------------------


@pytest.fixture
def trajectory(tmp_path):
    import mdtraj

    path = tmp_path / "frames.dcd"
    topology = mdtraj.load(str(STRUCTURE)).topology
    mdtraj.Trajectory(moving_dipeptide(120).coordinates, topology).save(str(path))
    return path


CONFIG = """
[data]
trajectories = ["{trajectory}"]
topology = "{topology}"
[mapping]
{mapping}
[model]
representation = "internal-coordinates"
[model.internal]
hidden = 16
latent = 8
[training]
mixture_codes = 100
[training.loop]
epochs = 1
drawn_per_epoch = 32
batch = 16
"""


def config_file(tmp_path, trajectory, mapping="atoms = [4, 6, 8, 10, 14, 16]", extra=""):
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(trajectory=trajectory, topology=STRUCTURE, mapping=mapping) + extra)
    return str(path)


def test_train_writes_a_model_that_runs(tmp_path, trajectory):
    out = tmp_path / "out"
    assert main(["train", "temporal", config_file(tmp_path, trajectory), "-o", str(out)]) == 0
    model = load_model(out / "temporal.safetensors")
    seeds = model.seed_frames(model.beads_of(model.library[:3, -1]))
    drawn = model.step(model.beads_of(model.library[:3, -1]), seeds, torch.rand(3, model.uniforms_per_frame))
    assert torch.isfinite(drawn).all()
    assert (out / "samples" / "epoch_00001.pdb").is_file()
    assert (out / "temporal.csv").is_file()


def test_energy_of_a_force_field(tmp_path, trajectory):
    pytest.importorskip("openmm")
    extra = """
[energy]
force_field = ["amber99sbildn.xml", "amber99_obc.xml"]
[training.weights]
energy = 1e-3
[training.energy_schedule]
start_step = 0
rise_steps = 2
"""
    out = tmp_path / "out"
    assert main(["train", "temporal", config_file(tmp_path, trajectory, extra=extra), "-o", str(out)]) == 0
    assert "energy" in (out / "temporal.csv").read_text().splitlines()[0]


@pytest.mark.parametrize(
    "mapping, message",
    [
        ("atoms = [4, 6, 99]", "bead atom 99 is beyond the 22 atoms"),
        ('names = ["XX"]', "no atom of the molecule is named XX"),
        ("", "mapping: one of atoms = [numbers]"),
        ("atoms = [4, 6]", "at least 3 beads"),
        ("atoms = [-1, 4, 6]", "mapping.atoms[0] is -1"),
        ('atoms = "all"', "mapping.atoms is 'all'; it must be a list"),
        ("bead = [{atoms = [4]}, {atoms = [99]}]", "bead atom 99 is beyond the 22 atoms"),
        ("bead = [{atoms = []}]", "mapping.bead[0]: a bead needs atoms"),
        ("bead = [{atoms = [4, 5], weights = [1.0]}]", "as many weights as atoms"),
        ("bead = [{atoms = [4], weights = [0.0]}]", "not all of them 0"),
        ('bead = ["CA"]', "mapping.bead[0] is 'CA'; it must be a table"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(tmp_path, trajectory, mapping, message, capsys):
    assert (
        main(["train", "temporal", config_file(tmp_path, trajectory, mapping), "-o", str(tmp_path / "o")])
        == 2
    )
    assert message in capsys.readouterr().err


TABLES = {
    'trajectories = "a.xtc"': "data.trajectories is 'a.xtc'; it must be a list",
    "trajectories = []": "data: trajectories is empty",
    "trajectories = [3]": "data.trajectories[0] is 3",
    "topology = 7": "data.topology is 7",
    "stride = 0": "data.stride is 0; give a whole number from 1",
    "train_share = nan": "data.train_share is nan",
    "train_share = 1.0": "120 frames cannot be parted with train_share 1.0",
    "strides = 2": "unknown key 'strides' in data",
}


@pytest.mark.parametrize("line, message", TABLES.items())
def test_data_of_another_kind_are_refused(tmp_path, trajectory, line, message, capsys):
    path, key = Path(config_file(tmp_path, trajectory)), line.partition(" ")[0]
    kept = [row for row in path.read_text().splitlines() if not row.startswith(key)]
    path.write_text("\n".join(kept).replace("[data]", f"[data]\n{line}"))
    assert main(["train", "temporal", str(path), "-o", str(tmp_path / "o")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_suggest_prints_a_configuration_that_trains(tmp_path, trajectory, capsys):
    arguments = ["--suggest", str(trajectory), "--top", str(STRUCTURE), "--beads", "CA,CB,N,C"]
    assert main(["train", "temporal", *arguments]) == 0
    text = capsys.readouterr().out
    path = tmp_path / "suggested.toml"
    path.write_text(
        text.replace("epochs = 100", "epochs = 1").replace("51200", "32").replace("batch = 512", "batch = 16")
    )
    assert main(["train", "temporal", str(path), "-o", str(tmp_path / "suggested")]) == 0


def test_suggested_voxels_train_too(tmp_path, trajectory, capsys):
    assert (
        main(["train", "temporal", "--suggest", str(trajectory), "--top", str(STRUCTURE), "--beads", "CA"])
        == 0
    )
    text = capsys.readouterr().out
    assert 'representation = "voxels"' in text
    small = {
        "epochs = 100": "epochs = 1",
        "51200": "8",
        "batch = 512": "batch = 8",
        "channels = 32": "channels = 4",
    }
    for old, new in small.items():
        text = text.replace(old, new)
    path = tmp_path / "suggested.toml"
    path.write_text(text)
    assert main(["train", "temporal", str(path), "-o", str(tmp_path / "suggested")]) == 0


def test_nothing_to_do_is_refused(capsys):
    assert main(["train", "temporal"]) == 2
    assert "give CONFIG and -o FOLDER, --from MODEL and -o FOLDER, or --suggest" in capsys.readouterr().err
