import pytest
import torch

from backmap.cli.main import main
from backmap.datasets.corpus import load_corpus
from backmap.models.checkpoint import load_checkpoint
from backmap.training.loop import LoopConfig, TrainingLoop, train_stage
from backmap.training.protein import PeptideStage, ProteinTrainingConfig, train_protein
from tests.models.protein.conftest import SMALL


def training(epochs: int) -> ProteinTrainingConfig:
    stage = LoopConfig(epochs, drawn_per_epoch=3, batch=8, warm_up_epochs=1, validate_every=1)
    return ProteinTrainingConfig(stage, stage, seed=5, noise_share=0.5)


@pytest.fixture
def corpora(corpus_folder, tmp_path):
    return tuple(load_corpus(corpus_folder, split, tmp_path / "cache") for split in ("train", "validation"))


def test_resumed_equals_uninterrupted(corpora, tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    cpu = torch.device("cpu")
    whole = train_protein(SMALL, training(4), *corpora, tmp_path / "whole", cpu, False)

    train_epoch = TrainingLoop._train_epoch

    def killed(loop, *arguments):
        if loop.name == killed.stage and loop.epoch == 2:
            raise KeyboardInterrupt
        return train_epoch(loop, *arguments)

    for killed.stage in ("peptide planes", "side chains"):
        monkeypatch.setattr(TrainingLoop, "_train_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            train_protein(SMALL, training(4), *corpora, tmp_path / "parts", cpu, True)
    monkeypatch.undo()
    resumed = train_protein(SMALL, training(4), *corpora, tmp_path / "parts", cpu, True)
    for network in ("peptide_planes", "side_chains"):
        one, two = getattr(whole.model, network), getattr(resumed.model, network)
        for first, second in zip(one.parameters(), two.parameters(), strict=True):
            assert torch.equal(first, second)
    assert [e["loss"] for e in whole.history["side_chains"]] == [
        e["loss"] for e in resumed.history["side_chains"]
    ]


def test_loss_falls_on_data_seen_again(corpora, tmp_path):
    from backmap.models.protein.peptide_planes import PeptidePlaneNetwork

    torch.manual_seed(0)
    network = PeptidePlaneNetwork(SMALL.peptide_planes)
    stage = LoopConfig(60, 4, batch=16, learning_rate=1e-2, validate_every=60)
    settings = ProteinTrainingConfig(stage, stage, noise_share=0.0)
    peptides = PeptideStage(network, settings, stage, *corpora, torch.device("cpu"))
    history = train_stage(peptides, tmp_path / "s.state", resume=False)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]


def test_command_trains_and_resumes(corpus_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = tmp_path / "protein.toml"
    stage = "epochs = 1\ndrawn_per_epoch = 2\nbatch = 8\nvalidate_every = 1\n"
    config.write_text(
        f'[data]\ncorpus = "{corpus_folder}"\n[model.packing]\ncandidates = 4\n'
        f"[training.peptide_planes]\n{stage}[training.side_chains]\n{stage}"
    )
    output = tmp_path / "run"
    assert main(["train", "protein", str(config), "-o", str(output)]) == 0
    checkpoint = load_checkpoint(output / "protein.safetensors")
    assert checkpoint.config["packing"]["candidates"] == 4
    assert checkpoint.provenance["data_sha256"] == load_corpus(corpus_folder, "train").data_hash
    assert main(["train", "protein", str(config), "-o", str(output)]) == 2
    assert "add --resume" in capsys.readouterr().err
    assert main(["train", "protein", str(config), "-o", str(output), "--resume"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[data", "cannot be read as a TOML"),
        ("[training.peptide_planes]\nepochs = 1\nlearningrate = 1.0", "unknown key 'learningrate'"),
        (
            '[training.peptide_planes]\nepochs = 1\n[training.side_chains]\nepochs = 1\nbatch = "x"',
            "batch is 'x'",
        ),
        ("[other]\nx = 1", "unknown table [other]"),
        ("[training.peptide_planes]\nepochs = 1\n[training.side_chains]\nepochs = 1", "structure corpus"),
    ],
)
def test_bad_configurations(text, message, tmp_path, capsys):
    config = tmp_path / "c.toml"
    config.write_text(text)
    assert main(["train", "protein", str(config), "-o", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
