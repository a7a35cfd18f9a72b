"""All-atom contacts: radii, hydrogen bonds, excluded pairs, and hydrogens read or placed."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from backmap.errors import InputWarning
from backmap.evaluation.contacts import AtomKinds, ContactCounter
from backmap.evaluation.molprobity import molprobity_score
from backmap.evaluation.scoring import score_sources
from backmap.io import open_source

EXAMPLE = Path(__file__).parents[2] / "examples" / "2bf5.pdb.gz"


def kinds(*atoms, bonds=()):
    """Describe atoms, each (residue name, atom name, element), every residue name once."""
    names = tuple(dict.fromkeys(residue for residue, _, _ in atoms))
    owner = np.array([names.index(residue) for residue, _, _ in atoms])
    labels, elements = tuple(name for _, name, _ in atoms), tuple(element for *_, element in atoms)
    return AtomKinds(names, owner, labels, elements, np.array(bonds, dtype=np.int64).reshape(-1, 2))


def n_contacts(atoms, *positions, box=None):
    counts = ContactCounter(atoms).count(np.array([positions]), None if box is None else box[None])
    return counts.sum()


ALANINE, VALINE = ("ALA", "CB", "C"), ("VAL", "CG1", "C")


@pytest.mark.parametrize(
    ("first", "second", "sum_of_radii"),
    [
        (ALANINE, VALINE, 0.340),
        (ALANINE, ("VAL", "C", "C"), 0.335),
        (ALANINE, ("PHE", "CZ", "C"), 0.345),
        (ALANINE, ("ASP", "CG", "C"), 0.335),
        (ALANINE, ("VAL", "O", "O"), 0.310),
        (ALANINE, ("VAL", "N", "N"), 0.325),
        (ALANINE, ("CYS", "SG", "S"), 0.350),
    ],
)
def test_atoms_that_overlap_by_less_than_the_limit_do_not_clash(first, second, sum_of_radii):
    pair = kinds(first, second)
    assert n_contacts(pair, (0, 0, 0), (sum_of_radii - 0.041, 0, 0)) == 1
    assert n_contacts(pair, (0, 0, 0), (sum_of_radii - 0.039, 0, 0)) == 0


def test_hydrogen_bonds_may_overlap_further():
    donor = kinds(("LYS", "N", "N"), ("LYS", "H", "H"), ("GLY", "O", "O"), bonds=[(0, 1)])
    # 0.100 + 0.140 - 0.060 - 0.040: beyond this even a hydrogen bond is a clash.
    assert n_contacts(donor, (-0.101, 0, 0), (0, 0, 0), (0.141, 0, 0)) == 0
    assert n_contacts(donor, (-0.101, 0, 0), (0, 0, 0), (0.139, 0, 0)) > 0
    apolar = kinds(("LYS", "CA", "C"), ("LYS", "HA", "H"), ("GLY", "O", "O"), bonds=[(0, 1)])
    assert n_contacts(apolar, (-0.109, 0, 0), (0, 0, 0), (0.216, 0, 0)) == 1
    assert n_contacts(apolar, (-0.109, 0, 0), (0, 0, 0), (0.218, 0, 0)) == 0


def test_opposite_charges_may_overlap_most():
    atoms = [("LYS", "NZ", "N"), *[("LYS", f"HZ{n}", "H") for n in (1, 2, 3)], ("ASP", "OD1", "O")]
    bridge = kinds(*atoms, bonds=[(0, 1), (0, 2), (0, 3)])
    around = [(-0.101, 0, 0), (0, 0, 0), (-0.135, 0.095, 0), (-0.135, -0.047, 0.082)]
    assert n_contacts(bridge, *around, (0.121, 0, 0)) == 0
    assert n_contacts(bridge, *around, (0.119, 0, 0)) == 1


def test_atoms_a_few_bonds_apart_do_not_clash():
    chain = [("LYS", f"C{n}", "C") for n in range(6)]
    bonds = [(n, n + 1) for n in range(5)]
    for apart in range(1, 6):
        places = np.array([(3.0 * n, 0, 0) for n in range(6)])
        places[apart] = (0, 0.2, 0)
        assert n_contacts(kinds(*chain, bonds=bonds), *places) == (apart >= 4)
        ended = kinds(("LYS", "H", "H"), *chain[1:], bonds=bonds)
        assert n_contacts(ended, *places) == (apart >= 5)


def test_an_atom_between_two_others_hides_their_contact():
    # The nitrogen and the oxygen overlap by 0.05 nm, but the hydrogen bond lies between them.
    bond = kinds(("LYS", "N", "N"), ("LYS", "H", "H"), ("GLY", "O", "O"), bonds=[(0, 1)])
    assert n_contacts(bond, (-0.101, 0, 0), (0, 0, 0), (0.144, 0, 0)) == 0
    assert n_contacts(bond, (-0.101, 0, 0), (-0.202, 0, 0), (0.144, 0, 0)) == 1


def test_contacts_count_half_for_each_residue_and_across_a_box():
    pair = kinds(ALANINE, VALINE)
    box = np.diag([2.0, 2.0, 2.0])
    counts = ContactCounter(pair).count(np.array([[(0.05, 0, 0), (1.85, 0, 0)]]), box[None])
    assert counts.tolist() == [[0.5, 0.5]]
    assert n_contacts(pair, (0.05, 0, 0), (1.85, 0, 0)) == 0


def test_molprobity_score_of_known_values():
    # Chen and others (2010): 0.426 ln(1 + 10) + 0.33 ln(1 + 2) + 0.25 ln(1 + 3) + 0.5
    assert molprobity_score(np.array(10.0), np.array(3.0), np.array(95.0)) == pytest.approx(2.2306, abs=1e-4)
    assert molprobity_score(np.array(0.0), np.array(np.nan), np.array(100.0)) == pytest.approx(0.5)


def measures_of(path):
    return score_sources(None, {str(path): open_source(path, hydrogens=True)}).measures


@pytest.fixture(scope="module")
def with_hydrogens(tmp_path_factory):
    """The example with hydrogens placed, as PDB lines."""
    pytest.importorskip("openmm")
    from backmap.cli.main import main

    path = tmp_path_factory.mktemp("contacts") / "h.pdb"
    given = ["reconstruct", str(EXAMPLE), "-o", str(path), "--keep-given", "--hydrogens"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main(given) == 0
    return path.read_text().splitlines(keepends=True)


def is_hydrogen(line):
    return line.startswith("ATOM") and line[76:78].strip() == "H"


def place(line):
    return np.array([float(line[n : n + 8]) for n in (30, 38, 46)])


def with_place(line, position):
    return line[:30] + "{:8.3f}{:8.3f}{:8.3f}".format(*position) + line[54:]


def written(tmp_path, lines):
    path = tmp_path / "written.pdb"
    path.write_text("".join(lines))
    return path


def test_hydrogens_of_a_file_are_used(with_hydrogens, tmp_path):
    own = measures_of(written(tmp_path, with_hydrogens))["clashscore"]["all"].value
    heavy = [line for line in with_hydrogens if not is_hydrogen(line)]
    placed = measures_of(written(tmp_path, heavy))["clashscore"]["all"].value
    assert own == pytest.approx(placed, abs=2.0) and own < 40
    # Those of the file count: with longer bonds, they overlap more.
    carbons = {line[17:27]: place(line) for line in with_hydrogens if line[12:16].strip() == "CB"}
    longer = [
        with_place(line, carbons[line[17:27]] + 1.4 * (place(line) - carbons[line[17:27]]))
        if line[12:16].strip().startswith("HB")
        else line
        for line in with_hydrogens
    ]
    assert measures_of(written(tmp_path, longer))["clashscore"]["all"].value > own + 5


def test_partial_hydrogens_are_replaced_with_a_warning(with_hydrogens, tmp_path):
    number = next(n for n, line in enumerate(with_hydrogens) if line[12:16].strip() == "HA")
    partial = with_hydrogens[:number] + with_hydrogens[number + 1 :]
    heavy = [line for line in with_hydrogens if not is_hydrogen(line)]
    expected = measures_of(written(tmp_path, heavy))["clashscore"]["all"].value
    with pytest.warns(InputWarning, match="lacks hydrogens"):
        found = measures_of(written(tmp_path, partial))["clashscore"]["all"].value
    assert found == expected


def test_missing_atoms_leave_out_their_hydrogens(with_hydrogens, tmp_path):
    heavy = [line for line in with_hydrogens if not is_hydrogen(line)]
    ends = ("CG", "CD", "CD1", "CD2", "CE", "NZ")
    cut = [line for line in heavy if line[12:16].strip() not in ends]
    found = measures_of(written(tmp_path, cut))["clashscore"]["all"].value
    assert 0 <= found < measures_of(written(tmp_path, heavy))["clashscore"]["all"].value + 5


def test_one_residue(with_hydrogens, tmp_path):
    atoms = [line for line in with_hydrogens if line.startswith("ATOM")]
    alone = [line for line in atoms if line[17:27] == atoms[0][17:27]]
    measures = measures_of(written(tmp_path, alone))
    assert measures["clashscore"]["all"].value < 100
    assert "ramachandran_favoured" not in measures and "molprobity" not in measures
