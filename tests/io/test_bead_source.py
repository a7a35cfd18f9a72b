"""Finding a molecule's beads in files of beads, of the molecule, and of much else."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Sequence
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from backmap.chemistry import LinearMapping, Molecule
from backmap.errors import InputError, InputWarning
from backmap.io import AtomList, FrameRange, beads_from_mdtraj, open_beads, read_molecule, to_mdtraj
from backmap.io.bead_source import warn_of_intervals
from backmap.io.formats.frame_times import header_interval
from tests.toy_temporal import BEAD_ATOMS, BEADS, DIPEPTIDE, SHAPE_NM

FRAMES = 12


@pytest.fixture
def whole() -> mdtraj.Trajectory:
    """All atoms of the dipeptide, moving."""
    moves = np.random.default_rng(0).normal(0, 0.02, (FRAMES, 22, 3))
    time = 5.0 + 0.5 * np.arange(FRAMES)
    return to_mdtraj(AtomList.of_molecule(DIPEPTIDE), SHAPE_NM + moves, time=time)


def solvated(whole: mdtraj.Trajectory, copies: int = 1) -> mdtraj.Trajectory:
    """Put water before and after the molecule, or after copies of it."""
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    pieces = []

    def add_water(count: int) -> None:
        for _ in range(count):
            residue = topology.add_residue("HOH", chain)
            for name, symbol in (("O", "O"), ("H1", "H"), ("H2", "H")):
                topology.add_atom(name, mdtraj.element.get_by_symbol(symbol), residue)
                pieces.append(np.full((whole.n_frames, 1, 3), 2.0))

    add_water(2)
    for copy in range(copies):
        for residue in whole.topology.residues:
            added = topology.add_residue(residue.name, chain, resSeq=residue.resSeq)
            for atom in residue.atoms:
                topology.add_atom(atom.name, atom.element, added)
        pieces.append(whole.xyz + copy)
    add_water(3)
    return mdtraj.Trajectory(np.concatenate(pieces, axis=1), topology, time=whole.time)


def saved(trajectory: mdtraj.Trajectory, path: Path) -> Path:
    trajectory.save(str(path))
    trajectory[0].save_pdb(str(path.with_suffix(".pdb")))
    return path


def read(source, frames_per_chunk: int = 5, first: int = 0) -> np.ndarray:
    return np.concatenate([chunk.coordinates for chunk in source.chunks(frames_per_chunk, first)])


def named_beads(names: Sequence[str], residues: Sequence[str]) -> mdtraj.Topology:
    """Make a topology of beads with the name of the residue of each."""
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    residue = None
    for name, residue_name in zip(names, residues, strict=True):
        if residue is None or residue.name != residue_name:
            residue = topology.add_residue(residue_name, chain)
        topology.add_atom(name, mdtraj.element.carbon, residue)
    return topology


KINDS = {
    "beads": lambda whole: whole.atom_slice(BEAD_ATOMS),
    "all atoms": lambda whole: whole,
    "solvated": solvated,
    "heavy atoms": lambda whole: whole.atom_slice(whole.topology.select("element != H")),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".xtc", ".dcd", ".trr", ".h5", ".nc", ".pdb", ".gro"])
@pytest.mark.filterwarnings("ignore:.*netCDF4")
def test_beads_are_found_by_name(whole, tmp_path, kind, suffix):
    if suffix == ".h5":
        pytest.importorskip("tables")
    path = saved(KINDS[kind](whole), tmp_path / f"in{suffix}")
    source = open_beads(path, DIPEPTIDE, BEADS, None if suffix == ".pdb" else path.with_suffix(".pdb"))
    expected = 1 if suffix == ".pdb" else FRAMES
    assert source.n_frames == expected
    np.testing.assert_allclose(read(source), whole.xyz[:expected, BEAD_ATOMS], atol=1e-3)


def test_atoms_of_a_residue_in_another_order(whole):
    shuffled = mdtraj.Trajectory(whole.xyz[:, [*BEAD_ATOMS[:1], *BEAD_ATOMS[4:0:-1], BEAD_ATOMS[5]]], None)
    names = [BEADS.bead_names[bead] for bead in (0, 4, 3, 2, 1, 5)]
    shuffled.topology = named_beads(names, ["ACE", *["ALA"] * 4, "NME"])
    np.testing.assert_array_equal(
        read(beads_from_mdtraj(shuffled, DIPEPTIDE, BEADS)), whole.xyz[:, BEAD_ATOMS]
    )


def test_names_of_other_force_fields(whole):
    for residue, name in zip(whole.topology.residues, ("ACE", "ALA", "NMA"), strict=True):
        residue.name = name
    np.testing.assert_array_equal(read(beads_from_mdtraj(whole, DIPEPTIDE, BEADS)), whole.xyz[:, BEAD_ATOMS])


def test_beads_that_are_means_of_atoms(whole):
    weights = np.zeros((2, 22))
    weights[0, [1, 4]], weights[1, [8, 10, 14]] = 0.5, 1 / 3
    mapping = LinearMapping(weights, ("CAP", "SIDE"))
    expected = mapping.apply(whole.xyz.astype(np.float64))
    np.testing.assert_allclose(read(beads_from_mdtraj(solvated(whole), DIPEPTIDE, mapping)), expected)


def test_beads_in_one_residue_are_found_by_their_order(whole):
    topology = named_beads(BEADS.bead_names, ["ADP"] * 6)
    beads = mdtraj.Trajectory(whole.xyz[:, BEAD_ATOMS], topology)
    np.testing.assert_array_equal(read(beads_from_mdtraj(beads, DIPEPTIDE, BEADS)), beads.xyz)
    topology.atom(2).name, topology.atom(3).name = "CB", "CA"
    message = "expected the model's 6 beads C N CA CB C N in this order; atom 3 is named CB"
    with pytest.raises(InputError, match=message):
        beads_from_mdtraj(beads, DIPEPTIDE, BEADS)


@pytest.mark.parametrize("atoms", [BEAD_ATOMS, list(range(22))])
def test_coordinates_alone_are_told_by_their_number(whole, tmp_path, atoms):
    path = tmp_path / "in.dcd"
    whole.atom_slice(atoms).save_dcd(str(path))
    meaning = "6 beads C N CA CB C N" if len(atoms) == 6 else "22 atoms of the model's molecule"
    with pytest.warns(
        InputWarning, match=f"contains no names; assumed to be the (model's )?{meaning} in this order"
    ):
        source = open_beads(path, DIPEPTIDE, BEADS)
    np.testing.assert_allclose(read(source), whole.xyz[:, BEAD_ATOMS], atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 3, 5, 100])
@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_chunks_are_whole_wherever_they_begin(whole, tmp_path, chunk, stride, first, monkeypatch):
    monkeypatch.setattr("backmap.io.formats.trajectory_file.MAX_ATOM_POSITIONS_PER_READ", 22 * 4)
    path = saved(whole, tmp_path / "in.xtc")
    source = open_beads(path, DIPEPTIDE, BEADS, path.with_suffix(".pdb"), frames=FrameRange(stride=stride))
    chunks = list(source.chunks(chunk, first))
    expected = whole[::stride][first:]
    assert [len(piece) for piece in chunks[:-1]] == [chunk] * (len(chunks) - 1)
    assert [piece.first_frame for piece in chunks] == list(range(first, len(whole[::stride]), chunk))
    np.testing.assert_allclose(np.concatenate([piece.time for piece in chunks]), expected.time)
    beads = np.concatenate([piece.coordinates for piece in chunks])
    np.testing.assert_allclose(beads, expected.xyz[:, BEAD_ATOMS], atol=1e-3)


def test_interval_unlike_that_of_the_training(whole, tmp_path, recwarn):
    path = saved(whole, tmp_path / "in.xtc")
    source = open_beads(path, DIPEPTIDE, BEADS, path.with_suffix(".pdb"))
    warn_of_intervals([source], 0.5)
    assert not recwarn
    with pytest.warns(
        InputWarning, match=r"in.xtc: frames are 0.5 ps apart, but the model was trained on.* 2 ps"
    ):
        warn_of_intervals([source], 2.0)
    warn_of_intervals(
        [open_beads(path, DIPEPTIDE, BEADS, path.with_suffix(".pdb"), frames=FrameRange(stride=4))], 2.0
    )


def test_a_trajectory_in_memory_may_know_no_times(whole, recwarn):
    whole.time = np.arange(FRAMES)
    warn_of_intervals([beads_from_mdtraj(whole, DIPEPTIDE, BEADS)], 100.0)
    assert not recwarn


def spoiled(whole: mdtraj.Trajectory, case: str) -> mdtraj.Trajectory:
    if case == "another molecule":
        whole.topology.residue(1).name = "GLY"
    elif case == "missing atom":
        return whole.atom_slice([atom for atom in range(22) if atom != 10])
    elif case == "two molecules":
        return solvated(whole, copies=2)
    elif case == "water":
        return solvated(whole, copies=0).atom_slice(range(6))
    elif case == "another order":
        beads = named_beads(BEADS.bead_names[::-1], ["NME", *["ALA"] * 4, "ACE"])
        return mdtraj.Trajectory(whole.xyz[:, BEAD_ATOMS[::-1]], beads)
    elif case == "beads of another molecule":
        whole.topology.residue(1).name = "SER"
        return whole.atom_slice(BEAD_ATOMS)
    elif case == "not a number":
        whole.xyz[7, 8] = np.nan
    return whole


REFUSALS = {
    "another molecule": (
        "the trajectory: expected the model's 6 beads C N CA CB C N, or the molecule ACE ALA NME "
        "they are made of; "
        "found 22 atoms in 3 residues ACE GLY NME"
    ),
    "missing atom": (
        "the trajectory: expected the model's 6 beads C N CA CB C N, or the molecule ACE ALA NME "
        "they are made of; "
        "chain A residue 2 ALA has no atom CB, or more than one"
    ),
    "two molecules": "the trajectory: contains 2 molecules ACE ALA NME; give a file with only one",
    "another order": (
        "the trajectory: expected the model's 6 beads C N CA CB C N in this order; atom 1 is named N"
    ),
    "beads of another molecule": (
        "the trajectory: expected the model's 6 beads C N CA CB C N of ACE ALA NME; found ACE SER NME"
    ),
    "not a number": (
        "the trajectory: frame 8, residue 2 ALA atom CA: a coordinate is not a finite number; "
        "leave that frame out or repair the file"
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(whole, case):
    with pytest.raises(InputError) as refusal:
        read(beads_from_mdtraj(spoiled(whole, case), DIPEPTIDE, BEADS))
    assert str(refusal.value) == REFUSALS[case]


def test_topologies_that_do_not_fit(whole, tmp_path):
    beads = tmp_path / "beads.dcd"
    whole.atom_slice(BEAD_ATOMS).save_dcd(str(beads))
    names = tmp_path / "all.pdb"
    whole[0].save_pdb(str(names))
    with pytest.raises(
        InputError, match="has 6 atoms, but its topology .* has 22; it seems to contain only the beads"
    ):
        open_beads(beads, DIPEPTIDE, BEADS, names)
    some = tmp_path / "some.dcd"
    whole.atom_slice(range(9)).save_dcd(str(some))
    with pytest.raises(InputError, match="has 22; give the topology it was written with"):
        open_beads(some, DIPEPTIDE, BEADS, names)
    with pytest.raises(InputError) as refusal:
        open_beads(some, DIPEPTIDE, BEADS)
    assert str(refusal.value) == (
        f"{some}: contains coordinates of 9 atoms but no names; expected the model's 6 beads C N CA CB C N, "
        "the 22 atoms of its molecule, or a topology with --top"
    )
    with pytest.raises(InputError, match="some.dcd: expected the 22 atoms of the model's molecule; found 9"):
        read_molecule(some, DIPEPTIDE)


def test_the_whole_molecule_is_read(whole, tmp_path):
    path = tmp_path / "in.pdb"
    solvated(whole).save_pdb(str(path))
    np.testing.assert_allclose(read_molecule(path, DIPEPTIDE), whole.xyz, atol=1e-4)
    solvated(whole, copies=2).save_pdb(str(path))
    with pytest.raises(InputError, match="contains 2 molecules ACE ALA NME; give a file with all 22 atoms"):
        read_molecule(path, DIPEPTIDE)


def test_a_molecule_has_its_own_atom_list():
    listed = AtomList.of_molecule(DIPEPTIDE)
    assert (listed.n_atoms, len(listed.residues), listed.chain_ids) == (22, 3, ("A",))
    assert [listed.ends_chain(residue) for residue in range(3)] == [False, False, True]
    assert listed.residues[2].atom_names == ("N", "H", "C", "H1", "H2", "H3")
    two_numbers = Molecule(("O", "O"), ("O", "O"), ("HOH", "HOH"), (1, 2), ())
    assert len(AtomList.of_molecule(two_numbers).residues) == 2


def test_interval_of_a_dcd_file_is_that_of_its_header(whole, tmp_path):
    path = saved(whole, tmp_path / "whole.dcd")
    top = path.with_suffix(".pdb")
    assert header_interval(path) is None  # mdtraj's writer puts 1 and 1
    header = bytearray(path.read_bytes())
    struct.pack_into("<i", header, 16, 250)
    struct.pack_into("<f", header, 44, 0.002 / 0.04888821)
    path.write_bytes(header)
    assert header_interval(path) == pytest.approx(0.5, rel=1e-6)
    with pytest.warns(
        InputWarning, match="frames are 0.5 ps apart, but the model was trained on frames 1 ps"
    ):
        warn_of_intervals([open_beads(path, DIPEPTIDE, BEADS, top)], 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        warn_of_intervals([open_beads(path, DIPEPTIDE, BEADS, top, frames=FrameRange(stride=2))], 1.0)
    struct.pack_into("<i", header, 84, 0)  # X-PLOR's layout, where the step is a double
    path.write_bytes(header)
    assert header_interval(path) is None
    assert header_interval(top) is None


def test_a_molecule_that_its_box_cuts_is_made_whole(whole, tmp_path):
    whole.unitcell_vectors = np.tile(2.0 * np.eye(3), (FRAMES, 1, 1))
    expected = read(beads_from_mdtraj(whole, DIPEPTIDE, BEADS))
    for shift in (0.0, 0.9, 1.3):
        cut = mdtraj.Trajectory((whole.xyz + shift) % 2.0, whole.topology, time=whole.time)
        cut.unitcell_vectors = whole.unitcell_vectors
        found = read(open_beads(saved(cut, tmp_path / "cut.xtc"), DIPEPTIDE, BEADS, tmp_path / "cut.pdb"))
        np.testing.assert_allclose(np.diff(found, axis=1), np.diff(expected, axis=1), atol=5e-3)
