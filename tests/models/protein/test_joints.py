"""N-CA-C, phi and psi of every class of a peptide's angle, and what they cost."""

import math
from pathlib import Path

import numpy as np
import torch

from backmap.chemistry import SLOT_CA, Topology
from backmap.chemistry.ramachandran import ramachandran_classes, ramachandran_percentiles
from backmap.evaluation import score
from backmap.inference.protein import ProteinBuilder
from backmap.io import open_source
from backmap.models.chain import Chain
from backmap.models.checkpoint import load_model
from backmap.models.protein.config import PeptidePlaneConfig
from backmap.models.protein.geometry import mean_backbone_angle, torsion_angle
from backmap.models.protein.joints import Joints
from backmap.models.protein.peptide_planes import EncodedPeptides, PeptidePlaneNetwork, place_peptides
from backmap.models.shipped import require_model
from backmap.ops.reference import joint_quantities
from tests.proteins import atoms_in_slots

EXAMPLES = Path(__file__).parents[3] / "examples"


def network(**settings: float) -> PeptidePlaneNetwork:
    torch.manual_seed(0)
    return PeptidePlaneNetwork(PeptidePlaneConfig(neighbours=4, **settings)).eval()


def chain_of(*sequences: str) -> Chain:
    topology = Topology.from_sequences(*sequences)
    return Chain.from_arrays(topology.residue_types, topology.chain_index, topology.linked(), "cpu")


def measure(
    planes: PeptidePlaneNetwork, encoded: EncodedPeptides, turn: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Strain of N-CA-C (..., classes), and phi and psi (2, ..., classes) in radians, after angles (...)."""
    cosine, sine = torch.cos(turn).unsqueeze(-1), torch.sin(turn).unsqueeze(-1)
    values = joint_quantities(encoded.forms, cosine, sine, planes.class_waves).squeeze(-3)
    strain, *waves = values.unbind(dim=-2)
    return strain, torch.atan2(torch.stack(waves[:2]), torch.stack(waves[2:]))


def trace(residues: int, frames: int = 3) -> torch.Tensor:
    """C-alphas (frames, residues, 3) about 0.38 nm apart; the third bond is as short as a cis peptide's."""
    generator = torch.Generator().manual_seed(7)
    steps = torch.randn(frames, residues, 3, generator=generator)
    steps[..., 0] += 1.0
    lengths = torch.full([residues, 1], 0.38)
    lengths[3] = 0.295
    return torch.cumsum(lengths * steps / steps.norm(dim=-1, keepdim=True), dim=1)


def test_angles_of_classes_are_those_of_placed_atoms():
    planes, chain = network(), chain_of("AGPVPIPGVP")
    c_alpha = trace(10)
    encoded, frames = planes.encode_all(c_alpha, chain, 1000)
    centres = torch.atan2(planes.class_waves[2], planes.class_waves[1])
    before = torch.linspace(-3.0, 3.0, 30).view(3, 10)
    strain, angles = measure(planes, encoded, before)
    hinge = mean_backbone_angle()
    width = math.sin(hinge) * math.radians(7.0)
    for residue in range(1, 9):
        for number in (0, 17, 50, 71):
            turns = before.clone()
            turns[:, residue - 1], turns[:, residue] = before[:, residue], centres[number]
            placed = place_peptides(c_alpha, frames, turns, torch.zeros_like(turns))
            carbon, nitrogen = placed[:, residue - 1, 0], placed[:, residue - 1, 2]
            own, ahead = placed[:, residue, 0], placed[:, residue, 2]
            phi = torsion_angle(carbon, nitrogen, c_alpha[:, residue], own)
            psi = torsion_angle(nitrogen, c_alpha[:, residue], own, ahead)
            expected = torch.stack([phi, psi])
            off = torch.remainder(angles[:, :, residue, number] - expected + math.pi, 2 * math.pi) - math.pi
            assert off.abs().max() < 2e-3
            bend = torch.cosine_similarity(nitrogen - c_alpha[:, residue], own - c_alpha[:, residue], dim=-1)
            found = strain[:, residue, number]
            assert torch.allclose(found, (bend - math.cos(hinge)) / width, atol=2e-3)


def test_classes_of_residues_are_those_of_the_measure():
    planes, chain = network(), chain_of("AGPVPIPGVP", "LPP")
    distance = torch.full([2, 13], 0.38)
    distance[1, [1, 3, 4, 10]] = 0.29  # before P, P, I of the first chain and the first P of the second
    kinds = planes.penalty.find_kinds(distance, chain)
    before = np.concatenate([np.zeros((2, 1), dtype=bool), distance.numpy()[:, :-1] < 0.34], axis=1)
    expected = ramachandran_classes(chain.types.numpy(), chain.following.numpy(), before)
    assert kinds.tolist() == expected.tolist()


def penalty_of(planes: PeptidePlaneNetwork, encoded: EncodedPeptides, turn: torch.Tensor) -> torch.Tensor:
    joints = Joints(encoded.forms, encoded.kinds)
    return planes.penalty(joints, torch.cos(turn), torch.sin(turn), planes.class_waves)


def test_penalty_is_strain_and_the_logarithm_of_how_rare_phi_and_psi_are():
    planes, chain = network(ramachandran_weight=2.0), chain_of("AGPVPIPGVP")
    encoded, _ = planes.encode_all(trace(10), chain, 1000)
    turn = torch.zeros(3, 10)
    strain, torsions = measure(planes, encoded, turn)
    # The term takes the middle of the cell that phi and psi are in.
    phi, psi = (2.0 * np.floor(np.degrees(angles.numpy()) / 2.0) + 1.0 for angles in torsions.unbind(dim=0))
    percentile = ramachandran_percentiles(encoded.kinds.numpy()[..., None], phi, psi)
    rarity = 2.0 * np.log(0.1 / np.clip(percentile, 1e-5, 0.1))
    expected = (rarity + 0.5 * strain.numpy() ** 2)[:, 1:9]
    np.testing.assert_allclose(penalty_of(planes, encoded, turn)[:, 1:9], expected, rtol=1e-4, atol=1e-4)
    assert (rarity[:, 1:9] > 10).any() and (rarity[:, 1:9] == 0).any()


def test_ends_of_chains_are_not_judged():
    planes, chain = network(), chain_of("AAAA", "GV")
    encoded, _ = planes.encode_all(trace(6), chain, 1000)
    penalty = penalty_of(planes, encoded, torch.linspace(-3.0, 3.0, 18).view(3, 6))
    equal = (penalty == penalty[..., :1]).all(dim=-1).all(dim=0)
    assert equal.tolist() == [True, False, False, True, True, True]
    # Only the peptides of the first two residues have a next one.
    assert (encoded.ahead == 0).all(dim=-1).all(dim=0).tolist() == [False, False, True, True, True, True]


class FineNetwork(PeptidePlaneNetwork):
    """Looks at the next peptide at every class."""

    grid = 72


@torch.no_grad()
def test_what_is_left_of_the_next_peptide():
    torch.manual_seed(0)
    fine, chain, c_alpha = FineNetwork(PeptidePlaneConfig(neighbours=4)).eval(), chain_of("AGVPI"), trace(5)
    encoded, _ = fine.encode_all(c_alpha, chain, 2)
    following = EncodedPeptides(*(part[:, 1:4].unsqueeze(2) for part in encoded))
    cosine, sine = fine.class_waves[1], fine.class_waves[2]
    logits = fine.logits(following.context, following.before, cosine, sine)
    joints = Joints(following.forms, following.kinds)
    penalty = fine.penalty(joints, cosine, sine, fine.class_waves)
    left = (torch.softmax(logits, dim=-1) * torch.exp(-penalty)).sum(dim=-1)
    assert torch.allclose(encoded.ahead[:, :3], left.log(), atol=1e-4)
    assert left.max() > 10 * left.min()
    # The coarse grid of the network sees nearly the same.
    coarse = network()
    coarse.load_state_dict(fine.state_dict())
    ahead = coarse.encode_all(c_alpha, chain, 1000)[0].ahead[:, :3]
    assert torch.corrcoef(torch.stack([ahead.flatten(), left.log().flatten()]))[0, 1] > 0.9


def test_shipped_model_builds_few_outliers():
    model = load_model(require_model("protein"), "cpu")
    source = open_source(EXAMPLES / "2bf5.pdb.gz")
    atoms = atoms_in_slots(source)
    c_alpha = torch.tensor(atoms[:, :, SLOT_CA], dtype=torch.float32)

    def outliers() -> float:
        engine = ProteinBuilder(model, source.topology, source.linked, "cpu")
        built = engine.reconstruct(c_alpha, numbers=torch.arange(1), samples=10, seed=0).numpy()
        card = score(source.topology, None, built, linked=source.linked)
        return card.measures["ramachandran_outliers"]["all"].value

    with_term = outliers()
    model.peptide_planes.penalty.table.zero_()
    without = outliers()
    assert with_term < 0.5 * without
