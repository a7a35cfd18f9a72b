"""Molecules that periodic boundaries cut bead by bead are made whole, in every frame and any box."""

from __future__ import annotations

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.cli.main import main
from backmap.errors import InputError
from backmap.io import FrameRange, join_chunks, open_source, source_from_mdtraj
from backmap.io.selection.whole_molecules import ChainsOfAtoms, make_whole, narrowest_width, periodic_boxes
from tests import toy_protein

from .conftest import atom_line, helix
from .test_cases import CASES, c_alphas

PERIODIC = CASES / "periodic"


def random_box(rng: np.random.Generator, kind: str) -> np.ndarray:
    """(3, 3) box vectors in nm, wider than two bonds."""
    sizes = rng.uniform(2.5, 9, 3)
    box = np.diag(sizes)
    if kind == "triclinic":  # reduced, as GROMACS and LAMMPS ask
        box[1, 0], box[2, 0] = rng.uniform(-0.5, 0.5, 2) * sizes[0]
        box[2, 1] = rng.uniform(-0.5, 0.5) * sizes[1]
    elif kind == "slab":
        box[2] = 0
    return box


def random_chains(rng: np.random.Generator, lengths: list[int], softness: float = 0.0174) -> np.ndarray:
    """(residues, 3) random walks in nm with soft bonds, each away from where it began."""
    chains = []
    for length in lengths:
        ways = rng.normal(size=(length, 3)) + 1.2 * rng.normal(size=3)
        bonds = np.clip(rng.normal(0.38, softness, (length, 1)), 0.3, 0.5)
        chains.append(
            rng.uniform(0, 9, 3) + np.cumsum(bonds * ways / np.linalg.norm(ways, axis=1)[:, None], axis=0)
        )
    return np.concatenate(chains)


def wrapped(
    rng: np.random.Generator, positions: np.ndarray, box: np.ndarray, by_hand: bool = False
) -> np.ndarray:
    """Put every bead into the box, or into any image by hand."""
    if by_hand:
        return positions + rng.integers(-2, 3, positions.shape) @ box
    return positions - np.floor(positions @ np.linalg.pinv(box)) @ box


def chains_of(lengths: list[int]) -> ChainsOfAtoms:
    residues = sum(lengths)
    index = np.repeat(np.arange(len(lengths)), lengths)
    return ChainsOfAtoms(np.arange(residues), np.arange(residues), index, np.ones(residues - 1, dtype=int))


def same_but_for_the_box(
    found: np.ndarray, expected: np.ndarray, box: np.ndarray, chain_index: np.ndarray
) -> None:
    """Every chain is as expected, but for one whole number of box vectors."""
    for chain in range(chain_index.max() + 1):
        rows = chain_index == chain
        away = (found - expected)[rows]
        images = np.rint(away[0] @ np.linalg.pinv(box))
        np.testing.assert_allclose(away, np.broadcast_to(images @ box, away.shape), atol=1e-5)


@pytest.mark.parametrize("kind", ["orthorhombic", "triclinic", "slab"])
@pytest.mark.parametrize("seed", range(25))
def test_any_wrap_of_any_chains(seed, kind):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 40, rng.integers(1, 6)).tolist()
    chains = chains_of(lengths)
    boxes = np.stack([random_box(rng, kind) for _ in range(3)])
    positions = np.stack([random_chains(rng, lengths) for _ in range(3)])
    cut = np.stack([wrapped(rng, p, box, by_hand=seed % 2) for p, box in zip(positions, boxes, strict=True)])
    whole = make_whole(cut, boxes, chains)
    starts = np.searchsorted(chains.chain_index, np.arange(len(lengths)))
    np.testing.assert_array_equal(whole[:, starts], cut[:, starts])
    for frame in range(3):
        same_but_for_the_box(whole[frame], positions[frame], boxes[frame], chains.chain_index)
    assert make_whole(positions, boxes, chains) is positions


def test_atoms_follow_their_c_alpha():
    rng = np.random.default_rng(3)
    box = random_box(rng, "triclinic")
    c_alpha = random_chains(rng, [12, 7])
    residue_of = np.repeat(np.arange(19), 4)
    atoms = c_alpha[residue_of] + rng.uniform(-0.3, 0.3, (76, 3))
    atoms[1::4] = c_alpha
    chains = ChainsOfAtoms(
        residue_of, np.arange(1, 76, 4), np.repeat([0, 1], [12, 7]), np.ones(18, dtype=int)
    )
    whole = make_whole(wrapped(rng, atoms, box)[None], box[None], chains)[0]
    same_but_for_the_box(whole, atoms, box, chains.chain_index[residue_of])


def test_missing_residues_may_span_half_a_box():
    """In a crystal the segments of a chain lie as they were deposited."""
    positions = np.concatenate([helix(6), helix(6) + [0, 0, 2.2]])[None]
    box = 3.0 * np.eye(3)[None]
    chains = ChainsOfAtoms(
        np.arange(12), np.arange(12), np.zeros(12, dtype=int), np.array([1] * 5 + [8] + [1] * 5)
    )
    assert make_whole(positions, box, chains) is positions


def test_width_of_boxes():
    boxes = np.stack([np.diag([3.0, 4, 5]), np.zeros((3, 3)), np.array([[4.0, 0, 0], [2, 6, 0], [0, 0, 9]])])
    np.testing.assert_allclose(narrowest_width(boxes), [3, np.inf, 24 / np.sqrt(40)])
    assert not periodic_boxes(None, 2).any()


def test_a_wrapped_trajectory_is_that_of_whole_molecules():
    top = PERIODIC / "top.pdb"
    whole, cut = open_source(PERIODIC / "whole.xtc", top), open_source(PERIODIC / "wrapped.xtc", top)
    jumps = np.linalg.norm(
        np.diff(mdtraj.load(str(PERIODIC / "wrapped.xtc"), top=str(top)).xyz, axis=1), axis=-1
    )
    assert (jumps > 1).any(axis=1).sum() == 22
    assert cut.linked.tolist() == whole.linked.tolist()
    for found, expected in zip(cut.chunks(7), whole.chunks(7), strict=True):
        for frame, box in enumerate(found.box):
            places = (part.coordinates[frame] for part in (found, expected))
            same_but_for_the_box(*places, box, np.zeros(50, dtype=int))
        np.testing.assert_array_equal(found.box, expected.box)


def test_frames_alone_ranges_streams_and_the_whole_run_agree(tmp_path, monkeypatch):
    toy_protein.install(tmp_path / "toy.safetensors", None, monkeypatch.setattr)
    top, path = PERIODIC / "top.pdb", PERIODIC / "wrapped.xtc"
    run = mdtraj.load(str(path), top=str(top))
    built = backmap.reconstruct(path, top=top)
    streamed = mdtraj.join(list(backmap.reconstruct_stream(list(run))))
    np.testing.assert_allclose(streamed.xyz, built.xyz, atol=1e-5)
    everything = c_alphas(open_source(path, top))
    for begin in (0, 7, 33):
        part = open_source(path, top, frames=FrameRange(begin, begin + 4))
        np.testing.assert_array_equal(c_alphas(part), everything[begin : begin + 4])
        alone = source_from_mdtraj(run[begin])
        np.testing.assert_array_equal(c_alphas(alone), everything[begin : begin + 1])
        assert alone.linked.tolist() == part.linked.tolist() == [True] * 49 + [False]
    bonds = np.linalg.norm(
        built.xyz[:, built.topology.select("name C")[:-1]]
        - built.xyz[:, built.topology.select("name N")[1:]],
        axis=-1,
    )
    assert bonds.max() < 1


@pytest.mark.parametrize("c_alphas", ["auto", "keep"])
def test_a_structure_is_the_same_wherever_it_lies(tmp_path, monkeypatch, c_alphas):
    """Whole or wrapped, near the origin or far: rounding of the file's coordinates changes nothing."""
    toy_protein.install(tmp_path / "toy.safetensors", None, monkeypatch.setattr)
    whole = mdtraj.load(str(PERIODIC / "whole.xtc"), top=str(PERIODIC / "top.pdb"))
    far = whole[:]
    far.xyz = whole.xyz + np.float32(8)
    wrapped = mdtraj.load(str(PERIODIC / "wrapped.xtc"), top=str(PERIODIC / "top.pdb"))
    expected = backmap.reconstruct(whole, c_alphas=c_alphas)
    for run in (far, wrapped):
        found = backmap.reconstruct(run, c_alphas=c_alphas)
        apart = found.xyz - expected.xyz
        apart -= 8 * np.rint(apart[:, :1] / 8)
        np.testing.assert_allclose(apart, 0, atol=1e-5)


def test_boxes_that_some_frames_lack(tmp_path, monkeypatch):
    """Neither how many frames are built at once nor the format changes which frames have a box."""
    toy_protein.install(tmp_path / "toy.safetensors", None, monkeypatch.setattr)
    run = mdtraj.load(str(PERIODIC / "whole.xtc"), top=str(PERIODIC / "top.pdb"))[:4]
    run.save_gro(str(tmp_path / "run.gro"))
    lines = (tmp_path / "run.gro").read_text().splitlines()
    lines[run.n_atoms + 2] = ""
    (tmp_path / "run.gro").write_text("\n".join(lines) + "\n")
    for chunk in (1, 2, 4):
        frames = join_chunks(list(open_source(tmp_path / "run.gro").chunks(chunk)))
        assert frames.box.any(axis=(1, 2)).tolist() == [False, True, True, True]
        for suffix in ("xtc", "dcd", "nc"):
            path = tmp_path / f"atoms.{suffix}"
            given = ["reconstruct", str(tmp_path / "run.gro"), "-o", str(path), "--chunk", str(chunk)]
            assert main([*given, "--overwrite", "--quiet"]) == 0
            built = mdtraj.load(str(path), top=str(path.with_suffix(".pdb")))
            np.testing.assert_allclose(built.unitcell_lengths, [[0] * 3, *[[8] * 3] * 3], atol=1e-6)
    given = ["reconstruct", str(tmp_path / "run.gro"), "-o", str(tmp_path / "text.cif")]
    assert main([*given, "--quiet"]) == 0 and "_cell." not in (tmp_path / "text.cif").read_text()


def test_one_frame_with_its_cell():
    source = open_source(PERIODIC / "one_wrapped.pdb")
    assert np.linalg.norm(np.diff(c_alphas(source)[0], axis=0), axis=-1).max() < 0.41


def test_without_its_box_it_looks_wrapped(write_text):
    lines = [
        line for line in (PERIODIC / "one_wrapped.pdb").read_text().splitlines(True) if "CRYST1" not in line
    ]
    message = (
        r"frame 1: chain A residue \d+ ... and chain A residue \d+ ... are .* looks wrapped: give the box"
    )
    with pytest.raises(InputError, match=message):
        open_source(write_text(lines))


def test_a_box_narrower_than_two_bonds(write_text):
    lines = [atom_line("CA", "GLY", number, place) for number, place in enumerate(helix(5), 1)]
    cell = "CRYST1    5.000   80.000   80.000  90.00  90.00  90.00 P 1           1\n"
    with pytest.raises(
        InputError, match="frame 1: its box is 0.5 nm wide, less than two bonds of a chain; give"
    ):
        open_source(write_text([cell, *lines]))
    dummy = "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n"
    assert open_source(write_text([dummy, *lines])).linked.sum() == 4


def test_cells_of_models_are_their_own(write_text):
    text = ""
    for size in (40, 50):
        text += f"CRYST1   {size}.000   80.000   80.000  90.00  90.00  90.00 P 1           1\nMODEL {size}\n"
        text += (
            "".join(atom_line("CA", "GLY", number, place) for number, place in enumerate(helix(5), 1))
            + "ENDMDL\n"
        )
    (chunk,) = open_source(write_text(text)).chunks(5)
    np.testing.assert_allclose(chunk.box[:, 0, 0], [4, 5])


def test_the_box_of_the_input_is_that_of_the_output(tmp_path, monkeypatch):
    toy_protein.install(tmp_path / "toy.safetensors", None, monkeypatch.setattr)
    built = backmap.reconstruct(PERIODIC / "wrapped.xtc", top=PERIODIC / "top.pdb")
    np.testing.assert_allclose(built.unitcell_lengths, 8.0, rtol=1e-5)


@pytest.mark.parametrize("kind", ["orthorhombic", "triclinic"])
@pytest.mark.parametrize("seed", range(4))
def test_a_wrapped_slab_of_chains_without_names(tmp_path, seed, kind):
    """A GRO file as GROMACS writes it: no chain names, numbers that restart, every bead in the box."""
    rng = np.random.default_rng(100 + seed)
    sizes = rng.integers(8, 40, 60).tolist()
    box = random_box(rng, kind) + 6 * np.eye(3)
    positions = wrapped(rng, random_chains(rng, sizes), box)
    numbers = [number for size in sizes for number in range(1, size + 1)]
    lines = "".join(
        f"{number:>5}{'GLY':<5}{'CA':>5}{atom:>5}{x:8.3f}{y:8.3f}{z:8.3f}\n"
        for atom, (number, (x, y, z)) in enumerate(zip(numbers, positions, strict=True))
    )
    order = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))
    cell = " ".join(f"{box[place]:.5f}" for place in order)
    (tmp_path / "slab.gro").write_text(f"slab\n{len(numbers)}\n{lines}{cell}\n")
    source = open_source(tmp_path / "slab.gro")
    assert np.bincount(source.topology.chain_index).tolist() == sizes
    assert source.linked.tolist() == (~source.topology.chain_ends).tolist()
    bonds = np.linalg.norm(np.diff(c_alphas(source)[0], axis=0), axis=-1)
    assert bonds[source.linked[:-1]].max() < 0.51
