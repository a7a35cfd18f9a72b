"""Bead mappings: the shipped tables against files of other programs, and tables that cannot be used."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import pytest

from backmap.chemistry import RESIDUE_INDEX, RESIDUE_NAMES, bead_mapping
from backmap.chemistry.bead_mapping import (
    BeadMapping,
    file_of_mapping,
    is_c_alpha,
    load_mapping,
    read_mapping,
    shipped_mappings,
)
from backmap.chemistry.residues import HEAVY_ATOMS
from backmap.errors import InputError

CRAMBIN = Path(__file__).parents[1] / "data" / "cases" / "beads"
FILES = {
    "c-alpha": "calpha",
    "residue-centre": "residue",
    "c-alpha+residue-centre": "cacm",
    "backbone-without-oxygen": "bb",
    "backbone": "mc",
    "primo": "primo",
    "martini2": "martini",
}


def read(name: str) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Residues of a file with the positions in nm of their first alternates."""
    structure = gemmi.read_structure(str(CRAMBIN / f"1ab1_A.{name}pdb"))
    return [
        (
            residue.name,
            {atom.name: 0.1 * np.array(atom.pos.tolist()) for atom in residue if atom.altloc in ("\0", "A")},
        )
        for residue in structure[0][0]
    ]


@pytest.mark.parametrize("name", FILES)
def test_tables_agree_with_files_of_another_program(name):
    mapping, atoms, beads = load_mapping(name), read(""), read(f"{FILES[name]}.")
    deviations = []
    for (residue, places), (_, found) in zip(atoms, beads, strict=True):
        for bead in mapping.beads[residue]:
            if bead.name in found:
                expected = sum(w * places[a] for a, w in zip(bead.atoms, bead.weights, strict=True))
                deviations.append(np.linalg.norm(expected - found[bead.name]))
    # Residues with alternate locations are averaged differently; centres of mass there include hydrogens.
    of_mass = "centre" in name or name == "martini2"
    assert np.median(deviations) < (0.012 if of_mass else 2e-4)
    assert len(deviations) >= len(atoms) and np.mean(np.array(deviations) < 0.05) > 0.95


@pytest.mark.parametrize("name", sorted(shipped_mappings()))
def test_shipped_tables_are_sound(name):
    mapping = shipped_mappings()[name]
    assert mapping.description
    for residue, beads in mapping.beads.items():
        for bead in beads:
            assert set(bead.atoms) <= set(HEAVY_ATOMS[residue])
            assert sum(bead.weights) == pytest.approx(1.0)
    described = np.array([RESIDUE_INDEX[residue] for residue, beads in mapping.beads.items() if beads])
    layout = mapping.layout(described)
    assert layout.n_beads == sum(map(len, mapping.beads.values()))
    assert (layout.residues[layout.main] == np.arange(len(described))).all()


def test_other_names_of_shipped_mappings():
    """None of them is the name of another mapping, and they need no file."""
    others = [name for mapping in shipped_mappings().values() for name in mapping.also_called]
    assert "main-chain" in others and len({*others, *shipped_mappings()}) == len(others) + len(
        shipped_mappings()
    )
    assert load_mapping("main-chain") is load_mapping("backbone")
    assert file_of_mapping("main-chain") is None


def test_every_amino_acid_is_described_except_in_primo():
    partial = {n for n, m in shipped_mappings().items() if not all(m.beads[r] for r in RESIDUE_NAMES)}
    assert partial == {"primo"}


def test_image_of_a_layout():
    layout = load_mapping("c-alpha+side-chain-centre").layout(
        np.array([RESIDUE_INDEX["ALA"], RESIDUE_INDEX["GLY"]])
    )
    assert layout.names == ("CA", "SC", "CA") and layout.residues.tolist() == [0, 0, 1]
    atoms = np.arange(2 * 15 * 3, dtype=float).reshape(2, 15, 3)
    atoms[1, 5:] = np.nan  # slots that glycine does not have
    np.testing.assert_allclose(layout.image(atoms), [atoms[0, 1], atoms[0, 4], atoms[1, 1]])


def test_residues_with_c_alphas_in_place_of_centres():
    types = np.array([RESIDUE_INDEX["TRP"]] * 3)
    layout = load_mapping("residue-centre").layout(types, np.array([True, False, True]))
    assert (layout.weights.max(axis=1) == 1.0).tolist() == [True, False, True]
    assert not is_c_alpha(load_mapping("residue-centre").layout(types).weights).all()
    assert is_c_alpha(load_mapping("residue-centre").layout(types, np.ones(3, dtype=bool)).weights).all()


def test_entries_of_residues_add_to_those_of_all(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(
        'description = "own"\nweights = "equal"\nignored = ["vs"]\n'
        '[every]\nBB = "backbone"\nSC = "side-chain"\n'
        '[residues.TRP]\nSC = { atoms = "CB CG", weights = [1, 3] }\nTIP = "CH2"\n[residues.ALA]\nSC = ""\n'
    )
    mapping = load_mapping(path)
    assert mapping.name == "own" and mapping.ignored == {"VS"}
    assert [(bead.name, bead.atoms, bead.weights) for bead in mapping.beads["TRP"][1:]] == [
        ("SC", ("CB", "CG"), (0.25, 0.75)),
        ("TIP", ("CH2",), (1.0,)),
    ]
    assert [bead.name for bead in mapping.beads["ALA"]] == ["BB"]
    assert [bead.name for bead in mapping.beads["GLY"]] == ["BB"]
    assert mapping.beads["SER"][1].weights == (0.5, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[every]\nBB = ", "cannot be read as a bead mapping"),
        ('[residues.XYZ]\nBB = "CA"', "residues.XYZ is not one of the twenty amino acids"),
        ('[residues.ALA]\nSC = "CG"', r"residues.ALA.SC: ALA has no atom CG; its atoms are N CA C O CB"),
        ('[every]\nBB = "N CX"', "own.toml: every.BB: 'CX' is no heavy atom of any amino acid"),
        ('[every]\nCA = "CA"\nSC = "CX"', "own.toml: every.SC: 'CX' is no heavy atom of any amino acid"),
        ('[every]\nBB = "bakbone"', "every.BB: 'bakbone' is no .* the words backbone, side-chain, all"),
        ('[residues.ALA]\nBB = "ca"', "residues.ALA.BB: 'ca' is no heavy atom of any amino acid"),
        ('[every]\nBB = { atoms = "CA CX", weights = [1, 1] }', "every.BB: 'CX' is no heavy atom"),
        ('[every]\nBB = "CA"\nSC = "CB CG"', "every.SC: ALA has no atom CG"),
        ("[every]\n" + "".join(f'B{n} = "CA"\n' for n in range(16)), "ALA has 16 beads; give at most 15"),
        ('[every]\nBB.atom = "CA"', "every.BB is {'atom': 'CA'}; give names of atoms"),
        ('[every]\n"" = "CA"', "ALA: bead ''; give 1 to 16 ASCII characters"),
        ('[[every]]\nBB = "CA"', "every is .*; it must be a table"),
        ("x = " + "[" * 5000, "cannot be read as a bead mapping"),
        ('[every]\nBB = "CA CA"', "every.BB names an atom twice"),
        ("[every]\nBB = 3", "every.BB is 3; give names of atoms"),
        ('[every]\nBB = { atoms = "CA", weight = [1] }', "give names of atoms, or a table"),
        ('[every]\nBB = { atoms = "N CA", weights = [1] }', "has 2 atoms but 1 weights"),
        ('[every]\nBB = { atoms = "N CA", weights = [1, -1] }', "finite, not negative, and not all zero"),
        ('[every]\nBB = { atoms = "N CA", weights = [0, 0] }', "finite, not negative, and not all zero"),
        ('[every]\nBB = { atoms = "N CA", weights = [1, nan] }', "finite, not negative, and not all zero"),
        ('[every]\nBB = { atoms = "N CA", weights = "heavy" }', "give mass, equal, or one number per atom"),
        ('[every]\nBB = "CA"\nbb = "N"', "ALA has the bead BB twice"),
        ('weights = "charge"\n[every]\nBB = "CA"', "weights is 'charge'; it must be mass or equal"),
        ('beads = "CA"', "unknown entry 'beads'"),
        ("every = 1", "every is 1; it must be a table"),
        ("[residues]\nALA = 1", "residues.ALA is 1; it must be a table of beads"),
        ('ignored = [1]\n[every]\nBB = "CA"', "ignored must list names"),
        ('also_called = [1]\n[every]\nBB = "CA"', "also_called must list names"),
        ('description = "none"', "describes no beads"),
    ],
)
def test_bad_tables_are_explained(text, message, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_mapping(path)


def own(tmp_path: Path, text: str, name: str = "own.toml") -> BeadMapping:
    (tmp_path / name).write_text(text)
    return read_mapping(tmp_path / name)


def test_the_digest_is_that_of_atoms_and_weights(tmp_path):
    shipped = load_mapping("martini3")
    source = Path(bead_mapping.__file__).with_name("bead_mappings") / "martini3.toml"
    text = source.read_text()
    assert own(tmp_path, text, "copy.toml").digest == shipped.digest
    assert own(tmp_path, text.replace("SC", "S")).digest == shipped.digest
    assert own(tmp_path, text.replace('"CD1 CE1"', '"CE1 CD1"')).digest == shipped.digest
    for one, other in (
        ("description", 'weights = "equal"\ndescription'),
        ('SC4 = "CZ OH"', 'SC4 = "OH"'),
        ("[residues.TYR]", '[residues.ALA]\nSC1 = ""\n[residues.TYR]'),
    ):
        assert own(tmp_path, text.replace(one, other, 1), "martini3.toml").digest != shipped.digest
    assert len({mapping.digest for mapping in shipped_mappings().values()}) == len(shipped_mappings())


def test_large_and_binary_files_are_refused(tmp_path):
    path = tmp_path / "own.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as a bead mapping"):
        read_mapping(path)
    path.write_text("#" * 1_000_001)
    with pytest.raises(InputError, match="too large"):
        read_mapping(path)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "/", "missing.toml"])
def test_what_is_no_file_is_no_mapping(name):
    with pytest.raises(InputError, match=r"did you mean martini3\?"):
        load_mapping("Martni3")
    with pytest.raises(InputError, match="neither a bead mapping"):
        load_mapping(name)
