"""Files of beads: what they are is recognised, and refused where it is unclear."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from backmap.chemistry import RESIDUE_NAMES, SLOT_CA
from backmap.chemistry.bead_mapping import is_c_alpha, load_mapping
from backmap.chemistry.residues import THREE_LETTERS
from backmap.errors import InputError, InputWarning
from backmap.io import open_source
from backmap.io.selection.handedness import describe_mirror_image
from backmap.io.selection.residue_centres import Division, find_c_alphas
from tests.beaded import EXAMPLE, crystal

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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda i, name: "SCX" if (i, name) == (6, "SC1") else name,
            "most of its beads fit the mapping martini3, but chain A residue 7 [A-Z]{3} has the bead SCX, "
            "which is not in the mapping; correct the file, or give a mapping that describes it with --beads",
        ),
        (
            lambda i, name: "XX" if i in (6, 9) else name,
            r"martini3, but chain A residue 7 [A-Z]{3} has .* XX.*\(and 1 more\)",
        ),
        (
            lambda i, name: None if name != "BB" else name,
            "the names of its beads are in the mappings martini[23] and martini[23], but most other beads "
            r"are missing \(for martini[23], chain A residue \d+ [A-Z]{3} has no SC1.*with --beads FILE",
        ),
    ],
)
def test_files_that_nearly_fit_a_mapping_are_explained(change, message, write_text):
    with pytest.raises(InputError, match=message):
        open_source(write_text(bead_lines("martini3", change)))


def test_residues_with_one_number_are_explained(write_text):
    text = bead_lines("martini3").splitlines(keepends=True)
    alike = "".join(line[:22] + f"{int(line[22:26]) // 2:4d}" + line[26:] for line in text)
    with pytest.raises(
        InputError, match="fit the mapping martini3, but chain A residue .* has several beads"
    ):
        open_source(write_text(alike))


def test_virtual_c_alphas_do_not_hide_a_mapping(write_text):
    """Of Go models; a bead that the mapping lacks must not turn them into C-alphas."""
    lines = bead_lines("martini3", lambda i, name: "SCX" if (i, name) == (6, "SC1") else name)
    virtual = [line.replace(" BB ", " CA ") for line in lines.splitlines(keepends=True) if " BB " in line]
    both = sorted(lines.splitlines(keepends=True) + virtual, key=lambda line: int(line[22:26]))
    with pytest.raises(InputError, match="most of its beads fit the mapping martini3, but chain A residue 7"):
        open_source(write_text("".join(both)))


def test_an_odd_name_beside_c_alphas_is_passed_over(write_text):
    lines = bead_lines("c-alpha").splitlines(keepends=True)
    odd = lines[4].replace(" CA ", " X1 ").replace(lines[4][30:38], f"{float(lines[4][30:38]) + 1:8.3f}")
    source = open_source(write_text("".join([*lines[:5], odd, *lines[5:]])))
    assert source.mapping is None and source.topology.n_residues == 40


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
    with pytest.raises(InputError, match="ha(s|ve) no bead GC of the mapping sirah|ha(s|ve) no bead"):
        open_source(path, beads="sirah")


def test_residues_without_an_entry_are_refused(write_text):
    path = write_text(bead_lines("backbone", lambda _, name: {"C": None, "O": "CO"}.get(name, name)))
    with pytest.raises(InputError, match="bead mapping primo has no beads for (GLN|HIS|LYS|MET|TRP)"):
        open_source(path, beads="primo", skip_unknown=True)


def test_residue_centres_are_told_from_c_alphas(write_text):
    with pytest.warns(InputWarning, match="read 40 beads as residue centres, by their distances"):
        source = open_source(write_text(bead_lines("residue-centre")))
    assert source.mapping.name == "residue-centre" and source.linked.sum() == 39
    assert open_source(write_text(bead_lines("c-alpha"))).mapping is None
    mixed = np.arange(40) < 15
    with pytest.warns(InputWarning, match=r"2\d beads as residue centres and 1\d as C-alphas"):
        source = open_source(write_text(bead_lines("residue-centre", c_alphas=mixed)))
    is_c_alpha = source.beads.weights[source.beads.main].max(axis=1) == 1.0
    assert (is_c_alpha != mixed).sum() <= 2


def test_the_ranges_of_centres_are_named(write_text):
    mixed = np.arange(40) < 15
    with pytest.warns(InputWarning, match=r"by their distances; the centres are chain A 1\d to 40$"):
        open_source(write_text(bead_lines("residue-centre", c_alphas=mixed)))
    flags = np.zeros(40, dtype=bool)
    flags[[0, 2, 3, 5, 8, 9]] = True
    division = Division(~flags, np.zeros(40, dtype=bool))
    (message,) = division.messages(crystal().topology)
    assert message == (
        "read 6 beads as residue centres and 34 as C-alphas, by their distances; the centres are "
        "chain A 1, chain A 3 to 4, chain A 6 and 1 more"
    )


def part(text: str, first: int, n_residues: int) -> str:
    return "".join(text.splitlines(keepends=True)[first : first + n_residues])


@pytest.mark.parametrize("first", range(0, 28, 4))
@pytest.mark.parametrize("mapping", ["c-alpha", "residue-centre"])
def test_short_traces_are_told_apart_or_said_to_be_unclear(mapping, first, write_text):
    path = write_text(part(bead_lines(mapping), first, 12))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        source = open_source(path)
    unclear = any(
        "12 beads are too few to tell C-alphas from residue centres" in str(w.message) for w in seen
    )
    assert unclear or (source.beads_name or "c-alpha") == mapping


def glycines(n_residues: int, chain: str, start: float = 0.0) -> str:
    """Beads at distances of 0.36 and 0.43 nm in turn, as C-alphas and centres of glycine both may be."""
    places = start + np.cumsum(np.resize([4.3, 3.6], n_residues))
    return "".join(
        f"ATOM  {n:5d}  CA  GLY {chain}{n:4d}    {place:8.3f}{0.0:8.3f}{0.0:8.3f}\n"
        for n, place in enumerate(places, 1)
    )


def test_what_distances_leave_open_is_said(write_text):
    expected = (
        "input.pdb: 9 beads are too few to tell C-alphas from residue centres; taken as C-alphas; "
        "say --beads c-alpha or --beads residue-centre$"
    )
    path = write_text(glycines(9, "A"))
    with pytest.warns(InputWarning, match=expected) as seen:
        assert open_source(path).mapping is None
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_source(path, beads="c-alpha").mapping is None
        assert open_source(path, beads="residue-centre").mapping.name == "residue-centre"


def test_short_chains_are_what_long_ones_are_if_unclear(write_text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_source(write_text(bead_lines("c-alpha") + glycines(4, "B", 90.0))).mapping is None
    with pytest.warns(InputWarning, match="read 44 beads as residue centres, by their distances$") as seen:
        open_source(write_text(bead_lines("residue-centre") + glycines(4, "B", 90.0)))
    assert len(seen) == 1


@pytest.mark.parametrize("mapping", ["c-alpha", "residue-centre"])
def test_a_mapping_that_is_named_is_not_overruled(mapping, write_text):
    flags = np.arange(40) < 20
    path = write_text(bead_lines("residue-centre", c_alphas=flags))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        source = open_source(path, beads=mapping)
    assert not any("by their distances" in str(warning.message) for warning in seen)
    if mapping == "c-alpha":
        assert source.mapping is None and source.beads is None
        assert any("are taken as C-alphas because of" in str(warning.message) for warning in seen)
    else:
        assert source.mapping.name == mapping and not is_c_alpha(source.beads.weights).any()


def test_mirror_images_are_recognised_by_their_helices():
    """D-amino acids may have left-handed helices."""
    structure = crystal(0, 80)
    topology, linked, c_alpha = structure.topology, structure.linked, structure.atoms[0, :, SLOT_CA]
    assert describe_mirror_image(c_alpha, linked, topology) is None
    assert "mirror image" in describe_mirror_image(-c_alpha, linked, topology)
    d_amino_acids = replace(topology, names=("DAL",) * topology.n_residues)
    assert describe_mirror_image(-c_alpha, linked, d_amino_acids) is None


def test_mirror_images_are_warned_of(tmp_path):
    whole = open_source(EXAMPLE)
    (chunk,) = whole.chunks(1)
    path = tmp_path / "mirror.pdb"
    lines = [
        f"ATOM  {n:5d}  CA  {whole.topology.residue_name(n)} A{n:4d}    {-x:8.3f}{y:8.3f}{z:8.3f}\n"
        for n, (x, y, z) in enumerate(10 * chunk.coordinates[0, whole.sites.leaders][:80])
    ]
    path.write_text("".join(lines))
    with pytest.warns(InputWarning, match="mirror.pdb: its helices are left-handed"):
        open_source(path)


def test_c_alphas_may_have_other_names(write_text, tmp_path):
    """A bead of one name in all residues, or of another in each."""
    own, name_at = tmp_path / "own.toml", crystal().topology.residue_name
    for table, name_of in (
        ('[every]\nB = "CA"\n', lambda kind: "B"),
        ("".join(f'[residues.{kind}]\n{kind[1:]} = "CA"\n' for kind in RESIDUE_NAMES), lambda kind: kind[1:]),
    ):
        own.write_text(table)
        path = write_text(bead_lines("c-alpha", lambda i, _, of=name_of: of(name_at(i))))
        source = open_source(path, beads=str(own))
        (chunk,) = source.chunks(1)
        assert source.mapping is None and set(source.sites.names) == {"CA"}
        np.testing.assert_allclose(chunk.coordinates, crystal().beads("c-alpha"), atol=1e-3)
    with pytest.raises(InputError, match="no residue has its bead of the mapping c-alpha .*; give another"):
        open_source(path, beads="c-alpha")
    own.write_text('[residues.ALA]\nB = "CA"\n')
    with pytest.raises(InputError, match="the bead mapping own has no beads for "):
        open_source(path, beads=str(own))


def test_soft_c_alphas_are_no_centres():
    structure = crystal()
    generator = np.random.default_rng(0)
    distance = generator.normal(0.38, 0.0174, structure.topology.n_residues - 1)
    assert find_c_alphas(distance, structure.topology).all()
