import dataclasses
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

from backmap.chemistry import SLOT_CA, Topology
from backmap.cli.main import main
from backmap.datasets.corpus import Corpus, load_corpus
from backmap.evaluation import score
from backmap.inference.diamondback import DiamondbackBuilder
from backmap.io import open_source
from backmap.models.checkpoint import load_checkpoint
from backmap.models.diamondback.config import CompactConfig, DiamondbackConfig
from backmap.models.diamondback.layout import Pass
from backmap.training.diamondback import DiamondbackStage, DiamondbackTrainingConfig, train_diamondback
from backmap.training.loop import LoopConfig, TrainingLoop
from tests.models.diamondback.small import SMALL, SMALL_COMPACT
from tests.proteins import atoms_in_slots, present_atoms

CPU = torch.device("cpu")
EXAMPLES = Path(__file__).parents[2] / "examples"


def training(epochs: int, **settings) -> DiamondbackTrainingConfig:
    loop = LoopConfig(epochs, drawn_per_epoch=3, batch=8, warm_up_epochs=1, validate_every=1)
    return DiamondbackTrainingConfig(loop, seed=5, **settings)


@pytest.fixture
def corpora(corpus_folder, tmp_path):
    return tuple(load_corpus(corpus_folder, split, tmp_path / "cache") for split in ("train", "validation"))


@pytest.mark.parametrize("network", SMALL)
def test_resumed_equals_uninterrupted(network, corpora, tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    arguments = SMALL[network], training(4, draws_per_residue=2), *corpora
    whole = train_diamondback(*arguments, tmp_path / "whole", CPU, False)
    train_epoch = TrainingLoop._train_epoch

    def killed(loop, *batches):
        if loop.epoch == 2:
            raise KeyboardInterrupt
        return train_epoch(loop, *batches)

    monkeypatch.setattr(TrainingLoop, "_train_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        train_diamondback(*arguments, tmp_path / "parts", CPU, True)
    monkeypatch.undo()
    resumed = train_diamondback(*arguments, tmp_path / "parts", CPU, True)
    for first, second in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(first, second)
    assert [e["loss"] for e in whole.history] == [e["loss"] for e in resumed.history]


def test_ends_are_shown_as_often_as_asked(corpora):
    from backmap.models.diamondback.model import DiamondbackModel

    shown = {}
    for repeats in (1, 5):
        stage = DiamondbackStage(
            DiamondbackModel(SMALL_COMPACT), training(1, terminal_repeats=repeats), *corpora, CPU
        )
        kind = stage.draw(0).kind
        shown[repeats] = [int((kind == value).sum()) for value in Pass]
    interior, first, last = shown[1]
    assert first > 0 and last > 0
    assert shown[5] == [interior, 5 * first, 5 * last]


def test_fine_tuning_starts_from_the_model_given(corpora, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = train_diamondback(SMALL_COMPACT, training(2), *corpora, tmp_path / "a", CPU, False)
    still = dataclasses.replace(training(1).loop, learning_rate=0.0, weight_decay=0.0)
    tuned = train_diamondback(
        SMALL_COMPACT,
        dataclasses.replace(training(1), loop=still),
        *corpora,
        tmp_path / "b",
        CPU,
        False,
        start=first.model,
    )
    for one, two in zip(first.model.parameters(), tuned.model.parameters(), strict=True):
        torch.testing.assert_close(one, two)


CONFIG = """
[data]
corpus = "{corpus}"
[model]
network = "compact"
steps = 6
[model.compact]
neighbour_width = 16
context_width = 24
hidden = 32
layers = 1
[training.loop]
epochs = 1
drawn_per_epoch = 3
batch = 8
validate_every = 1
"""

TUNING = """
[data]
trajectories = ["{trajectory}"]
topologies = ["{topology}"]
train_share = 0.5
[training]
terminal_repeats = 5
[training.loop]
epochs = 1
drawn_per_epoch = 3
batch = 8
learning_rate = 1e-5
"""


def test_command_line_trains_and_fine_tunes(corpus_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = tmp_path / "c.toml"
    config.write_text(CONFIG.format(corpus=corpus_folder))
    assert main(["train", "diamondback", str(config), "-o", str(tmp_path / "one")]) == 0
    model = tmp_path / "one" / "diamondback.safetensors"
    checkpoint = load_checkpoint(model)
    assert checkpoint.family == "diamondback" and checkpoint.provenance["seed"] == 0
    assert checkpoint.provenance["history"][0]["samples_per_s"] > 0

    tune = tmp_path / "t.toml"
    frames = mdtraj.load(str(EXAMPLES / "2bf5.pdb.gz"))
    mdtraj.join([frames] * 2).save_xtc(str(tmp_path / "own.xtc"))
    frames.save_pdb(str(tmp_path / "own.pdb"))
    tune.write_text(TUNING.format(trajectory=tmp_path / "own.xtc", topology=tmp_path / "own.pdb"))
    arguments = ["train", "diamondback", str(tune), "-o", str(tmp_path / "two"), "--from", str(model)]
    assert main(arguments) == 0
    tuned = load_checkpoint(tmp_path / "two" / "diamondback.safetensors")
    assert tuned.config == checkpoint.config
    assert tuned.provenance["fine_tuned_from"]["sha256"]


def test_fine_tuning_refuses_another_kind_of_model(corpus_folder, tmp_path, capsys):
    config = tmp_path / "c.toml"
    config.write_text(CONFIG.format(corpus=corpus_folder))
    arguments = ["train", "diamondback", str(config), "-o", str(tmp_path / "m"), "--from"]
    assert main([*arguments, "protein"]) == 2
    assert "--from protein: not a diamondback model" in capsys.readouterr().err
    assert main(["train", "temporal", str(config), "-o", str(tmp_path / "m"), "--from", "protein"]) == 2
    assert "only protein and diamondback models are fine-tuned" in capsys.readouterr().err


def test_one_peptide_is_learned_by_heart(tmp_path):
    """On the first residues of a protein the loss falls towards zero, and they come out with sound bonds."""
    source = open_source(EXAMPLES / "2bf5.pdb.gz")
    atoms = atoms_in_slots(source)[:, :LEARNED]
    topology, present = first_residues(source.topology, LEARNED), present_atoms(source)[:LEARNED]
    corpus = corpus_of(topology, atoms, present)
    sizes = CompactConfig(32, 4, 96, 128, 2, dropout=0.0)
    config = DiamondbackConfig("compact", scale_nm=0.2, compact=sizes)
    loop = LoopConfig(
        30,
        drawn_per_epoch=1,
        passes=40,
        batch=LEARNED,
        learning_rate=3e-3,
        warm_up_epochs=1,
        weight_decay=0.0,
        ema_decay=0.98,
        validate_every=30,
    )
    settings = DiamondbackTrainingConfig(loop, draws_per_residue=48)
    result = train_diamondback(config, settings, corpus, corpus, tmp_path, CPU, False)
    first, last = result.history[0]["loss"], result.history[-1]["loss"]
    engine = DiamondbackBuilder(result.model, topology, topology.linked())
    c_alpha = torch.from_numpy(atoms[:, :, SLOT_CA]).float()
    built = engine.reconstruct(c_alpha, numbers=torch.arange(len(c_alpha)), samples=16, seed=0).numpy()
    card = score(topology, atoms, built, present, topology.atom_mask)
    assert last < 0.1 * first
    assert card.measures["bond"]["interior"].value >= 99.0
    assert card.measures["rmsd"]["interior"].value < 0.3


LEARNED = 8


def first_residues(topology: Topology, count: int) -> Topology:
    return Topology(
        topology.residue_types[:count],
        topology.chain_index[:count],
        topology.chain_ids[:1],
        topology.residue_numbers[:count],
    )


def corpus_of(topology: Topology, atoms: np.ndarray, present: np.ndarray) -> Corpus:
    return Corpus(
        coordinates=atoms[0].astype(np.float32),
        present=present,
        residue_types=topology.residue_types,
        chain_index=topology.chain_index,
        linked=topology.linked(),
        trusted=np.ones(topology.n_residues, dtype=bool),
        offsets=np.array([0, topology.n_residues]),
        weights=np.ones(1),
        data_hash="",
    )
