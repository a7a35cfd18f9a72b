"""Mappings from .map files, and the shipped tables to a hundredth of an Angstrom against other programs."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import pytest

from backmap.chemistry.bead_mapping import BeadMapping, load_mapping, read_mapping
from backmap.chemistry.residues import HEAVY_ATOMS, RESIDUE_NAMES
from backmap.errors import InputError
from backmap.io import open_source

CASES = Path(__file__).parents[1] / "data" / "cases"
MARTINI3 = CASES / "mappings" / "martini3001.charmm36.map"

ROUNDING_NM = 1e-4
"""Files give 0.0001 nm per coordinate."""

HYDROGENS_NM = 0.016
"""cg2all counts hydrogens, which move a centre of mass by no more than this."""

Places = dict[tuple[int, str], np.ndarray]


def places(name: str) -> Places:
    """Positions in nm by residue number and name; of alternate locations, the first."""
    (model,) = gemmi.read_structure(str(CASES / "beads" / f"1ab1_A.{name}"))
    found: Places = {}
    for residue in model[0]:
        for atom in residue:
            position = np.array(atom.pos.tolist()) / 10
            found.setdefault((residue.seqid.num, atom.name), position)
    return found


def image(mapping: BeadMapping) -> Places:
    source = open_source(CASES / "beads" / "1ab1_A.pdb")
    (chunk,) = source.chunks(1)
    layout = mapping.layout(source.topology.residue_types)
    beads = layout.image(source.sites.in_slots(chunk.coordinates))[0]
    numbers = source.topology.residue_numbers[layout.residues].tolist()
    return dict(zip(zip(numbers, layout.names, strict=True), beads, strict=True))


def deviations(found: Places, expected: Places) -> dict[tuple[int, str], float]:
    assert found.keys() == expected.keys()
    return {key: float(np.linalg.norm(found[key] - expected[key])) for key in found}


@pytest.mark.parametrize(
    ("name", "kind", "largest_nm"),
    [
        ("c-alpha", "calpha", ROUNDING_NM),
        ("backbone-without-oxygen", "bb", ROUNDING_NM),
        ("backbone", "mc", ROUNDING_NM),
        ("primo", "primo", ROUNDING_NM),
        ("residue-centre", "residue", HYDROGENS_NM),
        ("c-alpha+residue-centre", "cacm", HYDROGENS_NM),
        ("martini2", "martini", HYDROGENS_NM / 2),
        ("martini3", "martini3", HYDROGENS_NM / 2),
    ],
)
def test_beads_are_those_of_cg2all(name, kind, largest_nm):
    """A wrong atom would move a bead by 0.02 nm or more."""
    assert max(deviations(image(load_mapping(name)), places(f"{kind}.pdb")).values()) < largest_nm


def test_residue_centres_of_cg2all_differ_by_hydrogens_only():
    """Not in the first residue, whose hydrogens on N it counts differently."""
    atoms, heavy = places("pdb"), image(load_mapping("residue-centre"))
    for (number, _), given in list(places("residue.pdb").items())[1:]:
        own = {name: place for (other, name), place in atoms.items() if other == number and name != "OXT"}
        mass = {name: gemmi.Element(name[0]).weight for name in own}
        hydrogen = sum(mass[name] * own[name] for name in own if name[0] == "H")
        heaviest = sum(value for name, value in mass.items() if name[0] != "H")
        whole = (heaviest * heavy[number, "CA"] + hydrogen) / sum(mass.values())
        assert np.linalg.norm(whole - given) < 3e-4, number


def test_side_chain_centres_are_centres_of_mass():
    """cg2all's own bead is C-beta in some residues, and in others the mean of only some atoms."""
    atoms, found, given = places("pdb"), image(load_mapping("side-chain-centre")), places("sc.pdb")
    names = {residue.seqid.num: residue.name for residue in _crambin()}
    for (number, bead), place in found.items():
        side_chain = HEAVY_ATOMS[names[number]][4:] or ("CA",)
        mass = np.array([gemmi.Element(atom[0]).weight for atom in side_chain])
        centre = mass @ np.array([atoms[number, atom] for atom in side_chain]) / mass.sum()
        np.testing.assert_allclose(place, centre, atol=1e-5)
        if names[number] in ("CYS", "SER", "THR"):
            np.testing.assert_allclose(given[number, bead], atoms[number, "CB"], atol=ROUNDING_NM)


def _crambin() -> gemmi.Chain:
    return gemmi.read_structure(str(CASES / "beads" / "1ab1_A.pdb"))[0][0]


def test_martini_3_is_that_of_vermouth():
    found, shipped = read_mapping(MARTINI3), load_mapping("martini3")
    assert found.ignored == frozenset()
    for residue in RESIDUE_NAMES:
        for one, other in zip(found.beads[residue], shipped.beads[residue], strict=True):
            assert one.name == other.name
            assert dict(zip(one.atoms, one.weights, strict=True)) == pytest.approx(
                dict(zip(other.atoms, other.weights, strict=True)), abs=1e-3
            ), (residue, one.name)


@pytest.fixture
def written(tmp_path):
    """Write a file of a mapping."""

    def write(text: str, name: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


SER = "[ molecule ]\nSER\n[ martini ]\nBB SC1 SCP\n[ atoms ]\n"
BACKBONE = "1 N !BB\n2 HN BB\n3 CA BB ; central\n4 C BB SC1\n5 OT1 BB\n6 OT2 BB\n"


def test_shares_zero_weights_and_hydrogens_of_map_files(written):
    text = f"; a comment\n{SER}{BACKBONE}7 CB SC1\n8 HG1 SC1\n9 OG SC1 SC1 BB\n[ chiral ]\n CB CA N C\n"
    mapping = load_mapping(written(text, "mine.map"))
    backbone, side_chain = mapping.beads["SER"]
    carbon, oxygen = 12.011, 15.999
    weights = {"CA": carbon, "C": carbon / 2, "O": oxygen, "OG": oxygen / 3}
    total = sum(weights.values())
    found = dict(zip(backbone.atoms, backbone.weights, strict=True))
    assert found == pytest.approx({atom: mass / total for atom, mass in weights.items()})
    assert set(side_chain.atoms) == {"C", "CB", "OG"}
    assert mapping.ignored == {"SCP"} and not mapping.beads["GLY"]


def test_states_of_histidine_stand_for_it_unless_it_has_its_own_section(written):
    states = [f"[ molecule ]\n{name}\n[ atoms ]\n1 {atom} BB\n" for name, atom in
              (("HSD", "N"), ("HSE", "CA"), ("HIS", "C"), ("POPC", "P"))]  # fmt: skip
    (bead,) = load_mapping(written("".join(states), "mine.map")).beads["HIS"]
    assert bead.atoms == ("C",)
    (bead,) = load_mapping(written(states[0], "one.map")).beads["HIS"]
    assert bead.atoms == ("N",)
    with pytest.raises(InputError, match="describes HIS in two ways, the second as HSE in line 5"):
        load_mapping(written("".join(states[:2]), "two.map"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "none of the twenty amino acids"),
        ("[ molecule ]\nPOPC\n[ atoms ]\n1 P PO4\n", "none of the twenty amino acids"),
        ("1 N BB\n", r"line 1: comes before the first \[ molecule \]"),
        (SER + "N BB\n", "line 6: 'N BB' is no atom"),
        (SER + "1 N BB\n2 N BB\n", "line 7: atom N occurs twice in SER"),
        (SER + "1 CD BB\n", "SER .line 1.: SER has no atom CD; its atoms are"),
        (SER + "1 N !BB\n", "SER .line 1. has no bead with a heavy atom"),
        ("[ molecule\nSER\n", "line 1: the name of a section lacks its closing bracket"),
        (SER + "1 CA BB\n" + SER + "1 N BB\n", "describes SER in two ways, the second as SER in line 7"),
    ],
)
def test_mistakes_in_map_files_are_named(written, text, message):
    path = written(text, "mine.map")
    with pytest.raises(InputError, match=message) as caught:
        load_mapping(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("weights", [f"[1, {10**400}]", "[1, inf]"])
def test_weights_beyond_any_number_are_refused(written, weights):
    path = written(f'[every]\nCA = {{ atoms = "CA C", weights = {weights} }}\n', "mine.toml")
    with pytest.raises(InputError, match="weights must be finite"):
        load_mapping(path)


@pytest.mark.parametrize("entry", ['"B B" = "CA"', 'CA = "CA"\nca = "C"'])
def test_names_of_beads_are_refused_with_the_file(written, entry):
    path = written(f"[every]\n{entry}\n", "mine.toml")
    with pytest.raises(InputError, match="without spaces|has the bead CA twice") as caught:
        load_mapping(path)
    assert str(caught.value).startswith(f"{path}: ")
