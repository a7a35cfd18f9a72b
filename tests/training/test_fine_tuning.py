"""Fine-tuning by one command: from a model and a trajectory to a model, and what is refused."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

from backmap.cli.main import main
from backmap.cli.train import read_config, read_configurations
from backmap.datasets.corpus import Corpus
from backmap.models.checkpoint import load_checkpoint, save_checkpoint, to_checkpoint
from backmap.models.diamondback.config import DiamondbackConfig
from backmap.models.protein.config import ProteinConfig
from backmap.models.protein.model import ProteinModel
from backmap.models.shipped import fine_tuning_configuration
from backmap.training.diamondback import DiamondbackTrainingConfig
from backmap.training.protein import ProteinTrainingConfig, train_protein
from tests.models.protein.conftest import SMALL

EXAMPLES = Path(__file__).parents[2] / "examples"

STAGE = (
    "epochs = 1\ndrawn_per_epoch = 4\nbatch = 64\nlearning_rate = 1e-3\npatience = 2\nvalidate_every = 1\n"
)
QUICK = f"[training.peptide_planes]\n{STAGE}[training.side_chains]\n{STAGE}"


@pytest.fixture
def run(tmp_path):
    """A trajectory of ten frames of one chain, and its topology."""
    frame = mdtraj.load(str(EXAMPLES / "2bf5.pdb.gz"))
    frame = frame.atom_slice(frame.topology.select("chainid 0"))
    moved = mdtraj.join([frame] * 10)
    moved.xyz += np.random.default_rng(0).normal(0, 0.002, moved.xyz.shape)
    moved.save_xtc(str(tmp_path / "run.xtc"))
    frame.save_pdb(str(tmp_path / "run.pdb"))
    frame.atom_slice(frame.topology.select("name CA")).save_pdb(str(tmp_path / "ca.pdb"))
    return ["--trajectory", str(tmp_path / "run.xtc"), "--top", str(tmp_path / "run.pdb")]


@pytest.fixture
def small_model(tmp_path):
    """An untrained small model in a file."""
    torch.manual_seed(0)
    save_checkpoint(
        tmp_path / "small.safetensors", to_checkpoint("protein", SMALL, ProteinModel(SMALL), {"by": "hand"})
    )
    return tmp_path / "small.safetensors"


def quick_configuration(folder, data=""):
    path = folder / "quick.toml"
    path.write_text(data + QUICK)
    return str(path)


def test_one_command_makes_a_model_that_builds(run, small_model, tmp_path, capsys):
    tuned = tmp_path / "tuned"
    begin = ["train", "protein", quick_configuration(tmp_path), "--from", str(small_model), *run]
    assert main([*begin, "-o", str(tuned)]) == 0
    printed = capsys.readouterr().out
    assert "side chains held out, nats: " in printed and "wrote" in printed
    checkpoint = load_checkpoint(tuned / "protein.safetensors")
    start = load_checkpoint(small_model)
    assert checkpoint.config == start.config
    assert checkpoint.provenance["fine_tuned_from"]["path"] == str(small_model)
    assert len(checkpoint.provenance["fine_tuned_from"]["sha256"]) == 64
    assert len(checkpoint.provenance["data_sha256"]) == 64
    assert checkpoint.provenance["data"]["trajectories"] == [run[1]]
    for history in checkpoint.provenance["history"].values():
        assert history[0]["validation_loss"] < history[0]["validation_loss_before"]
    changed = [n for n, tensor in start.tensors.items() if not torch.equal(tensor, checkpoint.tensors[n])]
    assert any("peptide_planes" in name for name in changed)
    assert any("side_chains" in name for name in changed)

    build = ["reconstruct", str(tmp_path / "ca.pdb"), "--model", str(tuned / "protein.safetensors")]
    assert main([*build, "-o", str(tmp_path / "built.pdb"), "--quiet"]) == 0
    assert mdtraj.load(str(tmp_path / "built.pdb")).n_atoms > 500
    assert main([*begin, "-o", str(tuned)]) == 2
    assert "add --resume" in capsys.readouterr().err
    assert main([*begin, "-o", str(tuned), "--resume"]) == 0
    again = load_checkpoint(tuned / "protein.safetensors")
    assert all(torch.equal(tensor, again.tensors[name]) for name, tensor in checkpoint.tensors.items())


def test_a_corpus_can_be_mixed_in(run, small_model, corpus_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    seen = {}

    def train(model, training, data: Corpus, held_out: Corpus, *rest):
        seen["sizes"] = set(np.diff(data.offsets)), set(np.diff(held_out.offsets))
        return train_protein(model, training, data, held_out, *rest)

    monkeypatch.setattr("backmap.training.protein.train_protein", train)
    arguments = ["train", "protein", quick_configuration(tmp_path), "--from", str(small_model), *run]
    assert main([*arguments, "--corpus", str(corpus_folder), "-o", str(tmp_path / "tuned")]) == 0
    sizes, held_out = seen["sizes"]
    assert len(sizes) == 2 and len(held_out) == 1


def test_a_configuration_of_data_takes_the_settings_that_come_with_backmap(run, tmp_path, monkeypatch):
    seen = []

    def train(model, training, *rest):
        seen.append(training)
        raise KeyboardInterrupt

    monkeypatch.setattr("backmap.training.protein.train_protein", train)
    config = tmp_path / "data.toml"
    config.write_text(f"[data]\ntrajectories = ['{run[1]}']\ntopologies = ['{run[3]}']\n")
    assert main(["train", "protein", str(config), "--from", "protein", "-o", str(tmp_path / "tuned")]) == 130
    path = fine_tuning_configuration("protein")
    assert seen == [read_configurations(path, read_config(path), ProteinConfig, ProteinTrainingConfig)[1]]


@pytest.mark.parametrize(
    "family, model, training",
    [
        ("protein", ProteinConfig, ProteinTrainingConfig),
        ("diamondback", DiamondbackConfig, DiamondbackTrainingConfig),
    ],
)
def test_configurations_that_come_with_backmap_are_understood(family, model, training):
    path = fine_tuning_configuration(family)
    _, settings = read_configurations(path, read_config(path), model, training)
    loops = [settings.loop] if family == "diamondback" else [settings.peptide_planes, settings.side_chains]
    assert all(loop.patience and loop.learning_rate < 1e-3 for loop in loops)


def spoil_atoms(folder):
    frame = mdtraj.load(str(folder / "run.pdb"))
    trace = frame.atom_slice(frame.topology.select("name CA"))
    mdtraj.join([trace] * 10).save_xtc(str(folder / "run.xtc"))
    trace.save_pdb(str(folder / "run.pdb"))


def spoil_length(folder):
    mdtraj.load(str(folder / "run.pdb")).save_xtc(str(folder / "run.xtc"))


def spoil_residues(folder):
    path = folder / "run.pdb"
    path.write_text(path.read_text().replace(" SER ", " XYZ "))


def spoil_topology(folder):
    frame = mdtraj.load(str(folder / "run.pdb"))
    frame.atom_slice(np.arange(frame.n_atoms - 5)).save_pdb(str(folder / "run.pdb"))


def spoil_side_chains(folder):
    frame = mdtraj.load(str(folder / "run.pdb"))
    kept = frame.atom_slice(frame.topology.select("backbone or name CB"))
    for residue in kept.topology.residues:
        residue.name = "GLY" if residue.n_atoms == 4 else "ALA"
    mdtraj.join([kept] * 10).save_xtc(str(folder / "run.xtc"))
    kept.save_pdb(str(folder / "run.pdb"))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (spoil_atoms, "contains only C-alphas"),
        (spoil_length, "1 frame cannot be parted"),
        (spoil_residues, "XYZ"),
        (spoil_topology, "atoms"),
        (spoil_side_chains, "no complete residue whose side chain has torsions"),
        (lambda folder: (folder / "run.xtc").unlink(), "run.xtc"),
    ],
)
def test_bad_trajectories_end_in_one_sentence(run, small_model, tmp_path, capsys, spoil, message):
    spoil(tmp_path)
    arguments = ["train", "protein", quick_configuration(tmp_path), "--from", str(small_model), *run]
    assert main([*arguments, "-o", str(tmp_path / "tuned")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("backmap: error: ") and message in error
    assert not (tmp_path / "tuned" / "protein.safetensors").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["protein", "--from", "protein", "-o", "OUT"], "give --trajectory FILE"),
        (["protein", "--trajectory", "run.xtc", "-o", "OUT"], "--from MODEL and -o FOLDER"),
        (["protein", "--from", "protein", "--trajectory", "run.xtc"], "--from MODEL and -o FOLDER"),
        (["protein", "--from", "diamondback", "--trajectory", "x", "-o", "OUT"], "not a protein model"),
        (["protein", "--from", "nothing", "--trajectory", "x", "-o", "OUT"], "neither a shipped model"),
        (["protein", "QUICK", "--top", "run.pdb", "-o", "OUT"], "--top: give --trajectory as well"),
        (["protein", "QUICK", "--held-out", "x", "-o", "OUT"], "--held-out: give --trajectory as well"),
        (["coherence", "QUICK", "--trajectory", "x", "-o", "OUT"], "--trajectory: applies to protein and"),
        (["beads", "QUICK", "--from", "protein", "-o", "OUT"], "only protein and diamondback models"),
    ],
)
def test_commands_that_ask_for_something_else_are_refused(tmp_path, capsys, arguments, message):
    named = {"OUT": str(tmp_path / "out"), "QUICK": quick_configuration(tmp_path)}
    assert main(["train", *(named.get(word, word) for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "data, message",
    [
        ("corpus = 'x'\ncorpus_share = 0.0\ntrajectories = ['run.xtc']\n", "corpus_share is 0"),
        ("corpus = 'x'\ntopologies = ['run.pdb']\n", "topologies: there are no trajectories"),
        ("corpus = 'x'\nheld_out = ['run.xtc']\n", "held_out: there are no trajectories"),
        ("trajectory = 'run.xtc'\n", "unknown key 'trajectory'"),
    ],
)
def test_data_that_make_no_sense_are_refused(tmp_path, capsys, data, message):
    config = quick_configuration(tmp_path, f"[data]\n{data}")
    assert main(["train", "protein", config, "-o", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_the_model_of_a_configuration_must_be_that_of_the_start(run, small_model, tmp_path, capsys):
    config = quick_configuration(tmp_path, "[model.side_chains]\nhead_width = 7\n")
    arguments = ["train", "protein", config, "--from", str(small_model), *run, "-o", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "[model] side_chains is not that of" in capsys.readouterr().err
