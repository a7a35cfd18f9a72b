"""Cyclic peptides from the command line: built closed, with any beads, and read again."""

from __future__ import annotations

import re
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.cli.main import main
from backmap.io import open_source
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
