"""Inputs as programs write them, each an instance of a kind: what is read, and what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from backmap.chemistry.bead_mapping import is_c_alpha
from backmap.chemistry.residues import ONE_LETTER
from backmap.errors import InputError, InputWarning
from backmap.io import open_source

from .conftest import atom_line, helix

CASES = Path(__file__).parents[1] / "data" / "cases"
TRACE = "HLLEYGFGHVDMHFSEFFINMRWW"


def letters(source) -> str:
    return "".join(ONE_LETTER[source.topology.residue_name(i)] for i in range(source.topology.n_residues))


def lengths(source) -> list[int]:
    return np.bincount(source.topology.chain_index).tolist()


def c_alphas(source) -> np.ndarray:
    return np.concatenate([chunk.coordinates[:, source.sites.leaders] for chunk in source.chunks(100)])


READ = {
    "soft-bonds/hps_ddx4_snapshot.pdb": [236],
    "chains/two_chains.pdb": [40, 40],
    "chains/wrap_short.pdb": [60],
    "periodic/one_wrapped.pdb": [50],
    "names/one_letter.pdb": [24],
    "names/amber_termini.pdb": [24],
    "names/fourletter.pdb": [24],
    "dialects/old_id.pdb": [24],
    "dialects/interleaved_H.pdb": [24],
    "dialects/dup_side.pdb": [24],
    "dialects/bom.pdb": [24],
    "dialects/resnum_stars.pdb": [24],
    "dialects/box6.gro": [24],
    "dialects/box_huge.gro": [24],
    "dialects/box_missing.gro": [24],
    **{f"beads/1ab1_A.{kind}.pdb": [46] for kind in ("calpha", "bb", "mc")},
}


@pytest.mark.parametrize("case", READ)
def test_read_whole_and_in_silence(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_source(CASES / case)
    assert lengths(source) == READ[case]
    assert source.linked.sum() == source.topology.n_residues - len(READ[case])
    assert len(c_alphas(source)) == source.n_frames == 1


@pytest.mark.parametrize(
    ("case", "sequence"),
    [
        ("names/one_letter.pdb", "A" * 24),
        ("names/amber_termini.pdb", "ALLEYGFGHVDMHFSEFFINMRWL"),
        ("names/fourletter.pdb", "HLLEYKFGHVDMHFSEFFCNMRWW"),
        ("dialects/bom.pdb", TRACE),
        ("dialects/old_id.pdb", TRACE),
        ("dialects/interleaved_H.pdb", TRACE),
        ("dialects/resnum_stars.pdb", TRACE),
        ("dialects/box6.gro", TRACE),
    ],
)
def test_residues_are_those_of_the_file(case, sequence):
    assert letters(open_source(CASES / case)) == sequence


def test_every_dialect_has_the_same_c_alphas():
    expected = c_alphas(open_source(CASES / "dialects/old_id.pdb"))
    for path in sorted((CASES / "dialects").iterdir()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            found = c_alphas(open_source(path))
        np.testing.assert_allclose(found, expected, atol=6e-4, err_msg=path.name)


@pytest.mark.parametrize("column", ["id", "label_alt_id", "label_asym_id", "type_symbol"])
def test_a_column_that_mmcif_asks_for_is_named(column):
    with pytest.warns(
        InputWarning, match=f"no_{column}.cif: has no column _atom_site.{column}, .* read without"
    ):
        source = open_source(CASES / f"dialects/no_{column}.cif")
    assert lengths(source) == [24] and source.linked.sum() == 23


def test_a_byte_order_mark_before_mmcif(tmp_path):
    (tmp_path / "in.cif").write_bytes(b"\xef\xbb\xbf" + (CASES / "dialects/no_id.cif").read_bytes())
    with pytest.warns(InputWarning, match="has no column _atom_site.id"):
        assert letters(open_source(tmp_path / "in.cif")) == TRACE


@pytest.mark.parametrize("column", ["Cartn_y", "label_atom_id", "label_comp_id"])
def test_a_column_that_is_needed_is_named(tmp_path, column):
    text = (CASES / "dialects/no_id.cif").read_text()
    (tmp_path / "in.cif").write_text(text.replace(f"_atom_site.{column}", "_atom_site.other"))
    with pytest.raises(
        InputError, match=f"in.cif: has no column _atom_site.{column}; write the file with it"
    ):
        open_source(tmp_path / "in.cif")


@pytest.mark.parametrize(("name", "parent"), [("dal", "ALA"), ("sep", "SER")])
def test_modified_residues_keep_their_names_and_have_the_type_of_their_parents(name, parent):
    topology = open_source(CASES / f"names/{name}.pdb").topology
    assert topology.residue_name(9) == parent and topology.written_name(9) == name.upper()
    assert topology.describe(9) == f"chain A residue 10 {name.upper()}"


REFUSED = {
    "names/awsem.pdb": r"names of its residues \(NGP, IGL, IPR; atoms CA\) .* its sequence with --sequence",
    "names/bead_CG.pdb": "no atom named CA .* found CG.; if these are C-alphas, name them CA",
    "beads/1ab1_A.casc.pdb": "fit the mappings c-alpha.side-chain-centre and unres; say which with --beads",
}


BEADS = {
    "cacm": ("c-alpha+residue-centre", 92),
    "martini": ("martini2", 91),
    "martini3": ("martini3", 98),
    "primo": ("primo", 221),
    "sc": ("side-chain-centre", 46),
}


@pytest.mark.parametrize("kind", BEADS)
def test_beads_are_told_by_their_names(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_source(CASES / f"beads/1ab1_A.{kind}.pdb")
    assert (source.beads_name, source.sites.n_sites) == BEADS[kind]
    assert lengths(source) == [46] and source.linked.sum() == 45


def test_residue_centres_named_like_c_alphas_are_told_by_their_distances():
    with pytest.warns(InputWarning, match="read 46 beads as residue centres, by their distances"):
        source = open_source(CASES / "beads/1ab1_A.residue.pdb")
    assert source.beads_name == "residue-centre" and not is_c_alpha(source.beads.weights).all()


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(case):
    with pytest.raises(InputError, match=REFUSED[case]) as caught:
        open_source(CASES / case)
    assert "\n" not in str(caught.value)


def test_a_cyclic_peptide_is_told():
    with pytest.warns(
        InputWarning, match="residue 1 PRO and chain A residue 12 GLY are at bonding .* built open"
    ) as seen:
        source = open_source(CASES / "physics/cyclic12.pdb")
    assert len(seen) == 1 and source.linked.sum() == 11


@pytest.mark.parametrize("atom", ["CB", "OD1"])
def test_atoms_given_twice_are_not_kept(write_text, atom):
    lines = [atom_line("CA", "ASP", number, place) for number, place in enumerate(helix(5), 1)]
    lines[3:3] = 2 * [atom_line(atom, "ASP", 3, helix(3)[2] + 0.1)]
    source = open_source(write_text(lines))
    assert source.sites.n_sites == 5
    with pytest.raises(InputError, match=f"residue 3 ASP has 2 atoms {atom}; remove all but one"):
        _ = source.given


def test_folded_domains_of_mixed_chains_are_told_from_their_tails(tmp_path):
    """CALVADOS 3: C-alphas in disordered parts, centres of residues in folded ones, all named CA."""
    domain = [
        line for line in (CASES / "beads/1ab1_A.residue.pdb").read_text().splitlines() if "CA" in line[12:16]
    ]
    centres = np.array([[float(line[30 + 8 * k : 38 + 8 * k]) for k in range(3)] for line in domain])
    rng = np.random.default_rng(0)
    tail = centres[0] + np.cumsum(
        [3.8 * way / np.linalg.norm(way) for way in rng.normal(size=(60, 3)) + [1, 0, 0]], axis=0
    )
    places = np.concatenate([tail[::-1], centres])
    text = "".join(
        f"ATOM  {n:>5}  CA  GLY A{n:>4}    {x:8.3f}{y:8.3f}{z:8.3f}\n"
        for n, (x, y, z) in enumerate(places, 1)
    )
    (tmp_path / "mixed.pdb").write_text(text)
    with pytest.warns(InputWarning, match=r"read \d+ beads as residue centres and \d+ as C-alphas"):
        beads = open_source(tmp_path / "mixed.pdb").beads
    (c_alphas,) = np.nonzero(is_c_alpha(beads.weights))
    assert 58 <= len(c_alphas) <= 62 and c_alphas.tolist() == list(range(len(c_alphas)))


def test_atoms_out_of_order_are_found_in_a_trajectory(tmp_path):
    """All C-alphas come first in this topology, the hydrogens behind them."""
    top = CASES / "dialects/interleaved_H.pdb"
    count = top.read_text().count("ATOM")
    places = np.random.default_rng(0).normal(size=(1, count, 3)).astype(np.float32)
    expected = c_alphas(open_source(top))
    places[:, :24] = expected
    with mdtraj.open(str(tmp_path / "in.dcd"), "w") as file:
        file.write(10 * places)
    np.testing.assert_allclose(c_alphas(open_source(tmp_path / "in.dcd", top)), expected, atol=1e-5)


@pytest.mark.parametrize("angles", [0.0, 90.0])
def test_a_cell_of_zeros_is_no_box(tmp_path, angles):
    top = CASES / "dialects/old_id.pdb"
    with mdtraj.open(str(tmp_path / "in.dcd"), "w") as file:
        cell = {"cell_lengths": np.zeros((1, 3)), "cell_angles": np.full((1, 3), angles)}
        file.write(10 * c_alphas(open_source(top)).astype(np.float32), **cell)
    source = open_source(tmp_path / "in.dcd", top)
    (chunk,) = source.chunks(1)
    assert source.linked.sum() == 23 and chunk.box is None
