"""Cyclic peptides from the command line: built closed, with any beads, and read again."""

from __future__ import annotations

import re
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.cli.main import main
from backmap.io import open_source, reader
from tests.io.conftest import atom_line

NAMES = "ALA GLY PRO VAL ARG ASN ASP LYS TRP SER".split()
LINK = "A:10:C-A:1:N"


@pytest.fixture
def c_alphas(tmp_path) -> Path:
    """C-alphas of ten residues around a circle, alternately above and below it."""
    turn = np.arange(10) * np.pi / 5
    radius = np.sqrt(0.38**2 - 0.16**2) / (2 * np.sin(np.pi / 10))
    places = np.stack([radius * np.cos(turn), radius * np.sin(turn), 0.08 * (-1.0) ** np.arange(10)], axis=1)
    lines = [
        atom_line("CA", name, number, place)
        for number, (name, place) in enumerate(zip(NAMES, places, strict=True), 1)
    ]
    path = tmp_path / "ca.pdb"
    path.write_text("".join([*lines, "END\n"]))
    return path


def run(*arguments: object) -> int:
    return main(list(map(str, arguments)))


def closing_bond(path: Path) -> float:
    """The distance in nm of C of the last and N of the first residue in a file without terminal oxygen."""
    built = mdtraj.load(str(path))
    place = {(atom.residue.index, atom.name): atom.index for atom in built.topology.atoms}
    assert not any(name == "OXT" for _, name in place)
    return float(np.linalg.norm(built.xyz[0, place[9, "C"]] - built.xyz[0, place[0, "N"]]))


@pytest.mark.parametrize("beads", [{}, {"beads": "martini3"}])
def test_coherent_rings_are_closed_and_do_not_jump(c_alphas, tmp_path, beads):
    trace = mdtraj.load(str(c_alphas))
    trace.topology.chain(0).chain_id = "A"
    noise = np.random.default_rng(0).normal(size=(8, trace.n_atoms, 3))
    frames = mdtraj.Trajectory((trace.xyz + 0.001 * noise).astype(np.float32), trace.topology)
    if beads:
        atoms, output = tmp_path / "atoms.pdb", tmp_path / "beads.pdb"
        backmap.reconstruct(frames, link=[LINK], coherent=True, frame_interval=1.0).save(str(atoms))
        assert run("coarse-grain", atoms, "--beads", "martini3", "-o", output) == 0
        frames = mdtraj.load(str(output))
        frames.topology.chain(0).chain_id = "A"
    options = {"link": [LINK], "c_alphas": "keep", **beads}
    coherent = backmap.reconstruct(frames, coherent=True, frame_interval=1.0, **options)
    alone = backmap.reconstruct(frames, **options)
    place = {(atom.residue.index, atom.name): atom.index for atom in coherent.topology.atoms}
    assert (9, "OXT") not in place
    bonds = np.linalg.norm(coherent.xyz[:, place[9, "C"]] - coherent.xyz[:, place[0, "N"]], axis=-1)
    assert np.abs(bonds - 0.133).max() < 0.015
    steps = [np.sqrt((np.diff(each.xyz, axis=0) ** 2).sum(axis=-1).mean()) for each in (coherent, alone)]
    assert steps[0] < (1.0 if beads else 0.6) * steps[1]


@pytest.mark.parametrize("options", [[], ["--best"], ["--c-alphas", "relax"]])
def test_a_ring_is_closed_and_is_one_when_read_again(c_alphas, tmp_path, options):
    output = tmp_path / "atoms.pdb"
    assert run("reconstruct", c_alphas, "-o", output, "--link", LINK, *options) == 0
    assert abs(closing_bond(output) - 0.133) < 0.008
    source = open_source(output)
    assert source.topology.rings == (0,) and source.sites.n_sites == source.topology.atom_mask.sum()


@pytest.mark.parametrize("beads", ["martini3", "backbone", "residue-centre"])
def test_rings_of_other_beads(c_alphas, tmp_path, beads):
    atoms, centres, output = (tmp_path / f"{name}.pdb" for name in ("atoms", "beads", "again"))
    assert run("reconstruct", c_alphas, "-o", atoms, "--link", LINK) == 0
    assert run("coarse-grain", atoms, "--beads", beads, "-o", centres) == 0
    assert run("reconstruct", centres, "-o", output, "--beads", beads, "--link", LINK) == 0
    assert abs(closing_bond(output) - 0.133) < 0.012


def test_hydrogens_of_a_ring_are_those_of_peptides(c_alphas, tmp_path):
    pytest.importorskip("openmm")
    from openmm import app

    output = tmp_path / "atoms.pdb"
    assert run("reconstruct", c_alphas, "-o", output, "--link", LINK, "--hydrogens", "--minimise", 20) == 0
    assert abs(closing_bond(output) - 0.133) < 0.012
    names = {(atom.residue.index, atom.name) for atom in mdtraj.load(str(output)).topology.atoms}
    assert (0, "H") in names and not {(0, "H2"), (0, "H3")} & names
    pdb = app.PDBFile(str(output))
    ends = {(atom.residue.index, atom.name): atom for atom in pdb.topology.atoms()}
    pdb.topology.addBond(ends[9, "C"], ends[0, "N"])
    app.ForceField("amber14-all.xml").createSystem(pdb.topology)  # refuses atoms too many or too few


def test_streams_and_kept_atoms(c_alphas, tmp_path):
    beads = mdtraj.load(str(c_alphas))
    beads.topology.chain(0).chain_id = "A"
    (frame,) = backmap.reconstruct_stream([beads], link=[LINK], seed=1)
    whole = backmap.reconstruct(beads, link=[LINK], seed=1)
    assert np.array_equal(frame.xyz, whole.xyz)
    assert "OXT" not in {atom.name for atom in whole.topology.atoms}
    kept = backmap.reconstruct(whole, keep_given=True)
    assert np.array_equal(kept.xyz, whole.xyz)


@pytest.fixture
def noisy(c_alphas, tmp_path) -> Path:
    """Nine frames of the ring, whose C-alphas have a noise of 0.0124 nm; the sixth is damaged."""
    beads = mdtraj.load(str(c_alphas))
    frames = mdtraj.join([beads] * 9)
    frames.xyz += np.random.default_rng(1).normal(scale=0.0124, size=frames.xyz.shape)
    frames.xyz[5, 3] = np.nan
    frames.time = np.arange(9)
    frames.save(str(tmp_path / "ca.trr"))
    return tmp_path / "ca.trr"


@pytest.mark.parametrize("options", [[], ["--c-alphas", "keep"], ["--beads", "residue-centre"]])
def test_a_stopped_run_is_resumed_with_other_batches(c_alphas, noisy, tmp_path, monkeypatch, options):
    monkeypatch.setattr(reader, "FRAMES_LOOKED_AT", 1)
    monkeypatch.setattr(reader, "_FRAMES_PER_LOOK", 1)
    asked = ["reconstruct", noisy, "--top", c_alphas, "--link", LINK, "--samples", 2, "--seed", 3, *options]
    assert run(*asked, "-o", tmp_path / "stopped.xtc", "--batch", 2) == 2
    assert not list(tmp_path.glob("stopped_*.xtc"))
    skipping = [*asked, "--on-bad-frame", "skip"]
    assert run(*skipping, "-o", tmp_path / "stopped.xtc", "--resume") == 0
    assert run(*skipping, "-o", tmp_path / "whole.xtc", "--batch", 5) == 0
    assert run(*skipping, "-o", tmp_path / "shared.xtc", "--batch", 3, "--workers", 2) == 0
    for sample in (1, 2):
        whole = tmp_path / f"whole_{sample}.xtc"
        for other in ("stopped", "shared"):
            assert (tmp_path / f"{other}_{sample}.xtc").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("noise", [0.0124, 0.03])
def test_rings_of_noisy_c_alphas_close(c_alphas, tmp_path, noise):
    beads = mdtraj.load(str(c_alphas))
    frames = mdtraj.join([beads] * 20)
    frames.xyz += np.random.default_rng(2).normal(scale=noise, size=frames.xyz.shape)
    frames.topology.chain(0).chain_id = "A"
    how = {"link": [LINK], "samples": 2, "seed": 4}
    built = backmap.reconstruct(frames, **how)
    stream = list(backmap.reconstruct_stream([frames[:7], frames[7:]], **how))
    for sample, whole in enumerate(built):
        np.testing.assert_array_equal(np.stack([part.xyz[sample] for part in stream]), whole.xyz)
        place = {(atom.residue.index, atom.name): atom.index for atom in whole.topology.atoms}
        ends = [
            [place[9, "C"], place[0, "N"]],
            [place[9, "CA"], place[0, "N"]],
            [place[9, "CA"], place[0, "CA"]],
        ]
        bond, angle, step = mdtraj.compute_distances(whole, ends, periodic=False).T
        assert np.abs(bond - 0.133).max() < 0.012 and np.abs(angle - 0.243).max() < 0.03
        off = np.abs(step[step > 0.34] - 0.3805)
        assert np.median(off) < 1e-3 and off.max() < 0.015  # little noise may go unnoticed in a frame
        moved = whole.xyz[:, [place[n, "CA"] for n in range(10)]] - frames.xyz
        assert 0.3 * noise < np.sqrt(np.square(moved).mean()) < 3 * noise


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "diamondback"], "is cyclic, but diamondback models build open chains"),
    ],
)
def test_what_builds_open_chains_refuses_rings(c_alphas, tmp_path, capsys, options, message):
    record = "LINK         C   SER A  10                 N   ALA A   1     1555   1555  1.33\n"
    c_alphas.write_text(record + c_alphas.read_text())
    assert run("reconstruct", c_alphas, "-o", tmp_path / "atoms.pdb", *options) == 2
    assert re.search(message, capsys.readouterr().err)
