"""The table of modified residues, and files that add to it."""

import pytest

from backmap.chemistry.modified_residues import bonds_of, known_modifications, read_modifications
from backmap.chemistry.residues import CONTACT_RADII_NM, HEAVY_ATOMS
from backmap.errors import InputError

COVALENT_RADII_NM = {"C": 0.076, "N": 0.071, "O": 0.066, "S": 0.105, "P": 0.107, "Se": 0.120}
"""Cordero et al., Dalton Trans. 2008, 2832."""
ATOM = '{ name = "CG", from = ["N", "CA", "CB"], length = 0.152, angle = 113, torsions = [180, 60] }'
ENTRY = f'[XAA]\nparent = "ALA"\natoms = [{ATOM}]\n'


@pytest.mark.parametrize("name", [name for name, made in known_modifications().items() if made.atoms])
def test_bonds_are_as_long_as_their_elements_make_them(name):
    made = known_modifications()[name]
    elements = {new: old[0] for old, new in made.new_names.items()}
    elements |= {f"{sign}{atom}": atom[0] for sign in "+-" for atom in HEAVY_ATOMS["ALA"]}
    elements |= {atom.name: atom.element for atom in made.atoms}
    assert set(elements.values()) <= set(CONTACT_RADII_NM)
    for atom in made.atoms:
        expected = COVALENT_RADII_NM[atom.element] + COVALENT_RADII_NM[elements[atom.parents[2]]]
        assert 0.78 * expected < atom.length < 1.06 * expected, atom


def test_hydrogens_are_on_atoms_of_the_residue_and_have_names_of_their_own():
    for made in known_modifications().values():
        names = [
            hydrogen for atom, names in made.hydrogens.items() if atom[0] not in "+-" for hydrogen in names
        ]
        assert len(set(names)) == len(names) and all(name.startswith("H") for name in names)


def test_bonds_of_a_ring_that_an_added_atom_closes():
    bonds = {frozenset(bond) for bond in bonds_of(known_modifications()["PCA"])}
    ring = ["N", "CA", "CB", "CG", "CD", "N"]
    assert bonds >= {frozenset(pair) for pair in zip(ring, ring[1:], strict=False)}
    assert len(bonds) == 8


def test_a_file_adds_residues_and_comes_first(tmp_path):
    path = tmp_path / "more.toml"
    path.write_text(ENTRY + ENTRY.replace("XAA", "SEP"))
    read = read_modifications(path)
    assert read["XAA"].atoms[0].torsions == pytest.approx((3.14159, 1.04720), abs=1e-4)
    assert read["SEP"].parent == "ALA" and read["TPO"] == known_modifications()["TPO"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[XAA", "is not valid TOML"),
        (ENTRY.replace("ALA", "ZZZ"), "residue XAA: parent is 'ZZZ'; give one of the twenty"),
        (ENTRY.replace("XAA", "ALA"), "residue ALA: is one of the twenty amino acids"),
        (ENTRY.replace('"CB"]', '"CD"]'), "CG: is placed from CD, which does not precede it"),
        (ENTRY.replace("0.152", "1.52"), "CG: its length is not one of a bond in nm"),
        (ENTRY.replace("113", "200"), "CG: its angle is not between 0 and 180 degrees"),
        (ENTRY.replace("[180, 60]", "[]"), "CG: has no torsion"),
        (ENTRY.replace("[180, 60]", '["built"]'), "CG: a torsion as built needs an atom of the parent"),
        (ENTRY.replace("[180, 60]", '["x"]'), r"residue XAA: torsions is \['x'\]; give a list of degrees"),
        (ENTRY.replace("[180, 60]", "[nan]"), "torsions is .*; give a list of degrees"),
        (ENTRY.replace("[180, 60]", "[true]"), "torsions is .*; give a list of degrees"),
        (ENTRY.replace("[180, 60]", f"[1{400 * '0'}]"), "torsions is .*; give a list of degrees"),
        (ENTRY.replace("[180, 60]", "60"), "torsions is 60; give a list of degrees"),
        (ENTRY.replace("0.152", '"x"'), "length is 'x'; give a number of nm"),
        (ENTRY.replace("113", "true"), "angle is True; give a number of degrees"),
        (ENTRY.replace('"CG", from', '"", from'), "name is ''; give a name of 1 to 16 ASCII characters"),
        (ENTRY.replace('["N", "CA", "CB"]', '"NCA"'), "from is 'NCA'; give three atom names"),
        (ENTRY.replace('["N", "CA", "CB"]', '["CA", "CA", "CB"]'), 'CG: "from" names three atoms'),
        (ENTRY.replace('"ALA"', '["ALA"]'), r"parent is \['ALA'\]; give one of the twenty amino acids"),
        (ENTRY + 'removed = "CB"\n', "removed is 'CB'; give a list of atom names"),
        (ENTRY + "renamed = { CB = 3 }\n", "renamed is .*; give a table of atom names"),
        (ENTRY + 'hydrogens = { CB = "HB" }\n', "hydrogens is .*; give a table of lists of names"),
        (ENTRY + 'planar = "CB"\n', "planar is 'CB'; give a list of atom names"),
        (ENTRY + 'bonds = [["CA"]]\n', "bonds is .*; give a list of pairs of atom names"),
        (ENTRY + 'mirrored = "false"\n', "mirrored is 'false'; give true or false"),
        (ENTRY + ENTRY.replace("XAA", "xaa"), "residue xaa: is described twice"),
        ('["X Y"]\nparent = "ALA"\n', "residue X Y: give a name of 1 to 16 ASCII characters"),
        ("x = " + "[" * 5000, "is not valid TOML"),
        ("# nothing", "more.toml: describes no residue"),
        (ENTRY.replace("length = 0.152, ", ""), "residue XAA: length is missing"),
        (ENTRY.replace("length", "lenght"), "has an unknown key 'lenght'"),
        (ENTRY + 'removed = ["CZ"]\n', "CZ: is not in the side chain of ALA"),
        (ENTRY + 'renamed = { C = "C9" }\n', "C: is not in the side chain of ALA"),
        (ENTRY.replace('"CG", from', '"C", from').replace("[180, 60]", '["built"]'), "C: a torsion as built"),
        (ENTRY.replace('"CG", from', '"CG", element = "Zn", from'), "CG: its element is Zn; give C, N, O"),
        (ENTRY + 'renamed = { CB = "CG" }\n', "CG: is placed from CB|two atoms have the same name"),
        (ENTRY + 'cap = "start"\n', "cap is 'start'; give start or end, and no parent"),
        (ENTRY + 'hydrogens = { CX = ["H"] }\n', "has no atom CX"),
        (ENTRY.replace("[180, 60]", str(list(range(1001)))), "has 1001 combinations of torsions"),
        ('XAA = "ALA"', "residue XAA: is not a table"),
    ],
)
def test_invalid_entries_are_refused_in_one_sentence(tmp_path, text, message):
    path = tmp_path / "more.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_modifications(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="none.toml: cannot be read"):
        read_modifications(tmp_path / "none.toml")
