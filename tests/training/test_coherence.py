from __future__ import annotations

import copy
import math
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

import backmap
from backmap.cli.main import main
from backmap.datasets.simulations import Simulation, read_simulation
from backmap.models.counter_random import stream_keys
from backmap.models.protein.basins import DRAWS, find_basins, step_angle
from backmap.models.protein.coherence import CoherentDrawer
from backmap.models.protein.coherence_rates import CoherenceRates
from backmap.models.protein.coherence_statistics import coherence_statistics
from backmap.models.protein.geometry import classify_angle
from backmap.models.shipped import load_model
from backmap.training.coherence import (
    N_BASINS,
    CoherenceTrainingConfig,
    FittedRates,
    Steps,
    calibrate,
    count_turns,
    fit_rates,
    measure_motion,
    train_coherence,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
BINS = 36


@pytest.fixture(scope="module")
def simulation(tmp_path_factory) -> Path:
    """A folder with a coherent trajectory of ten residues, which stands in for a simulation."""
    folder = tmp_path_factory.mktemp("simulation")
    beads = mdtraj.load(str(EXAMPLES / "ww_c_alpha.xtc"), top=str(EXAMPLES / "ww_c_alpha.pdb"))
    few = beads[0].atom_slice(range(10))
    noise = np.random.default_rng(0).normal(scale=0.002, size=(25, 10, 3))
    moving = mdtraj.Trajectory((few.xyz + noise).astype(np.float32), few.topology)
    atoms = backmap.reconstruct(moving, coherent=True, frame_interval=1.0)
    atoms.save(str(folder / "atoms.xtc"))
    atoms[0].save(str(folder / "atoms.pdb"))
    return folder


def fit_to(rate: float, mobility: float) -> FittedRates:
    """Fit steps of torsions of two types, the second of which leave their wells three times as often."""
    generator = torch.Generator().manual_seed(0)
    middles = (torch.arange(BINS) + 0.5) * 10 - 180
    shape = sum(
        share * torch.exp(-0.5 * ((torch.remainder(middles - place + 180, 360) - 180) / 12) ** 2)
        for place, share in ((-65, 0.6), (180, 0.3), (60, 0.1))
    )
    distribution = shape / shape.sum()
    basins = find_basins(distribution)
    mass = torch.zeros(BINS).index_add(0, basins, distribution)
    count, n_steps = 4_000, 30
    group = torch.arange(2).repeat(count // 2)
    rates = torch.where(group == 0, rate, 3 * rate)
    rates = rates * torch.exp(mobility * torch.randn(count, generator=generator))
    angles = torch.full((count,), math.radians(-65.0))
    before, after = [], []
    for _ in range(n_steps):
        before.append(basins[classify_angle(angles, BINS)])
        uniforms = torch.rand(count, DRAWS, generator=generator)
        angles, _ = step_angle(distribution, angles, rates, torch.full((count,), 1e-3), uniforms)
        after.append(basins[classify_angle(angles, BINS)])
    first, last = (torch.stack(each, dim=1).flatten() for each in (before, after))
    n = len(first)
    steps = Steps(
        mass.topk(N_BASINS).values.expand(n, -1),
        mass[first],
        first == last,
        group.repeat_interleave(n_steps),
        torch.zeros(n, 3),
        torch.zeros(n),
        torch.ones(n),
        torch.arange(count).repeat_interleave(n_steps),
    )
    return fit_rates(steps, 2, 1, CoherenceTrainingConfig())


@pytest.mark.parametrize("rate", [0.02, 0.2])
def test_rates_are_found_again(rate):
    """Torsions of two types that leave their wells at known rates."""
    fitted = fit_to(rate, mobility=0.0)
    found = torch.exp(fitted.log_rate)
    assert found[0] == pytest.approx(rate, rel=0.15)
    assert found[1] == pytest.approx(3 * rate, rel=0.15)
    assert fitted.mobility[0] < 0.3


def test_mobilities_are_found_again():
    """Torsions of one type that are not equally mobile."""
    fitted = fit_to(0.03, mobility=1.0)
    assert fitted.mobility[0] == pytest.approx(1.0, rel=0.2)
    assert torch.exp(fitted.log_rate[0]) == pytest.approx(0.03, rel=0.25)


def test_motion_is_measured():
    """Atoms that all move by 0.1 nm."""
    topology = backmap.chemistry.Topology.from_sequences("AVAA")
    chain = backmap.models.chain.Chain.from_arrays(
        topology.residue_types, topology.chain_index, topology.linked(), "cpu"
    )
    atoms = torch.randn(4, 15, 3, generator=torch.Generator().manual_seed(0)).repeat(3, 1, 1, 1)
    atoms[1] += torch.tensor([0.1, 0.0, 0.0])
    moved = measure_motion(atoms, torch.from_numpy(topology.atom_mask), chain)
    assert moved.backbone == pytest.approx(0.1, rel=1e-4)
    assert moved.ends == pytest.approx(0.1, rel=1e-4)
    assert moved.psi == pytest.approx(0.0, abs=1e-3)


def test_turns_are_counted():
    """Chi1 of lysine turns by 70 degrees once, chi2 of phenylalanine by half a turn, and an oxygen by 90."""
    model = load_model("protein", "cpu")
    topology = backmap.chemistry.Topology.from_sequences("AKFA")
    chain = backmap.models.chain.Chain.from_arrays(
        topology.residue_types, topology.chain_index, topology.linked(), "cpu"
    )
    atoms = build_turning(model, chain)
    counts = count_turns(model, atoms, torch.from_numpy(topology.atom_mask), chain)
    assert counts[:, 0].tolist() == [1, 1, 0, 0, 0]
    assert counts[:, 1].tolist() == [4, 4, 4, 2, 2]


def build_turning(model, chain) -> torch.Tensor:
    """Three frames of four residues: torsions and an oxygen turn between the first and the second."""
    c_alpha = torch.tensor([[0.0, 0, 0], [0.3, 0.2, 0.1], [0.6, 0.0, 0.0], [0.9, 0.2, -0.1]])
    turns = torch.tensor([0.0, 70.0, 70.0]).deg2rad(), torch.tensor([0.0, 180.0, 180.0]).deg2rad()
    atoms = torch.zeros(3, 4, 15, 3)
    atoms[:, :, 1] = c_alpha
    generator = torch.Generator().manual_seed(2)
    atoms[:, :, :4] = c_alpha.unsqueeze(1) + 0.12 * torch.randn(4, 4, 3, generator=generator)
    atoms[:, :, 1] = c_alpha
    torsions = torch.zeros(3, 4, 4)
    torsions[:, 1, 0], torsions[:, 2, 1] = turns
    beta = model.c_beta(atoms[:, :, :4], chain.types)
    types = chain.types.repeat(3)
    flat = [part.flatten(0, 1) for part in (atoms[:, :, :4], beta)]
    placed = model.geometry(*flat, types, torsions.flatten(0, 1).unsqueeze(1), None)
    atoms[:, :, 4:14] = placed[:, 0].unflatten(0, (3, 4))
    axis = torch.nn.functional.normalize(c_alpha[2] - c_alpha[1], dim=0)
    arm = torch.linalg.cross(axis, c_alpha[0] - c_alpha[1])
    atoms[:, 1, 3] = c_alpha[1] + arm
    atoms[1:, 1, 3] = c_alpha[1] + torch.linalg.cross(axis, arm)
    return atoms


def test_rates_are_calibrated_by_turns(simulation):
    """Frames whose torsions leave their wells up to twenty times as often raise the rates."""
    model = load_model("protein", "cpu")
    seen = read_simulation(Simulation("atoms.xtc", "atoms.pdb", 320.0), simulation)
    chain = backmap.models.chain.Chain.from_arrays(
        seen.topology.residue_types, seen.topology.chain_index, seen.linked, "cpu"
    )
    rates = copy.deepcopy(coherence_statistics())
    fast = copy.deepcopy(rates)
    for group in ("peptide", "torsion"):
        fast[group]["log rate"] = (np.array(fast[group]["log rate"]) + 3.0).tolist()
    c_alpha = seen.atoms[:1, :, 1].repeat(200, 1, 1)
    keys = stream_keys(0, 1, torch.arange(200))
    intervals = torch.ones(200, chain.n_residues)
    with torch.inference_mode():
        drawer = CoherentDrawer(model, CoherenceRates(statistics=fast))
        atoms, _ = drawer.draw(c_alpha - c_alpha[:, :1], chain, keys, keys[:, 0], intervals)
    config = CoherenceTrainingConfig(frames=200, seed=1)
    calibrated, told = calibrate(model, rates, [seen._replace(atoms=atoms[0])], config)
    assert told.startswith("turns by over 60 degrees")
    shift = np.array(calibrated["torsion"]["log rate"]) - np.array(rates["torsion"]["log rate"])
    assert shift[:, 0].min() > 0.3
    assert np.allclose(shift, shift[:1], atol=2e-3)
    assert np.abs(shift).max() <= math.log(3) + 1e-3


def test_a_simulation_gives_rates_that_can_be_used(simulation):
    seen = read_simulation(Simulation("atoms.xtc", "atoms.pdb", 320.0), simulation)
    assert seen.atoms.shape == (25, 10, 15, 3)
    config = CoherenceTrainingConfig(frames=5, rounds=0, calibrations=1)
    lines: list[str] = []
    statistics = train_coherence(load_model("protein", "cpu"), [seen], config, lines.append)
    assert "misfit" in lines[-2] and "turns" in lines[-1]
    rates = CoherenceRates(300.0, statistics=statistics)
    types, seen = torch.arange(20), torch.zeros(20, 3)
    assert torch.isfinite(rates.of_peptides(types, seen, torch.zeros(20))).all()
    assert (rates.of_torsions(types, seen, torch.zeros(20, 4)) > 0).all()


@pytest.mark.parametrize(
    "text, message",
    [
        ("[training]\nframes = 5", "names no simulations; give each a table [simulations.NAME]"),
        ('[simulations.one]\ntrajectory = "a.xtc"', "topology"),
        ('[simulations.one]\ntrajectory = "a.xtc"\ntopology = "a.pdb"', "a.xtc: no such file"),
        ("[models]", "unknown table [models]"),
    ],
)
def test_configurations_that_cannot_be_used_are_refused(tmp_path, capsys, text, message):
    (tmp_path / "config.toml").write_text(text)
    assert main(["train", "coherence", str(tmp_path / "config.toml"), "-o", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
