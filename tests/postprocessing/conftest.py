"""Proteins as models build them, and peptides atom by atom."""

from __future__ import annotations

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.chemistry import SLOT_CB, Topology
from backmap.io import AtomList, source_from_mdtraj, to_mdtraj
from backmap.models.shipped import DEFAULT_MODEL, shipped_models
from tests.evaluation.peptide import build
from tests.io.conftest import helix
from tests.proteins import c_alpha_list, present_atoms

pytest.importorskip("openmm")

FRAMES = 3
SLOT_SG = 5
DISULFIDE_NM = 0.205

Protein = tuple[AtomList, np.ndarray]


@pytest.fixture(scope="session")
def protein() -> Protein:
    """All twenty amino acids in a helix and a short second chain; heavy atoms (frames, atoms, 3) in nm."""
    if DEFAULT_MODEL not in shipped_models():
        pytest.skip("no model is shipped")
    topology = Topology.from_sequences("ARNDCQEGHILKMFPSTWYV", "PHS")
    c_alpha = np.concatenate([helix(20), helix(3) + [3.0, 0.0, 0.0]])
    noise = np.random.default_rng(0).normal(0.0, 0.005, (FRAMES, topology.n_residues, 3))
    beads = to_mdtraj(c_alpha_list(topology), c_alpha + noise)
    return listed(backmap.reconstruct(beads, seed=1, device="cpu"))


@pytest.fixture(scope="session")
def disulfide() -> Protein:
    """Two peptides, the second the first turned by half a turn: their cysteines are bonded. One frame."""
    _, peptide = build("GCG")
    sulfur, beta = peptide[1, SLOT_SG], peptide[1, SLOT_CB]
    outward = (sulfur - beta) / np.linalg.norm(sulfur - beta)
    axis = np.cross(outward, [0.0, 0.0, 1.0])
    axis /= np.linalg.norm(axis)
    centre = sulfur + DISULFIDE_NM / 2 * outward
    arms = peptide - centre
    turned = 2 * (arms @ axis)[..., None] * axis - arms + centre
    atoms = np.concatenate([peptide, turned])
    present = ~np.isnan(atoms[..., 0])
    return AtomList.of_protein(Topology.from_sequences("GCG", "GCG"), present), atoms[present][None]


def listed(trajectory: mdtraj.Trajectory) -> Protein:
    """The heavy atoms of a protein and their coordinates (frames, atoms, 3) in nm."""
    source = source_from_mdtraj(trajectory)
    (chunk,) = source.chunks(trajectory.n_frames)
    atoms = AtomList.of_protein(source.topology, present_atoms(source))
    return atoms, chunk.coordinates.astype(np.float64)
