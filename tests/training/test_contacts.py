"""Energies of contacts: what the fit finds, what it may not do, and the command."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from backmap.chemistry.contact_classes import CLASS_NAMES, N_CONTACT_CLASSES
from backmap.cli.main import main
from backmap.datasets.corpus import load_corpus
from backmap.datasets.residue_environments import iterate_structures
from backmap.models.checkpoint import load_checkpoint, save_checkpoint, to_checkpoint
from backmap.models.protein.config import ContactConfig
from backmap.models.protein.model import ProteinModel
from backmap.models.shipped import load_model
from backmap.training.contacts import (
    ContactTrainingConfig,
    RankedSideChains,
    SideChainRanking,
    fit_contacts,
    loss_of_contacts,
    pair_index,
)
from tests.models.protein.conftest import SMALL

REACH = ContactConfig(reach_nm=0.5, knots=6)
N_PAIRS = N_CONTACT_CLASSES * (N_CONTACT_CLASSES + 1) // 2
WITH_CONTACTS = replace(SMALL, packing=replace(SMALL.packing, contacts=REACH))


def ranked_by(energies: np.ndarray, residues: int, seed: int) -> RankedSideChains:
    """Side chains of a few contacts each; the deposited one is drawn by the energies (pairs, knots)."""
    generator = np.random.default_rng(seed)
    choices, contacts = 5, 3
    column = generator.integers(0, 2, (residues, choices, contacts)) * 40 * REACH.knots
    column += generator.integers(0, REACH.knots - 1, column.shape)
    cost = energies.ravel()[column].sum(axis=2)
    deposited = (generator.gumbel(size=cost.shape) - cost).argmax(axis=1)
    rows = np.arange(residues)
    first = column[rows, deposited].copy()
    column[rows, deposited], column[:, 0] = column[:, 0], first
    at = np.arange(residues * choices).repeat(contacts)
    entries = csr_array(
        (np.ones(column.size), (at, column.ravel())), shape=(residues * choices, energies.size)
    )
    return RankedSideChains(entries, np.zeros(residues * choices), choices)


def test_the_fit_finds_the_energies_that_ranked_side_chains():
    energies = np.zeros((N_PAIRS, REACH.knots))
    energies[0] = [0.9, 0.8, 0.7, 1.2, -0.9, 0.0]
    energies[40] = [1.2, 1.0, 0.8, 0.6, 0.4, 0.0]
    found = fit_contacts(
        [ranked_by(energies, 20_000, 0)], REACH, ContactTrainingConfig(roughness=0.0, size=1e-9)
    )
    first, second = np.argwhere(pair_index() == 40)[0]
    # Every side chain has as many contacts, so that a constant on all energies cannot be seen.
    fitted = np.stack([found[0, 0, :-1].numpy(), found[first, second, :-1].numpy()])
    expected = energies[[0, 40], :-1]
    np.testing.assert_allclose(fitted - fitted.mean(), expected - expected.mean(), atol=0.1)


def test_contacts_have_no_order_and_end_at_their_reach():
    ranked = ranked_by(np.random.default_rng(1).normal(size=(N_PAIRS, REACH.knots)), 300, 1)
    found = fit_contacts([ranked], REACH, ContactTrainingConfig())
    assert torch.equal(found, found.transpose(0, 1))
    assert not found[..., -1].any() and found.abs().max() > 0.01


def test_contacts_do_not_weaken_overlaps():
    """Even where every deposited side chain is nearer than the others."""
    oxygen = CLASS_NAMES.index("O")
    pair = pair_index()[oxygen, oxygen]
    column = np.tile(pair * REACH.knots + np.array([[1, 4, 4]]), (50, 1))  # at 0.22 and 0.45 nm
    entries = csr_array((np.ones(150), (np.arange(150), column.ravel())), shape=(150, N_PAIRS * REACH.knots))
    ranked = RankedSideChains(entries, np.zeros(150), 3)
    found = fit_contacts([ranked], REACH, ContactTrainingConfig())
    assert found[oxygen, oxygen, 1] == 0 and found[oxygen, oxygen, 4] > 0
    assert loss_of_contacts(ranked, found) < np.log(3)


def test_ranking_counts_the_contacts_that_packing_counts(corpus_folder, tmp_path):
    """Side chains of a residue differ by the operator's energies; what CB adds is the same for all."""
    corpus = load_corpus(corpus_folder, "train", tmp_path / "cache")
    structure = next(iter(iterate_structures(corpus)))
    torch.manual_seed(0)
    model = ProteinModel(WITH_CONTACTS).eval()
    contacts = torch.randn(N_CONTACT_CLASSES, N_CONTACT_CLASSES, REACH.knots)
    contacts = contacts + contacts.transpose(0, 1)
    contacts[..., -1] = 0
    training = ContactTrainingConfig(candidates=3, neighbours=500, residues_per_structure=10_000)
    ranking = SideChainRanking(model, REACH, training)
    backbone = torch.from_numpy(structure.coordinates[:, :4])
    ranked = ranking.rank(structure, backbone, np.random.default_rng(0))
    values = np.zeros((N_PAIRS, REACH.knots))
    values[pair_index()] = contacts.numpy()
    energies = (ranked.knots @ values.ravel() + ranked.overlaps).reshape(-1, 4)
    model.packer.contacts.copy_(contacts)
    expected = operator_energies(model, structure, backbone, np.random.default_rng(0))
    assert len(energies) == len(expected)
    differences, expected = energies - energies[:, :1], expected - expected[:, :1]
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(differences, expected, atol=1e-3 + 5e-5 * np.abs(expected).max())


def operator_energies(model, structure, backbone, generator):
    """Energies (residues, choices) of the same side chains, one residue moved at a time."""
    from backmap.models.chain import Chain
    from backmap.models.protein.backbone import Backbone

    training = ContactTrainingConfig(candidates=3, neighbours=500)
    ranking = SideChainRanking(model, REACH, training)
    chain = Chain.from_arrays(structure.residue_types, structure.chain_index, structure.linked, "cpu")
    built, known = ranking._build(structure, chain, backbone, generator)
    whole = Backbone(backbone.unsqueeze(0), torch.full((1, chain.n_residues, 3), 1e3))
    found = []
    for row in torch.nonzero(known).squeeze(-1).tolist():
        energies = []
        for choice in range(built.shape[1]):
            one = built[:, :1].clone()
            one[row, 0] = built[row, choice]
            _, energy = model.packer.choose(
                one.unsqueeze(0), whole, chain, torch.zeros(1, 0, chain.n_residues)
            )
            energies.append(float(energy[0, row]))
        found.append(energies)
    return np.array(found)


@pytest.fixture
def small_model(tmp_path):
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "small.safetensors", to_checkpoint("protein", SMALL, ProteinModel(SMALL), {}))
    return tmp_path / "small.safetensors"


def configuration(folder, corpus, text):
    path = folder / "contacts.toml"
    path.write_text(f'[data]\ncorpus = "{corpus}"\n{text}')
    return str(path)


CONTACTS = "[model.packing.contacts]\nreach_nm = 0.5\nknots = 6\n[training.contacts]\nstructures = 2\n"


def test_the_command_adds_contacts_to_a_model(corpus_folder, small_model, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = configuration(tmp_path, corpus_folder, CONTACTS)
    output = tmp_path / "out"
    assert main(["train", "protein", config, "--from", str(small_model), "-o", str(output)]) == 0
    assert "loss of the contacts held out, nats" in capsys.readouterr().out
    found = load_model(output / "protein.safetensors", torch.device("cpu"))
    before = load_model(small_model, torch.device("cpu"))
    assert found.config.packing.contacts == REACH and found.packer.contacts.abs().max() > 0
    weights = found.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in before.state_dict().items())
    history = load_checkpoint(output / "protein.safetensors").provenance["history"]["contacts"]
    assert history[0]["loss"] < history[0]["validation_loss_before"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training.contacts]\nstructures = 2\n", "training.contacts needs model.packing.contacts"),
        (CONTACTS + "candidates = 0\n", "candidates is 0"),
        (CONTACTS.replace("reach_nm = 0.5", "reach_nm = -1.0"), "reach_nm is -1"),
    ],
)
def test_bad_configurations(corpus_folder, small_model, tmp_path, monkeypatch, capsys, text, message):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = configuration(tmp_path, corpus_folder, text)
    arguments = ["train", "protein", config, "--from", str(small_model), "-o", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_new_networks_need_their_stages(corpus_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = configuration(tmp_path, corpus_folder, CONTACTS)
    assert main(["train", "protein", config, "-o", str(tmp_path / "out")]) == 2
    assert "training.peptide_planes is missing" in capsys.readouterr().err
