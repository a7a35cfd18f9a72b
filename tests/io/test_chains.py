"""Who is in which chain, and where chains break: labels, numbers, distances and sequence, in every format."""

from __future__ import annotations

import warnings

import mdtraj
import numpy as np
import pytest

from backmap.chemistry import Topology
from backmap.chemistry.residues import RESIDUE_NAMES
from backmap.errors import InputWarning
from backmap.io import FrameRange, open_source, open_writer, source_from_mdtraj, to_mdtraj
from backmap.io.formats.structure_records import hybrid_36
from tests.proteins import c_alpha_list

from .conftest import atom_line, helix
from .test_cases import CASES, lengths
from .test_whole_molecules import random_chains

NUMBERINGS = ("from 1", "anywhere", "wrap at 9999", "stars", "hybrid-36", "inserted")


def random_proteins(seed: int, n_chains: int) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Positions (residues, 3) in nm of chains that lie apart, their lengths, and types of residues."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 30, n_chains).tolist()
    chains = np.split(random_chains(rng, sizes), np.cumsum(sizes)[:-1])
    places = np.concatenate([chain - chain[0] + rng.uniform(-40, 40, 3) for chain in chains])
    return places, sizes, rng.integers(0, 20, sum(sizes))


def numbered(kind: str, sizes: list[int], rng: np.random.Generator) -> list[str]:
    """Columns 23 to 27 of the residues of chains."""
    columns = []
    for size in sizes:
        first = {"from 1": 1, "wrap at 9999": int(rng.integers(9980, 10000)), "hybrid-36": 9995}.get(kind)
        first = int(rng.integers(-20, 900)) if first is None else first
        for number in range(first, first + size):
            if kind == "stars":
                columns.append("**** ")
            elif kind == "wrap at 9999":
                columns.append(f"{number % 10000:>4} ")
            elif kind == "hybrid-36":
                columns.append(f"{hybrid_36(number, 4)} ")
            elif kind == "inserted":
                columns.append(f"{first:>4}{' ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij'[number - first]}")
            else:
                columns.append(f"{number:>4} ")
    return columns


def pdb_text(places: np.ndarray, types: np.ndarray, columns: list[str], labels: list[str]) -> str:
    return "".join(
        f"ATOM  {index % 99999:>5}  CA  {RESIDUE_NAMES[kind]} {label}{column}   {x:8.3f}{y:8.3f}{z:8.3f}\n"
        for index, ((x, y, z), kind, column, label) in enumerate(
            zip(10 * places, types, columns, labels, strict=True)
        )
    )


@pytest.mark.parametrize("labels", ["none", "letters", "A B A B", "all A"])
@pytest.mark.parametrize("kind", NUMBERINGS)
@pytest.mark.parametrize("seed", range(6))
def test_any_numbering_and_labels(write_text, seed, kind, labels):
    if labels == "all A" and kind in ("stars", "anywhere", "wrap at 9999", "inserted"):
        pytest.skip("nothing but a distance parts chains of one name whose numbers do not fall")
    places, sizes, types = random_proteins(seed, 4)
    names = {"none": "    ", "letters": "ABCD", "A B A B": "ABAB", "all A": "AAAA"}[labels]
    label_of = [names[chain] for chain, size in enumerate(sizes) for _ in range(size)]
    columns = numbered(kind, sizes, np.random.default_rng(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_source(write_text(pdb_text(places, types, columns, label_of)))
    assert lengths(source) == sizes
    assert source.linked.tolist() == (~source.topology.chain_ends).tolist()
    assert source.topology.chain_ids == tuple(names.replace(" ", "") or ("",) * 4)
    np.testing.assert_array_equal(source.topology.residue_types, types)
    if kind == "stars":
        assert source.topology.residue_numbers.tolist() == [n + 1 for size in sizes for n in range(size)]
    if kind == "hybrid-36":
        assert source.topology.residue_numbers.tolist() == [9995 + n for size in sizes for n in range(size)]


@pytest.mark.parametrize("format", ["pdb", "cif", "gro", "h5", "mdtraj", "stream"])
@pytest.mark.parametrize("seed", range(3))
def test_every_format_says_the_same(tmp_path, seed, format):
    """Three chains without labels, numbered from 1, of which the second lacks residues in its middle."""
    places, sizes, types = random_proteins(seed, 3)
    starts = np.cumsum([0, *sizes])
    numbers = np.concatenate([np.arange(1, size + 1) for size in sizes])
    middle = starts[1] + sizes[1] // 2
    numbers[middle : starts[2]] += 6
    places[middle : starts[2]] += 1.5 * (places[middle] - places[middle - 1]) / 0.38
    topology = Topology(types, np.zeros(len(types), dtype=int), ("",), numbers)
    trajectory = to_mdtraj(c_alpha_list(topology), places[None])
    path = tmp_path / f"in.{format}"
    with pytest.warns(InputWarning, match="a chain break"):
        if format in ("mdtraj", "stream"):
            source = source_from_mdtraj(trajectory)
        else:
            if format in ("gro", "h5"):
                trajectory.unitcell_vectors = 500 * np.eye(3)[None]
                trajectory.save(str(path))
            else:
                with open_writer(path, c_alpha_list(topology)) as writer:
                    writer.write(places[None])
            source = open_source(path)
    expected = [len(types)] if format == "cif" else sizes  # its chains must have names
    if format == "cif":
        assert len(lengths(source)) >= 1
    else:
        assert lengths(source) == expected
    assert np.flatnonzero(~source.linked & ~source.topology.chain_ends).tolist().count(middle - 1) == 1


def test_copies_of_a_chain_whose_ends_touch(write_text):
    """The first residue of one copy lies where the next one of the chain before would."""
    places = helix(24)
    columns = [f"{number:>4} " for number in [*range(1, 9)] * 3]
    repeated = np.tile([0, 5, 7, 11, 2, 19, 3, 8], 3)
    assert lengths(open_source(write_text(pdb_text(places, repeated, columns, ["A"] * 24)))) == [8, 8, 8]
    other = repeated.copy()
    other[10] = 1
    source = open_source(write_text(pdb_text(places, other, columns, ["A"] * 24)))
    assert lengths(source) == [24] and source.linked.sum() == 23


def test_numbers_that_fall_where_c_alphas_are_bonded_go_on(write_text):
    columns = [f"{number:>4} " for number in (501, 502, 503, 17, 18, 19, 700, 701)]
    source = open_source(write_text(pdb_text(helix(8), np.zeros(8, dtype=int), columns, ["A"] * 8)))
    assert lengths(source) == [8] and source.linked.sum() == 7
    assert source.topology.residue_numbers.tolist() == [501, 502, 503, 17, 18, 19, 700, 701]


def test_a_labelled_chain_stays_one_across_a_gap(write_text):
    places = np.concatenate([helix(6), helix(6) + [1.5, 0, 1.5]])
    columns = [f"{number:>4} " for number in [*range(1, 7), *range(11, 17)]]
    with pytest.warns(InputWarning, match="between chain A residue 6 ALA and chain A residue 11 ALA"):
        source = open_source(write_text(pdb_text(places, np.zeros(12, dtype=int), columns, ["A"] * 12)))
    assert lengths(source) == [12]
    assert np.flatnonzero(~source.linked).tolist() == [5, 11]


@pytest.mark.parametrize("suffix", [".xtc", ".pdb"])
def test_soft_bonds_decide_the_same_in_every_frame(tmp_path, suffix):
    """A simulation with the bonds of CALVADOS and HPS: any frame, any range, a stream and the run agree."""
    rng = np.random.default_rng(5)
    frames = np.stack([random_chains(rng, [150], 0.025) for _ in range(40)])
    run = to_mdtraj(c_alpha_list(Topology.from_sequences("G" * 150)), frames)
    path, top = tmp_path / f"run{suffix}", tmp_path / "top.pdb"
    run.save(str(path))
    run[0].save(str(top))
    bonds = np.linalg.norm(np.diff(run.xyz, axis=1), axis=-1)
    assert (bonds > 0.41).mean() > 0.05 and (bonds < 0.34).mean() > 0.03
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = open_source(path, top if suffix == ".xtc" else None).linked
        for number in range(40):
            asked = FrameRange(number, number + 1 + number % 3)
            part = open_source(path, top if suffix == ".xtc" else None, frames=asked)
            assert part.linked.tolist() == expected.tolist()
            assert source_from_mdtraj(run[number]).linked.tolist() == expected.tolist()
    assert expected.sum() == 149


def test_the_first_sound_frame_of_the_file_decides(tmp_path):
    """Not the first one asked for: later frames may not turn a bond into a break."""
    frames = np.repeat(helix(8)[None], 5, axis=0)
    frames[0, 3] = np.nan
    frames[3:, 4:] += (frames[3:, 4:5] - frames[3:, 3:4]) * 0.5
    run = to_mdtraj(c_alpha_list(Topology.from_sequences("GGGGGGGG")), frames)
    run.save_dcd(str(tmp_path / "run.dcd"))
    run[1].save(str(tmp_path / "top.pdb"))
    for begin in (1, 3, 4):
        source = open_source(tmp_path / "run.dcd", tmp_path / "top.pdb", frames=FrameRange(begin))
        assert source.linked.sum() == 7
    with pytest.warns(InputWarning, match="a chain break"):
        assert source_from_mdtraj(run[3]).linked.sum() == 6


def test_topologies_without_numbers_part_chains_by_distance(tmp_path):
    """PRMTOP files number all residues one after another and know no chains, and so does this PSF."""
    places, sizes, types = random_proteins(11, 3)
    rows = "".join(
        f"{index:>8} {'PROT':<4} {index:<4} {RESIDUE_NAMES[kind]:<4} CA   CA     0.000000    110.0000   0\n"
        for index, kind in enumerate(types, 1)
    )
    psf = f"PSF\n\n       1 !NTITLE\n REMARKS made\n\n{len(types):>8} !NATOM\n{rows}\n       0 !NBOND\n\n"
    (tmp_path / "top.psf").write_text(psf)
    with mdtraj.open(str(tmp_path / "in.dcd"), "w") as file:
        file.write(10 * places[None].astype(np.float32))
    with pytest.warns(
        InputWarning, match="2 chain breaks, built as separate segments: between chain  ?residue|2 chain"
    ):
        source = open_source(tmp_path / "in.dcd", tmp_path / "top.psf")
    assert source.linked.sum() == len(types) - 3  # one segment's name labels all: breaks, not chains
    (tmp_path / "top.psf").write_text(psf.replace("PROT", "P1  ", sizes[0]))
    with pytest.warns(InputWarning, match="a chain break"):
        assert lengths(open_source(tmp_path / "in.dcd", tmp_path / "top.psf")) == [sizes[0], sum(sizes[1:])]


def test_gro_files_that_number_on(tmp_path):
    """GROMACS starts again at 0 behind 99999, SMOG and others never do."""
    places, sizes, types = random_proteins(4, 3)
    total = len(types)
    for first in (1, 99990):
        lines = "".join(
            f"{(first + n) % 100000:>5}{RESIDUE_NAMES[kind]:<5}{'CA':>5}{n:>5}{x:8.3f}{y:8.3f}{z:8.3f}\n"
            for n, ((x, y, z), kind) in enumerate(zip(places, types, strict=True))
        )
        (tmp_path / "in.gro").write_text(f"made t= 2.5\n{total}\n{lines}   0.0 0.0 0.0\n")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            source = open_source(tmp_path / "in.gro")
        assert lengths(source) == sizes
        (chunk,) = source.chunks(3)
        assert chunk.time.tolist() == [2.5] and chunk.box is None


def test_an_ion_named_like_an_amino_acid_stays_an_ion(write_text):
    lines = [
        atom_line("CA", name, number, place)
        for number, (name, place) in enumerate(zip("AKGKV", helix(5), strict=True), 1)
    ]
    ions = [
        atom_line("K", "K", 90, (5, 5, 5), chain="I", element="K"),
        atom_line("CA", "CA", 91, (6, 5, 5), chain="I"),
    ]
    with pytest.warns(InputWarning, match="not part of a protein chain: 1 K, 1 CA"):
        source = open_source(write_text([*lines, *ions]))
    assert [source.topology.residue_name(i) for i in range(5)] == ["ALA", "LYS", "GLY", "LYS", "VAL"]


def test_chain_names_of_two_letters(write_text):
    lines = []
    for chain, shift in (("AA", 0), ("AB", 5), ("HA", 10)):
        for number, (name, place) in enumerate(zip(("ALA", "HIS", "LYS", "CYS"), helix(4), strict=True), 1):
            lines.append(atom_line("CA", name, number, place + shift).replace(f"{name} A", f"{name}{chain}"))
    source = open_source(write_text(lines))
    assert source.topology.chain_ids == ("AA", "AB", "HA") and lengths(source) == [4, 4, 4]


def test_the_wrapped_chain_of_the_cases_keeps_its_numbers():
    numbers = open_source(CASES / "chains/wrap_short.pdb").topology.residue_numbers
    assert numbers.tolist() == [*range(9970, 10000), *range(30)]
