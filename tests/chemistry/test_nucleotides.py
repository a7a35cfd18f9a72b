"""Tables of nucleotides agree with each other."""

import numpy as np
import pytest

from backmap.chemistry.nucleotides import (
    HYDROGEN_BONDS,
    NUCLEOTIDE_NAMES,
    SLOT_C1,
    base_frame,
    bonds_within,
    nucleotide_atoms,
    spans_within,
)
from backmap.io.selection.nucleic_selection import standard_nucleotide


@pytest.mark.parametrize("name", NUCLEOTIDE_NAMES)
def test_bonds_join_all_atoms(name):
    atoms = {slot for slot, atom in enumerate(nucleotide_atoms(name)) if atom}
    reached, waiting = {0}, [0]
    while waiting:
        slot = waiting.pop()
        for first, second, length in bonds_within(name):
            assert 0.11 < length < 0.17
            if slot in (first, second) and {first, second} - reached:
                waiting.append(first + second - slot)
                reached |= {first, second}
    assert reached == atoms
    assert all(0.19 < distance < 0.8 for *_, distance in spans_within(name))


@pytest.mark.parametrize(
    "pair", [pair for pair in HYDROGEN_BONDS if set(pair) != {"G", "U"} and pair != ("G", "T")]
)
def test_bases_pair_in_their_reference_frames(pair):
    """The partner lies in the same frame, turned about the x axis (Olson et al. 2001)."""
    slots = [nucleotide_atoms("D" + letter if letter == "T" else letter) for letter in pair]
    one, other = base_frame(pair[0]), base_frame(pair[1]) * (1, -1, -1)
    for first, second, length in HYDROGEN_BONDS[pair]:
        ends = one[slots[0].index(first) - SLOT_C1], other[slots[1].index(second) - SLOT_C1]
        assert np.linalg.norm(ends[0] - ends[1]) == pytest.approx(length, abs=0.02)


@pytest.mark.parametrize(
    ("name", "deoxy", "standard"),
    [("DA", False, "DA"), ("A", False, "A"), ("A", True, "DA"), ("RC5", True, "C"), ("DG3", False, "DG")]
    + [("ADE", False, "A"), ("THY", False, "DT"), ("U", True, "U"), ("T", False, "DT"), ("I", False, None)]
    + [("DAX", False, "DA"), ("A5", False, "A")],
)
def test_names_of_nucleotides(name, deoxy, standard):
    assert standard_nucleotide(name, deoxy) == standard
