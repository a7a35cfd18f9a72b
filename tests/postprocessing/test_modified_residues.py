"""Modified residues, D-amino acids and caps: their geometry, and that frames do not depend on each other."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from backmap.chemistry import Cap, Topology
from backmap.chemistry.ideal_geometry import ideal_geometry
from backmap.chemistry.modified_residues import Modification, bonds_of, known_modifications
from backmap.chemistry.residues import ONE_LETTER
from backmap.io import AtomList
from backmap.postprocessing import Hydrogens, ModifiedResidues
from tests.evaluation.peptide import build

KNOWN = known_modifications()
MODIFIED = [name for name, made in KNOWN.items() if made.atoms and made.parent]
MIRRORED = [name for name, made in KNOWN.items() if made.mirrored]
BACKBONE = ("N", "CA", "C", "O")
AT_START = {"PCA", "FME", "SAC"}


def peptide(*names: str, **torsions: float) -> tuple[AtomList, Topology, np.ndarray]:
    """Build a peptide of the parents of residues; atoms (1, atoms, 3) in nm."""
    parents = [KNOWN[name].parent if name in KNOWN else name for name in names]
    topology, atoms = build("".join(ONE_LETTER[parent] for parent in parents), **torsions)
    topology = replace(topology, names=tuple(name if name in KNOWN else "" for name in names))
    present = ~np.isnan(atoms[..., 0])
    listed = AtomList.of_protein(topology, present)
    return listed, topology, atoms[present][None]


def made_of(*names: str, **torsions: float) -> tuple[AtomList, np.ndarray]:
    """Make a peptide with modified residues; atoms (atoms, 3) in nm."""
    atoms, topology, built = peptide(*names, **torsions)
    step = step_of(atoms, topology)
    return step.atoms, step.apply(built)[0]


def step_of(atoms: AtomList, topology: Topology) -> ModifiedResidues:
    """Make the step for a peptide of L-amino acids, of which D-amino acids have only the backbone."""
    other_hand = np.array([bool(name) and KNOWN[name].mirrored for name in topology.names])
    return ModifiedResidues(atoms, topology, KNOWN, other_hand=other_hand)


def around(name: str) -> list[str]:
    return [name, "ALA", "ALA"] if name in AT_START else ["ALA", name, "ALA"]


def positions(atoms: AtomList, frame: np.ndarray, residue: int) -> dict[str, np.ndarray]:
    first = sum(len(listed.atom_names) for listed in atoms.residues[:residue])
    return dict(zip(atoms.residues[residue].atom_names, frame[first:], strict=False))


def angle(first: np.ndarray, centre: np.ndarray, second: np.ndarray) -> float:
    one, other = first - centre, second - centre
    return float(np.degrees(np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other))))


def volume(centre: np.ndarray, *neighbours: np.ndarray) -> float:
    return float(np.linalg.det([neighbour - centre for neighbour in neighbours]))


def require_geometry(made: Modification, found: dict[str, np.ndarray]) -> None:
    for atom in made.atoms:
        _, second, third = (found[name] for name in atom.parents)
        assert np.linalg.norm(found[atom.name] - third) == pytest.approx(atom.length, abs=1e-9)
        assert angle(second, third, found[atom.name]) == pytest.approx(np.degrees(atom.angle), abs=1e-6)


@pytest.mark.parametrize("name", MODIFIED)
def test_every_modified_residue_has_its_atoms_bonds_and_angles(name):
    names = around(name)
    atoms, frame = made_of(*names)
    index, made = names.index(name), KNOWN[name]
    assert [residue.name for residue in atoms.residues] == names
    found = positions(atoms, frame, index)
    assert set(found) == set(made.new_names.values()) | {atom.name for atom in made.atoms}
    assert np.isfinite(frame).all()
    require_geometry(made, found)
    bonds = [bond for bond in bonds_of(made) if bond != ("CD", "N")]  # open in proline of these peptides
    lengths = [np.linalg.norm(found[first] - found[second]) for first, second in bonds]
    assert 0.11 < min(lengths) and max(lengths) < 0.21
    first = sum(len(residue.atom_names) for residue in atoms.residues[:index])
    numbers = {place: first + at for at, place in enumerate(atoms.residues[index].atom_names)}
    listed = {frozenset(bond) for bond in atoms.bonds}
    assert listed >= {frozenset(numbers[end] for end in bond) for bond in bonds_of(made)}


@pytest.mark.parametrize("name", [*MODIFIED, *MIRRORED])
def test_nothing_overlaps_in_an_extended_peptide(name):
    names = ["GLY", *around(name), "GLY"] if name not in AT_START else [*around(name), "GLY"]
    atoms, frame = made_of(*names, phi=65.0 if name == "DPR" else -160.0, psi=160.0)
    bonded = np.eye(atoms.n_atoms, dtype=bool)
    bonded[tuple(np.transpose(atoms.bonds))] = True
    near = np.linalg.matrix_power((bonded | bonded.T).astype(float), 3) > 0
    apart = np.linalg.norm(frame[:, None] - frame[None], axis=-1)
    assert apart[~near].min() > 0.23


@pytest.mark.parametrize("name", MODIFIED)
def test_hydrogens_follow_the_table_and_are_where_they_belong(name):
    pytest.importorskip("openmm")
    names = around(name)
    atoms, topology, built = peptide(*names)
    step = ModifiedResidues(atoms, topology, KNOWN)
    hydrogens = Hydrogens(atoms, built[0], modified=step)
    frame = hydrogens.apply(step.apply(built))[0]
    found = positions(hydrogens.atoms, frame, names.index(name))
    elements = dict(
        zip(
            hydrogens.atoms.residues[names.index(name)].atom_names,
            hydrogens.atoms.residues[names.index(name)].elements,
            strict=True,
        )
    )
    for heavy, listed in KNOWN[name].hydrogens.items():
        near = {
            other
            for other, position in found.items()
            if elements[other] == "H" and np.linalg.norm(position - found[heavy]) < 0.14
        }
        assert near == set(listed), heavy
    all_elements = [element for residue in hydrogens.atoms.residues for element in residue.elements]
    valence = np.bincount(np.ravel(hydrogens.atoms.bonds), minlength=hydrogens.atoms.n_atoms)
    most = {"H": 1, "C": 4, "N": 4, "O": 2, "S": 4, "P": 4, "Se": 2}
    assert all(count <= most[element] for count, element in zip(valence, all_elements, strict=True))
    apart = np.linalg.norm(frame[:, None] - frame[None], axis=-1) + np.eye(len(frame))
    assert apart.min() > 0.09


def test_hydroxyproline_is_4r():
    atoms, frame = made_of("ALA", "HYP", "ALA")
    found = positions(atoms, frame, 1)
    # R: oxygen, CD (which has a nitrogen), CB in clockwise order, seen with the hydrogen behind.
    assert volume(*(found[name] for name in ("CG", "OD1", "CD", "CB"))) < 0


def test_methionine_sulfoxide_is_s_at_sulfur():
    atoms, frame = made_of("ALA", "SME", "ALA")
    found = positions(atoms, frame, 1)
    assert volume(*(found[name] for name in ("S", "OE", "CG", "CE"))) < 0


@pytest.mark.parametrize(("name", "plane"), [
    ("ALY", "CE NZ CH OH CH3"), ("KCX", "CE NZ CX OQ1 OQ2"), ("CGU", "CG CD2 OE21 OE22"),
    ("CIR", "C5 N6 C7 O7 N8"), ("YCM", "CD CE OZ1 NZ2"), ("HIC", "CG ND1 CD2 CE1 NE2 CZ"),
    ("LLP", "NZ C4' C4 C3 C2 N1 C6 C5 O3 C2' C5'"), ("PCA", "CA N CD CG OE"), ("SAC", "CA N C1A OAC C2A"),
])  # fmt: skip
def test_planar_groups_are_planar(name, plane):
    names = around(name)
    atoms, frame = made_of(*names)
    found = positions(atoms, frame, names.index(name))
    group = np.array([found[atom] for atom in plane.split()])
    assert np.linalg.svd(group - group.mean(axis=0))[1][-1] < 0.006


@pytest.mark.parametrize(("name", "first", "second", "length"), [
    ("PCA", "CB", "CG", 0.1524), ("LLP", "N1", "C6", 0.1349),
])  # fmt: skip
def test_rings_close(name, first, second, length):
    names = around(name)
    atoms, frame = made_of(*names)
    found = positions(atoms, frame, names.index(name))
    assert np.linalg.norm(found[first] - found[second]) == pytest.approx(length, abs=0.005)


@pytest.mark.parametrize("name", MIRRORED)
def test_d_amino_acids_are_mirror_images(name):
    atoms, topology, built = peptide("ALA", name, "ALA", phi=120.0 if name != "DPR" else 65.0, psi=-140.0)
    before = positions(atoms, built[0].copy(), 1)
    owner = np.repeat([0, 1, 2], [len(residue.atom_names) for residue in atoms.residues])
    in_backbone = np.isin([at for residue in atoms.residues for at in residue.atom_names], BACKBONE)
    built[:, (owner == 1) & ~in_backbone] = 0.0  # what is not built may be anywhere
    step = step_of(atoms, topology)
    after = positions(step.atoms, step.apply(built)[0], 1)
    assert step.atoms.residues[1].name == name
    for at in BACKBONE:
        np.testing.assert_array_equal(after[at], before[at])
    centre = ("CA", "N", "C", "CB")
    assert volume(*(before[at] for at in centre)) * volume(*(after[at] for at in centre)) < 0
    beta = {"DIL": ("CB", "CA", "CG1", "CG2"), "DTH": ("CB", "CA", "OG1", "CG2")}.get(name, centre)
    assert volume(*(before[at] for at in beta)) * volume(*(after[at] for at in beta)) < 0
    lengths = ideal_geometry()["residues"][KNOWN[name].parent]["bonds"]
    for first, second in bonds_of(KNOWN[name]):
        ideal = lengths.get(f"{first}-{second}") or lengths[f"{second}-{first}"]
        assert np.linalg.norm(after[first] - after[second]) == pytest.approx(ideal, abs=0.01)
    assert 100 < angle(after["C"], after["CA"], after["CB"]) < 120


def test_an_l_amino_acid_among_d_is_built_in_the_same_way():
    atoms, topology, built = peptide("DAL", "DLE", "GLY", "ALA", "DVA")
    other_hand = np.array([False, False, False, True, False])
    step = ModifiedResidues(atoms, topology, KNOWN, other_hand=other_hand)
    made = step.apply(-built)[0]
    for residue, sign in ((0, -1), (1, -1), (3, 1), (4, -1)):
        found = positions(step.atoms, made, residue)
        assert sign * volume(*(found[at] for at in ("CA", "N", "C", "CB"))) > 0


@pytest.mark.parametrize(("start", "end"), [("ACE", "NME"), ("FOR", "NH2"), ("ACE", "NMA")])
@pytest.mark.parametrize("first", ["ALA", "PRO", "SEP"])
def test_caps_continue_the_chain_as_planar_trans_peptides(start, end, first):
    atoms, topology, built = peptide(first, "ALA", "ALA")
    topology = replace(topology, caps=(Cap(0, start, 0, ""), Cap(2, end, 4, "")))
    step = ModifiedResidues(atoms, topology, KNOWN)
    frame = step.apply(built)[0]
    names = [residue.name for residue in step.atoms.residues]
    assert names == [start, first, "ALA", "ALA", end]
    assert [residue.number for residue in step.atoms.residues] == [0, 1, 2, 3, 4]
    assert "OXT" not in step.atoms.residues[3].atom_names
    cap, own = positions(step.atoms, frame, 0), positions(step.atoms, frame, 1)
    require_geometry(KNOWN[start], cap | {f"+{name}": position for name, position in own.items()})
    peptide_plane = np.array([cap["C"], cap["O"], own["N"], own["CA"]])
    assert np.linalg.svd(peptide_plane - peptide_plane.mean(axis=0))[1][-1] < 1e-6
    if first == "PRO":
        assert angle(cap["C"], own["N"], own["CD"]) > 115
    last, end_cap = positions(step.atoms, frame, 3), positions(step.atoms, frame, 4)
    assert np.linalg.norm(end_cap["N"] - last["C"]) == pytest.approx(0.1335, abs=1e-3)
    assert angle(last["O"], last["C"], end_cap["N"]) == pytest.approx(123, abs=3)
    if "C" in end_cap:
        assert np.linalg.norm(end_cap["C"] - last["CA"]) == pytest.approx(0.38, abs=0.01)


def test_capped_ends_have_the_hydrogens_of_peptides():
    pytest.importorskip("openmm")
    atoms, topology, built = peptide("ALA", "ALA")
    topology = replace(topology, caps=(Cap(0, "ACE", 0, ""), Cap(1, "NME", 3, "")))
    step = ModifiedResidues(atoms, topology, KNOWN)
    added = Hydrogens(atoms, built[0], modified=step).atoms
    hydrogens = [[name for name in residue.atom_names if name[0] == "H"] for residue in added.residues]
    alanine = ["H", "HA", "HB1", "HB2", "HB3"]
    assert [sorted(names) for names in hydrogens] == [
        ["H1", "H2", "H3"], alanine, alanine, ["H", "H1", "H2", "H3"],
    ]  # fmt: skip


def test_torsions_and_side_chains_give_way_to_other_atoms():
    atoms, topology, built = peptide("ALA", "SEP", "ALA")
    free = ModifiedResidues(atoms, topology, KNOWN)
    phosphorus = positions(free.atoms, free.apply(built)[0], 1)["P"]
    # A glycine of another chain, placed where the phosphate would be.
    other = Topology.from_sequences("ASA", "G")
    other = replace(other, names=("", "SEP", "", ""))
    obstacle = phosphorus + np.array([[0.0, 0.0, 0.0], [0.15, 0.0, 0.0], [0.2, 0.14, 0.0], [0.12, 0.24, 0.0]])
    everything = np.concatenate([built[0], obstacle])[None]
    present = np.concatenate([~np.isnan(build("ASA")[1][..., 0]), [[True] * 4 + [False] * 11]])
    listed = AtomList.of_protein(other, present)
    moved = ModifiedResidues(listed, other, KNOWN)
    found = positions(moved.atoms, moved.apply(everything)[0], 1)
    added = np.array([found[name] for name in ("P", "O1P", "O2P", "O3P")])
    assert np.linalg.norm(added[:, None] - obstacle, axis=-1).min() > 0.24
    require_geometry(KNOWN["SEP"], found)


def test_given_atoms_keep_their_positions():
    atoms, topology, built = peptide("ALA", "MSE", "DLE", "ALA")
    given = np.zeros((4, 15), dtype=bool)
    given[1:3, :8] = True
    step = ModifiedResidues(atoms, topology, KNOWN, given=given)
    np.testing.assert_array_equal(step.apply(built), built)
    assert step.atoms.residues[1].atom_names[6] == "SE" and step.atoms.residues[1].elements[6] == "Se"


def test_a_frame_does_not_depend_on_the_batch_or_on_pickling():
    atoms, topology, built = peptide("SEP", "LLP", "DLE", "CME", "ALA", "PTR")
    topology = replace(topology, caps=(Cap(0, "ACE", 0, ""),))
    noise = np.random.default_rng(0).normal(0.0, 0.01, (7, *built.shape[1:]))
    frames = built + noise
    step = step_of(atoms, topology)
    whole = step.apply(frames)
    alone = np.concatenate([pickle.loads(pickle.dumps(step)).apply(frame[None]) for frame in frames])
    np.testing.assert_array_equal(whole, alone)
    assert step.apply(frames[:0]).shape == (0, step.atoms.n_atoms, 3)


def test_unmodified_residues_do_not_change():
    atoms, topology, built = peptide("ALA", "TPO", "TRP")
    step = ModifiedResidues(atoms, topology, KNOWN)
    made = step.apply(built)[0]
    for residue in (0, 2):
        before, after = positions(atoms, built[0], residue), positions(step.atoms, made, residue)
        assert list(before) == list(after)
        np.testing.assert_array_equal(list(before.values()), list(after.values()))
