"""Training of estimators: it learns, goes on after a kill, and its file builds."""

import pytest
import torch

from backmap.chemistry.bead_mapping import load_mapping
from backmap.cli.main import main
from backmap.datasets.corpus import load_corpus
from backmap.errors import InputError
from backmap.models.checkpoint import load_checkpoint, load_model, save_checkpoint
from backmap.models.shipped import read_estimator
from backmap.training.beads import BeadTrainingConfig, EstimatorShape, train_estimator
from backmap.training.loop import LoopConfig, TrainingLoop

CPU = torch.device("cpu")


def training(epochs: int, **settings) -> BeadTrainingConfig:
    loop = LoopConfig(epochs, drawn_per_epoch=4, batch=2, learning_rate=1e-2, validate_every=1)
    return BeadTrainingConfig(loop, seed=5, **settings)


@pytest.fixture
def corpora(corpus_folder, tmp_path):
    return tuple(load_corpus(corpus_folder, split, tmp_path / "cache") for split in ("train", "validation"))


def test_loss_falls(corpora, tmp_path):
    shape = EstimatorShape("residue-centre", width=16)
    result = train_estimator(shape, training(30, c_alpha_share=0.5), *corpora, tmp_path, CPU, False)
    assert result.history[-1]["loss"] < result.history[0]["loss"] - 1.0
    assert 0 < result.rmsd_nm < 0.2
    assert result.estimator.config.chance_noise_nm >= 0


def test_resumed_equals_uninterrupted(corpora, tmp_path, monkeypatch):
    shape = EstimatorShape("martini3", width=8)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = train_estimator(shape, training(4), *corpora, tmp_path / "whole", CPU, False)
    train_epoch = TrainingLoop._train_epoch

    def killed(loop):
        if loop.epoch == 2:
            raise KeyboardInterrupt
        return train_epoch(loop)

    monkeypatch.setattr(TrainingLoop, "_train_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        train_estimator(shape, training(4), *corpora, tmp_path / "parts", CPU, False)
    monkeypatch.undo()
    resumed = train_estimator(shape, training(4), *corpora, tmp_path / "parts", CPU, True)
    for one, other in zip(whole.estimator.parameters(), resumed.estimator.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_file_of_a_training_is_used_for_its_mapping(corpus_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = tmp_path / "config.toml"
    config.write_text(
        f'[data]\ncorpus = "{corpus_folder}"\n[model]\nmapping = "martini3"\nwidth = 8\n'
        "[training.estimator]\nepochs = 1\ndrawn_per_epoch = 2\nbatch = 2\n"
    )
    assert main(["train", "beads", str(config), "-o", str(tmp_path / "out")]) == 0
    path = tmp_path / "out" / "beads.safetensors"
    assert load_checkpoint(path).provenance["rmsd_nm"] > 0
    martini3 = load_mapping("martini3")
    assert read_estimator(martini3, path).family == "beads"
    assert load_model(path).config.columns == 6
    with pytest.raises(InputError, match="is for beads martini3, but the input has beads residue-centre"):
        read_estimator(load_mapping("residue-centre"), path)
    other = tmp_path / "martini3.toml"
    other.write_text('[every]\nBB = "backbone"\nSC1 = "side-chain"\n')
    with pytest.raises(InputError, match="a mapping martini3 with other atoms or weights .*; train a model"):
        read_estimator(load_mapping(other), path)
    checkpoint = load_checkpoint(path)
    del checkpoint.config["mapping_digest"]
    save_checkpoint(tmp_path / "old.safetensors", checkpoint)
    with pytest.raises(
        InputError, match="does not say which atoms and weights its beads have; train a model"
    ):
        read_estimator(martini3, tmp_path / "old.safetensors")
    config.write_text(config.read_text().replace("martini3", "martini9"))
    assert main(["train", "beads", str(config), "-o", str(tmp_path / "other")]) == 2
    assert "martini9: neither a bead mapping" in capsys.readouterr().err
