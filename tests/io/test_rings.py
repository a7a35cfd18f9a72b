"""Chains that are closed head to tail: how they are recognised, and how they are written."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from backmap.chemistry import SLOT_C, SLOT_N, SLOT_OXT, Topology
from backmap.errors import InputError, InputWarning
from backmap.io import AtomList, open_source, open_writer, source_from_mdtraj, to_mdtraj
from backmap.io.selection.links import read_links
from tests.io.conftest import atom_line

CLOSED = "A:8:C-A:1:N"


def circle(residues: int) -> np.ndarray:
    """C-alphas 0.38 nm apart on a circle."""
    turn = np.arange(residues) * 2 * np.pi / residues
    radius = 0.38 / (2 * np.sin(np.pi / residues))
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), 0 * turn], axis=1)


def link(last: str = "A   8 ", first: str = "A   1 ", names=("C", "N"), symmetry: str = "1555") -> str:
    """A LINK record of atoms of two alanines, each given as in columns 22 to 27."""
    ends = [f" {name:<3} ALA {place}" for name, place in zip(names, (last, first), strict=True)]
    return f"LINK        {ends[0]}{'':15}{ends[1]}    1555   {symmetry}  1.33\n"


@pytest.fixture
def ring(write_text):
    """Write the C-alphas of a ring of eight alanines, and some records before them."""

    def write(*records: str, places: np.ndarray | None = None):
        places = circle(8) if places is None else places
        lines = [atom_line("CA", "ALA", number, place) for number, place in enumerate(places, 1)]
        return write_text([*records, *lines, "END\n"])

    return write


def opened(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return open_source(path, **options)


def is_closed(source) -> bool:
    assert source.linked.all() == (source.topology.rings == (0,))
    return bool(source.linked[-1])


@pytest.mark.parametrize("record", [link(), link("A   1 ", "A   8 ", names=("N", "C"))])
def test_a_link_record_closes_a_chain(ring, record):
    source = opened(ring(record))
    assert is_closed(source)
    assert not source.topology.atom_mask[:, SLOT_OXT].any() and source.topology.interior.all()


def test_the_user_closes_a_chain(ring):
    source = opened(ring(), links=read_links([CLOSED]))
    assert is_closed(source)


@pytest.mark.parametrize(
    "record",
    [
        link(symmetry="2555"),
        link("A   7 "),
        link("A   8 ", "A   2 "),
        link(names=("C", "CA")),
        "LINK  nothing\n",
    ],
)
def test_a_distance_does_not_close_a_chain_but_the_option_is_suggested(ring, record):
    with pytest.warns(InputWarning, match=f"built open, with two ends, unless --link {CLOSED} closes it"):
        assert not is_closed(open_source(ring(record)))


def test_a_named_bond_that_cannot_be_is_left_open_with_a_warning(ring):
    places = circle(12)[:8]
    with pytest.warns(InputWarning, match="is built open, although the file names a bond"):
        assert not is_closed(open_source(ring(link(), places=places)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A:7:C-A:1:N", "not the last and the first residue of one chain"),
        ("A:1:C-A:8:N", "not the last and the first residue of one chain"),
        ("B:8:C-B:1:N", "not the last and the first residue of one chain"),
    ],
)
def test_impossible_rings_are_refused(ring, text, message):
    with pytest.raises(InputError, match=f"can close a ring: .*{message}"):
        open_source(ring(), links=read_links([text]))


def test_rings_that_are_too_wide_or_too_small_are_refused(ring):
    with pytest.raises(InputError, match="their C-alphas are 1.27 nm apart"):
        open_source(ring(places=circle(12)[:9]), links=read_links(["A:9:C-A:1:N"]))
    with pytest.raises(InputError, match="a ring has at least 4 residues"):
        open_source(ring(places=circle(3)), links=read_links(["A:3:C-A:1:N"]))


def whole(sequence: str) -> tuple[Topology, np.ndarray]:
    """A closed chain with all heavy atoms, whose C and N are 0.133 nm apart."""
    topology = replace(Topology.from_sequences(sequence), rings=(0,))
    atoms = np.full((len(sequence), 15, 3), np.nan)
    atoms[topology.atom_mask] = np.random.default_rng(0).normal(0, 0.05, (topology.atom_mask.sum(), 3))
    c_alpha = circle(len(sequence))
    atoms += c_alpha[:, None]
    atoms[:, 1] = c_alpha
    step = np.roll(c_alpha, -1, 0) - c_alpha
    atoms[:, SLOT_C] = c_alpha + 0.325 * step
    atoms[:, SLOT_N] = np.roll(c_alpha + 0.675 * step, 1, 0)
    return topology, atoms


@pytest.mark.parametrize("suffix", [".pdb", ".cif", ".gro"])
def test_what_is_written_is_read_again_as_a_ring(tmp_path, suffix):
    topology, atoms = whole("ACDEFGHIK")
    mask = topology.atom_mask
    listed = AtomList.of_protein(topology, mask)
    assert len(listed.closing_bonds) == 1
    path = tmp_path / f"ring{suffix}"
    with open_writer(path, listed) as writer:
        writer.write(atoms[mask][None])
    text = path.read_text()
    assert ("LINK         C   LYS A   9                 N   ALA A   1     1555   1555" in text) == (
        suffix == ".pdb"
    )
    assert ("covale1 covale" in text) == (suffix == ".cif")
    source = opened(path)
    assert source.topology.rings == (0,) and source.linked.all()
    assert source.sites.n_sites == mask.sum()


def test_a_chain_with_a_terminal_oxygen_is_open(tmp_path):
    """Even if its ends collide."""
    topology, atoms = whole("ACDEFGHIK")
    topology = replace(topology, rings=())
    atoms[-1, SLOT_OXT] = atoms[-1, SLOT_C] + [0.0, 0.0, 0.123]
    with open_writer(tmp_path / "open.gro", AtomList.of_protein(topology, topology.atom_mask)) as writer:
        writer.write(atoms[topology.atom_mask][None])
    with pytest.warns(InputWarning, match="built open"):
        assert not is_closed(open_source(tmp_path / "open.gro"))


def test_rings_among_bonds_of_mdtraj():
    topology, atoms = whole("ACDEFGHIK")
    mask = topology.atom_mask
    trajectory = to_mdtraj(AtomList.of_protein(topology, mask), atoms[mask][None])
    assert trajectory.topology.n_bonds == len(topology.bonds())
    only = trajectory.atom_slice(trajectory.topology.select("name CA"))
    with pytest.warns(InputWarning, match="built open"):
        assert source_from_mdtraj(only).topology.rings == ()
    assert source_from_mdtraj(trajectory).topology.rings == (0,)


def test_a_ring_beside_open_chains(write_text):
    lines = [atom_line("CA", "ALA", n, place) for n, place in enumerate(circle(8), 1)]
    lines += [atom_line("CA", "ALA", n, [3 + 0.38 * n, 0, 0], chain="B") for n in range(1, 6)]
    source = opened(write_text([link(), *lines, "END\n"]))
    assert source.topology.rings == (0,)
    assert source.linked.tolist() == [True] * 8 + [True] * 4 + [False]
    assert source.topology.following(source.linked).tolist() == [*range(1, 8), 0, *range(9, 13), -1]
    assert source.topology.preceding(source.linked).tolist() == [7, *range(7), -1, *range(8, 12)]
