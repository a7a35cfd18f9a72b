"""Files of beads: what they are is recognised, and refused where it is unclear."""

from __future__ import annotations

import numpy as np
import pytest

from backmap.chemistry.bead_mapping import is_c_alpha, load_mapping
from backmap.chemistry.residues import THREE_LETTERS
from backmap.errors import InputError, InputWarning
from backmap.io import open_source
from backmap.io.selection.residue_centres import find_c_alphas
from tests.beaded import crystal

HELIX = "ARNDCQEGHILKMFPSTWYV"


def bead_lines(mapping: str, change=None, c_alphas: np.ndarray | None = None) -> str:
    """PDB text of the example's beads; ``change`` gives another name to a bead, or None to leave it out."""
    structure = crystal()
    layout = load_mapping(mapping).layout(structure.topology.residue_types, c_alphas)
    lines = []
    for name, residue, place in zip(
        layout.names, layout.residues.tolist(), 10 * layout.image(structure.atoms)[0], strict=True
    ):
        name = change(residue, name) if change else name
        if name is not None:
            kind = structure.topology.residue_name(residue)
            x, y, z = place
            lines.append(
                f"ATOM  {len(lines) + 1:5d} {name:^4} {kind} A{residue + 1:4d}    "
                f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00\n"
            )
    return "".join(lines)


@pytest.mark.parametrize("mapping", ["martini3", "c-alpha+residue-centre", "sirah", "side-chain-centre"])
def test_names_tell_the_mapping(mapping, write_text):
    source = open_source(write_text(bead_lines(mapping)))
    assert source.mapping is not None and source.mapping.name == mapping
    (chunk,) = source.chunks(1)
    np.testing.assert_allclose(chunk.coordinates, crystal().beads(mapping), atol=1e-3)
    assert source.linked.sum() == crystal().topology.n_residues - 1


SIRAH_CODES = {name: code for code, name in THREE_LETTERS.items()} | {"HIS": "He", "CYS": "X"}


@pytest.mark.parametrize("prefix", ["s", "n", "c", "a", "m"])
def test_residue_names_of_sirah_are_read(prefix, write_text):
    types = crystal().topology
    names = [prefix + SIRAH_CODES[types.residue_name(residue)] for residue in range(types.n_residues)]
    lines = bead_lines("sirah").splitlines(keepends=True)
    side_chain = [line.replace(" GO ", " BCG") for line in lines if " GO " in line]
    written = [f"{line[:17]}{names[int(line[22:26]) - 1]:<3}{line[20:]}" for line in [*lines, *side_chain]]
    with pytest.warns(InputWarning, match=r"ignored 40 sites that the mapping sirah does not use \(BCG\)"):
        source = open_source(write_text(sorted(written, key=lambda line: int(line[22:26]))))
    assert source.mapping.name == "sirah"
    np.testing.assert_array_equal(source.topology.residue_types, types.residue_types)


def test_variants_of_residues_in_sirah(write_text):
    """Codes of SIRAH with the amino acid and, if modified, its name; and its solvent, ions and lipids."""
    codes = {"Hd": "HIS", "Hp": "HIS", "Z": "CYS", "Cp": "CYS", "Dh": "ASP", "Eh": "GLU", "Km": "LYS"}
    modified = {"Sp": "SEP", "Tp": "TPO", "Yp": "PTR"}
    lines = bead_lines("sirah").splitlines(keepends=True)[: 3 * (len(codes) + len(modified))]
    named = [
        f"{line[:17]}{'s' + code:<3}{line[20:]}"
        for code, three in zip([*codes, *modified], zip(*[iter(lines)] * 3, strict=True), strict=True)
        for line in three
    ]
    beside = ["WT4", "WLS", "NaW", "ClW", "xPC", "xOL", "DAX", "CW5"]
    others = [
        f"ATOM  {number:5d}  X   {name} B{number:4d}    {50.0:8.3f}{10.0 * number:8.3f}{0.0:8.3f}\n"
        for number, name in enumerate(beside)
    ]
    with pytest.warns(InputWarning, match="ignored residues that are not part of a protein chain: 1 WT4"):
        source = open_source(write_text(named + others))
    kinds = list(map(source.topology.residue_name, range(source.topology.n_residues)))
    assert kinds == [*codes.values(), "SER", "THR", "TYR"]
    assert source.topology.names[-3:] == tuple(modified.values())


def test_standard_names_go_before_those_of_sirah(write_text):
    """ASP is not the neutral end aSp, a phosphoserine."""
    source = open_source(write_text(bead_lines("sirah")))
    np.testing.assert_array_equal(source.topology.residue_types, crystal().topology.residue_types)
    assert not any(source.topology.names)


def test_virtual_sites_are_passed_over(write_text):
    text = bead_lines("martini3")
    lines = text.splitlines(keepends=True)
    virtual = [line.replace(" BB ", " CA ") for line in lines if " BB " in line]
    path = write_text("".join(sorted(lines + virtual, key=lambda line: int(line[22:26]))))
    with pytest.warns(InputWarning, match=r"ignored 40 sites that the mapping martini3 does not use \(CA\)"):
        source = open_source(path)
    assert source.mapping.name == "martini3" and source.sites.n_sites == len(lines)


def test_a_named_mapping_decides(write_text):
    path = write_text(bead_lines("backbone"))
    assert open_source(path).mapping is None
    source = open_source(path, beads="backbone")
    assert source.mapping.name == "backbone" and not is_c_alpha(source.beads.weights).all()
    assert open_source(path, beads="c-alpha").mapping is None


def test_names_that_fit_two_mappings_are_refused(write_text):
    path = write_text(bead_lines("unres"))
    with pytest.raises(InputError, match=r"fit the mappings c-alpha\+side-chain-centre and unres; say which"):
        open_source(path)
    assert open_source(path, beads="unres").mapping.name == "unres"


def test_missing_and_doubled_beads_are_named(write_text):
    without = write_text(bead_lines("martini3", lambda i, name: None if (i, name) == (6, "SC1") else name))
    with pytest.raises(InputError, match=r"chain A residue 7 .* has no bead SC1 of the mapping martini3"):
        open_source(without)
    with pytest.warns(InputWarning, match="left out chain A residue 7"):
        assert (
            open_source(without, skip_unknown=True).topology.n_residues == crystal().topology.n_residues - 1
        )
    twice = write_text(bead_lines("martini3", lambda i, name: "BB" if (i, name) == (6, "SC1") else name))
    with pytest.raises(InputError, match="residue 7 .* has several beads BB; remove all but one"):
        open_source(twice, beads="martini3")


def test_unknown_mappings_are_refused(write_text, tmp_path):
    path = write_text(bead_lines("martini3"))
    with pytest.raises(InputError, match=r"martini9: neither a bead mapping \(.*martini3.*\) nor a file"):
        open_source(path, beads="martini9")
    with pytest.raises(InputError, match="has no bead GC of the mapping sirah|has no bead"):
        open_source(path, beads="sirah")


def test_residues_without_an_entry_are_refused(write_text):
    path = write_text(bead_lines("backbone", lambda _, name: {"C": None, "O": "CO"}.get(name, name)))
    with pytest.raises(InputError, match="bead mapping primo has no beads for (GLN|HIS|LYS|MET|TRP)"):
        open_source(path, beads="primo", skip_unknown=True)


def test_residue_centres_are_told_from_c_alphas(write_text):
    with pytest.warns(InputWarning, match="took its beads for 40 residue centres, by their distances"):
        source = open_source(write_text(bead_lines("residue-centre")))
    assert source.mapping.name == "residue-centre" and source.linked.sum() == 39
    assert open_source(write_text(bead_lines("c-alpha"))).mapping is None
    mixed = np.arange(40) < 15
    with pytest.warns(InputWarning, match=r"2\d residue centres and 1\d C-alphas"):
        source = open_source(write_text(bead_lines("residue-centre", c_alphas=mixed)))
    is_c_alpha = source.beads.weights[source.beads.main].max(axis=1) == 1.0
    assert (is_c_alpha != mixed).sum() <= 2


def test_soft_c_alphas_are_no_centres():
    structure = crystal()
    generator = np.random.default_rng(0)
    distance = generator.normal(0.38, 0.0174, structure.topology.n_residues - 1)
    assert find_c_alphas(distance, structure.topology).all()
