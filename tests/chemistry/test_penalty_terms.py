import numpy as np
import pytest

from backmap.chemistry import (
    ATOM_SLOTS,
    HEAVY_ATOMS,
    SLOT_C,
    SLOT_CA,
    SLOT_N,
    SLOT_O,
    Topology,
    penalty_terms,
)
from backmap.chemistry.residues import ONE_LETTER, RESIDUE_NAMES
from backmap.io.reader import open_source
from tests.proteins import atoms_in_slots, present_atoms

ALL = "".join(ONE_LETTER[name] for name in RESIDUE_NAMES)


def slot(name, atom):
    return HEAVY_ATOMS[name].index(atom)


def excluded(terms, atom):
    start = terms["exclusion_start"]
    return set(terms["exclusions"][start[atom] : start[atom + 1]].tolist())


def test_alanine_by_hand():
    terms = penalty_terms(Topology.from_sequences("AA"))
    n, ca, c, o, cb = (slot("ALA", atom) for atom in ("N", "CA", "C", "O", "CB"))
    ends = {tuple(row) for row in terms["angle_ends"].tolist()}
    # N-CA-C, N-CA-CB, C-CA-CB, CA-C-O; across the peptide CA-C-N, O-C-N, C-N-CA.
    across = {(ca, 15 + n), (o, 15 + n), (c, 15 + ca)}
    assert {(n, c), (n, cb), (c, cb), (ca, o)} | across <= ends
    assert len(ends) == 4 + 3 + 4 + 2  # and, at the end, CA-C-OXT and O-C-OXT
    # From CA: three atoms, then O and N', then CA'.
    assert excluded(terms, ca) == {n, c, cb, o, 15 + n, 15 + ca}


def test_exclusions_are_paths_of_at_most_three_bonds():
    topology = Topology.from_sequences(ALL, "GP")
    terms = penalty_terms(topology)
    atoms = topology.n_residues * ATOM_SLOTS
    bonded = np.zeros((atoms, atoms), dtype=np.int64)
    bonded[tuple(terms["bonds"].T)] = 1
    bonded += bonded.T
    paths = (bonded + bonded @ bonded + bonded @ bonded @ bonded > 0) & ~np.eye(atoms, dtype=bool)
    listed = np.zeros_like(paths)
    listed[np.repeat(np.arange(atoms), np.diff(terms["exclusion_start"])), terms["exclusions"]] = True
    assert np.array_equal(listed, paths) and np.array_equal(paths, paths.T)


def test_every_angle_of_every_residue_has_a_span():
    terms = penalty_terms(Topology.from_sequences(ALL + "PP", "W"))
    assert terms["angle_spans"].min() > 0.2 and terms["angle_spans"].max() < 0.29
    assert len(np.unique(terms["angle_ends"], axis=0)) == len(terms["angle_ends"])


def test_ideal_geometry_is_that_of_a_crystal_structure():
    source = open_source("examples/2bf5.pdb.gz")
    reference = atoms_in_slots(source)[0]
    ideal = penalty_terms(source.topology, source.linked)
    real = penalty_terms(source.topology, source.linked, reference=reference)
    known = present_atoms(source).reshape(-1)
    for pairs, lengths, tolerance in (
        ("bonds", "bond_lengths", 0.006),
        ("angle_ends", "angle_spans", 0.012),
    ):
        there = known[ideal[pairs]].all(axis=1)
        difference = (real[lengths] - ideal[lengths])[there]
        assert np.quantile(np.abs(difference), 0.99) < tolerance
        assert (real[lengths] == ideal[lengths])[~there].all() and (difference != 0).any()


def test_a_break_has_no_terms_across():
    terms = penalty_terms(Topology.from_sequences("AAA"), np.array([False, True, False]))
    first = terms["bonds"] < ATOM_SLOTS
    assert (first[:, 0] == first[:, 1]).all()
    assert excluded(terms, SLOT_C) == {SLOT_N, SLOT_CA, SLOT_O, slot("ALA", "CB")}


def test_empty_and_single():
    assert penalty_terms(Topology.from_sequences(""))["exclusion_start"].tolist() == [0]
    assert len(penalty_terms(Topology.from_sequences("G"))["bonds"]) == 4


def test_bad_reference():
    with pytest.raises(ValueError, match=r"reference must have shape \(2, 15, 3\), got \(1, 15, 3\)"):
        penalty_terms(Topology.from_sequences("AA"), reference=np.zeros((1, 15, 3)))


def test_dtype():
    terms = penalty_terms(Topology.from_sequences("AA"), dtype=np.float32)
    assert {terms[name].dtype for name in ("bond_lengths", "angle_spans", "radii")} == {np.dtype(np.float32)}
