"""Atoms are moved onto their beads, and stay a molecule."""

import numpy as np
import pytest
import torch

from backmap.chemistry import RESIDUE_INDEX, SLOT_OXT
from backmap.chemistry.ideal_geometry import ideal_bond_lengths
from backmap.evaluation.clashes import bonds_and_clashes
from backmap.models.beads.evidence import BeadEvidence, bead_table, image
from backmap.models.beads.fitting import BeadFit, branched_atoms, least_motion
from backmap.models.protein.side_chains import wrong_hand
from tests.beaded import crystal

MAPPINGS = ["residue-centre", "c-alpha+side-chain-centre", "martini3", "backbone"]


def evidence_of(mapping: str, positions: torch.Tensor, noise_nm: float = 0.0) -> BeadEvidence:
    noise = torch.full((len(positions),), noise_nm)
    return BeadEvidence(bead_table(crystal().layout(mapping)), positions, noise)


def displaced(seed: int = 0) -> torch.Tensor:
    """The crystal's atoms, each residue moved as a whole by about 0.02 nm, with an oxygen at the end."""
    atoms = torch.from_numpy(crystal().atoms).float()
    atoms[:, -1, SLOT_OXT] = 2 * atoms[:, -1, 2] - 0.5 * (atoms[:, -1, 1] + atoms[:, -1, 3])
    generator = torch.Generator().manual_seed(seed)
    return atoms + 0.02 * torch.randn(1, atoms.shape[1], 1, 3, generator=generator)


def fit(mapping: str, atoms: torch.Tensor, evidence: BeadEvidence) -> torch.Tensor:
    fit = BeadFit()
    return fit.fit(atoms, evidence, fit.prepare(crystal().chain, evidence.table))


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_image_lies_on_the_beads_and_the_molecule_is_sound(mapping):
    structure = crystal()
    evidence = evidence_of(mapping, structure.beads(mapping))
    fitted = fit(mapping, displaced(), evidence)
    assert (image(fitted, evidence.table) - evidence.positions).norm(dim=-1).square().mean().sqrt() < 0.01
    bonds = structure.topology.bonds()
    lengths = ideal_bond_lengths(structure.topology, bonds)
    flat = fitted[0].flatten(0, 1).numpy()
    found = np.linalg.norm(flat[bonds[:, 0]] - flat[bonds[:, 1]], axis=-1)
    assert (np.abs(found / lengths - 1) < 0.1).mean() > 0.99
    handed = structure.chain.types != RESIDUE_INDEX["GLY"]
    assert not wrong_hand(fitted, structure.chain.types)[:, handed].any()


def test_atoms_on_their_beads_hardly_move():
    atoms = displaced() * 0 + torch.from_numpy(crystal().atoms).float()
    evidence = evidence_of("martini3", crystal().beads("martini3"))
    atoms[:, -1, SLOT_OXT] = displaced()[:, -1, SLOT_OXT]
    moved = (fit("martini3", atoms, evidence) - atoms)[:, torch.from_numpy(crystal().topology.atom_mask)]
    assert moved.norm(dim=-1).median() < 0.01


def test_noisy_beads_pull_softly():
    """The noisier beads are, the farther from them atoms stay, and the less strained."""
    noise = 0.03 * torch.randn(
        1, len(crystal().layout("martini3").names), 3, generator=torch.Generator().manual_seed(0)
    )
    positions = crystal().beads("martini3") + noise
    bonds = crystal().topology.bonds()
    ideal = torch.from_numpy(ideal_bond_lengths(crystal().topology, bonds))
    distance, strain = [], []
    for noise_nm in (1e-6, 0.01, 0.03):
        evidence = evidence_of("martini3", positions, noise_nm)
        fitted = fit("martini3", displaced(), evidence)
        distance.append((image(fitted, evidence.table) - positions).norm(dim=-1).mean())
        flat = fitted[0].flatten(0, 1)
        lengths = (flat[bonds[:, 0]] - flat[bonds[:, 1]]).norm(dim=-1)
        strain.append((lengths / ideal - 1).abs().mean())
    assert distance[0] < 1e-5 < 0.005 < distance[1] < distance[2] < 0.06
    assert strain[2] < strain[1] < 0.5 * strain[0]


def test_frames_do_not_depend_on_each_other():
    positions = crystal().beads("martini3")
    both = torch.cat([displaced(0), displaced(1)])
    together = fit("martini3", both, evidence_of("martini3", positions.repeat(2, 1, 1)))
    for frame in range(2):
        alone = fit("martini3", both[frame : frame + 1], evidence_of("martini3", positions))
        assert torch.allclose(together[frame], alone[0], atol=1e-6)


def test_least_motion_brings_every_bead_home():
    table = bead_table(crystal().layout("martini3"))
    motion = torch.randn(1, len(table.residues), 3, generator=torch.Generator().manual_seed(0))
    moves = torch.zeros(1, crystal().topology.n_residues, 15, 3)
    moves.index_add_(1, table.residues, least_motion(table)[:, :, None] * motion[:, :, None])
    assert torch.allclose(image(moves, table), motion, atol=1e-4)


def test_branched_atoms_are_those_with_three_bonds():
    bonds = torch.tensor([[0, 1], [1, 2], [1, 3], [3, 4], [3, 5], [3, 6], [6, 7]])
    assert branched_atoms(bonds, 8).tolist() == [[1, 0, 2, 3], [3, 1, 4, 5]]


def test_fitting_removes_overlaps():
    structure = crystal()
    evidence = evidence_of("c-alpha+side-chain-centre", structure.beads("c-alpha+side-chain-centre"))
    fitted = fit("c-alpha+side-chain-centre", displaced(3), evidence)
    mask = structure.topology.atom_mask
    bonds = structure.topology.bonds()
    lengths = ideal_bond_lengths(structure.topology, bonds)
    following = structure.topology.following(structure.linked)
    _, clashing = bonds_and_clashes(fitted.double().numpy()[None], mask, following, bonds, lengths)
    assert clashing.mean() <= 0.03
