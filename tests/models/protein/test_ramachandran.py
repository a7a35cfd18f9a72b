"""Phi and psi of every class of a peptide's angle, and what they cost."""

import math
from pathlib import Path

import numpy as np
import torch

from backmap.api import require_model
from backmap.chemistry import SLOT_CA, Topology
from backmap.chemistry.ramachandran import ramachandran_classes, ramachandran_percentiles
from backmap.evaluation import score
from backmap.inference.all_at_once import AllAtOnce
from backmap.io import open_source
from backmap.models.chain import Chain
from backmap.models.checkpoint import load_model
from backmap.models.protein.config import PeptidePlaneConfig
from backmap.models.protein.geometry import torsion_angle
from backmap.models.protein.peptide_planes import PeptidePlaneNetwork, place_peptides
from backmap.models.protein.ramachandran import Ramachandran, ramachandran_penalties

EXAMPLES = Path(__file__).parents[3] / "examples"


def network(**settings: float) -> PeptidePlaneNetwork:
    torch.manual_seed(0)
    return PeptidePlaneNetwork(PeptidePlaneConfig(neighbours=4, **settings)).eval()


def chain_of(*sequences: str) -> Chain:
    topology = Topology.from_sequences(*sequences)
    return Chain.from_arrays(topology.residue_types, topology.chain_index, topology.linked(), "cpu")


def trace(residues: int, frames: int = 3) -> torch.Tensor:
    """C-alphas (frames, residues, 3) about 0.38 nm apart; the third bond is as short as a cis peptide's."""
    generator = torch.Generator().manual_seed(7)
    steps = torch.randn(frames, residues, 3, generator=generator)
    steps[..., 0] += 1.0
    lengths = torch.full([residues, 1], 0.38)
    lengths[3] = 0.295
    return torch.cumsum(lengths * steps / steps.norm(dim=-1, keepdim=True), dim=1)


def test_phi_and_psi_of_classes_are_those_of_placed_atoms():
    planes, chain = network(), chain_of("AGPVPIPGVP")
    c_alpha = trace(10)
    encoded, frames = planes.encode_all(c_alpha, chain, 1000)
    centres = torch.atan2(planes.class_directions[1], planes.class_directions[0])
    before = torch.linspace(-3.0, 3.0, 30).view(3, 10)
    angles = planes.ramachandran.measure(encoded.torsions, torch.cos(before), torch.sin(before))
    for residue in range(1, 9):
        for number in (0, 17, 50, 71):
            turns = before.clone()
            turns[:, residue - 1], turns[:, residue] = before[:, residue], centres[number]
            placed = place_peptides(c_alpha, frames, turns, torch.zeros_like(turns))
            carbon, nitrogen = placed[:, residue - 1, 0], placed[:, residue - 1, 2]
            own, ahead = placed[:, residue, 0], placed[:, residue, 2]
            phi = torsion_angle(carbon, nitrogen, c_alpha[:, residue], own)
            psi = torsion_angle(nitrogen, c_alpha[:, residue], own, ahead)
            expected = torch.stack([phi, psi], dim=-1)
            off = torch.remainder(angles[:, residue, :, number] - expected + math.pi, 2 * math.pi) - math.pi
            assert off.abs().max() < 2e-3


def test_classes_of_residues_are_those_of_the_measure():
    planes, chain = network(), chain_of("AGPVPIPGVP", "LPP")
    distance = torch.full([2, 13], 0.38)
    distance[1, [1, 3, 4, 10]] = 0.29  # before P, P, I of the first chain and the first P of the second
    kinds = planes.ramachandran.find_kinds(distance, chain)
    before = np.concatenate([np.zeros((2, 1), dtype=bool), distance.numpy()[:, :-1] < 0.34], axis=1)
    expected = ramachandran_classes(chain.types.numpy(), chain.linked.numpy(), before)
    assert kinds.tolist() == expected.tolist()


def test_penalty_is_the_logarithm_of_how_rare_phi_and_psi_are():
    planes, chain = network(ramachandran_weight=2.0), chain_of("AGPVPIPGVP")
    encoded, _ = planes.encode_all(trace(10), chain, 1000)
    turn = torch.zeros(3, 10)
    torsions = planes.ramachandran.measure(encoded.torsions, torch.cos(turn), torch.sin(turn))
    penalty = planes.ramachandran(
        Ramachandran(encoded.torsions, encoded.kinds), torch.cos(turn), torch.sin(turn)
    )
    # The term takes the middle of the cell that phi and psi are in.
    phi, psi = (2.0 * np.floor(np.degrees(angles.numpy()) / 2.0) + 1.0 for angles in torsions.unbind(dim=2))
    percentile = ramachandran_percentiles(encoded.kinds.numpy()[..., None], phi, psi)
    expected = 2.0 * np.log(0.02 / np.clip(percentile, 1e-5, 0.02))
    np.testing.assert_allclose(penalty[:, 1:9].numpy(), expected[:, 1:9], atol=1e-4)
    assert (expected[:, 1:9] > 10).any() and (expected[:, 1:9] == 0).any()


def test_ends_of_chains_are_not_judged():
    planes, chain = network(), chain_of("AAAA", "GV")
    encoded, _ = planes.encode_all(trace(6), chain, 1000)
    turn = torch.linspace(-3.0, 3.0, 18).view(3, 6)
    penalty = planes.ramachandran(
        Ramachandran(encoded.torsions, encoded.kinds), torch.cos(turn), torch.sin(turn)
    )
    assert (penalty == penalty[..., :1]).all(dim=-1).all(dim=0).tolist() == [
        True,
        False,
        False,
        True,
        True,
        True,
    ]


def test_shipped_model_builds_fewer_outliers_with_it():
    model = load_model(require_model("protein"), "cpu")
    assert model.config.peptide_planes.ramachandran_weight == 1.0
    source = open_source(EXAMPLES / "2bf5.pdb.gz")
    atoms = next(iter(source.chunks(1))).coordinates
    c_alpha = torch.tensor(atoms[:, :, SLOT_CA], dtype=torch.float32)

    def outliers(weight: float) -> float:
        term = model.peptide_planes.ramachandran
        term.table = weight * ramachandran_penalties(0.02, 1e-5).flatten()
        engine = AllAtOnce(model, source.topology, source.linked, "cpu")
        built = engine.reconstruct(c_alpha, numbers=torch.arange(1), samples=10, seed=0).numpy()
        card = score(source.topology, None, built, linked=source.linked)
        return card.measures["ramachandran_outliers"]["all"].value

    assert outliers(1.0) < 0.8 * outliers(0.0)
