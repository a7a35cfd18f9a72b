"""Molecules beside the protein: recognised, carried along, and never overlapped."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backmap.cli.main import main
from backmap.errors import InputError, InputWarning
from backmap.io import open_source
from backmap.models.protein.obstacles import Obstacles
from tests.beaded import crystal

CPU = torch.device("cpu")


@pytest.fixture
def with_others(write_text):
    """C-alphas of the example, three nucleotides of three beads, a lipid and an ion."""
    structure = crystal()
    lines = []

    def add(record, name, residue, chain, number, place):
        x, y, z = 10 * place
        lines.append(
            f"{record:<6}{len(lines) + 1:5d} {name:^4} {residue:>3} {chain}{number:4d}    "
            f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00\n"
        )

    for residue, place in enumerate(structure.c_alpha[0].numpy()):
        add("ATOM", "CA", structure.topology.residue_name(residue), "A", residue + 1, place)
    for number in range(3):
        for bead, name in enumerate("PSB"):
            add("ATOM", name, "D" + "ACG"[number], "B", number + 1, np.array([3.0 + number, 0.3 * bead, 3.0]))
    add("ATOM", "C1", "CHL", "C", 1, np.array([-4.0, 0.0, 0.0]))
    add("HETATM", "NA", "NA", "D", 1, np.array([-5.0, 0.0, 0.0]))
    return write_text(lines)


def test_they_are_left_out_unless_asked_for(with_others):
    with pytest.warns(InputWarning, match="ignored residues that are not part of a protein chain: .*1 CHL"):
        source = open_source(with_others)
    assert source.others.n_sites == 0 and source.topology.n_residues == 40
    with pytest.warns(InputWarning, match="1 CHL, 1 NA"):
        source = open_source(with_others, others="nucleic-acids")
    assert [residue.name for residue in source.others.residues] == ["DA", "DC", "DG"]
    assert open_source(with_others, others="all").others.n_sites == 11
    (chunk,) = source.chunks(1)
    assert chunk.coordinates.shape == (1, 49, 3)
    np.testing.assert_allclose(chunk.coordinates[0, 40], [3.0, 0.0, 3.0])


def chain_of_beads(names: list[str], first: int = 0, chain: str = "A", bead: str = "CA") -> list[str]:
    """PDB records of one bead per residue, 0.38 nm apart."""
    return [
        f"ATOM  {number:5d} {bead:^4} {name:>3} {chain}{number:4d}    "
        f"{3.8 * number:8.3f}{first:8.3f}{0:8.3f}\n"
        for number, name in enumerate(names, 1)
    ]


@pytest.mark.parametrize(
    "names", ["DA DC DG DT", "ADE CYT GUA URA", "A5 C G U3", "DAX DCX", "A C G U", "A C G"]
)
def test_a_bead_per_nucleotide_is_no_c_alpha(names, write_text):
    path = write_text(chain_of_beads(["ALA", "GLY", "TRP"]) + chain_of_beads(names.split(), 30, "B"))
    with pytest.warns(InputWarning, match="carried nucleic acids along as they are, without building"):
        source = open_source(path, others="nucleic-acids")
    assert source.topology.n_residues == 3
    assert [residue.name for residue in source.others.residues] == names.split()


@pytest.mark.parametrize(
    ("letters", "said"),
    [("ACGTW", ""), ("AAAA", ""), ("ACAC", "protein"), ("UUU", "nucleic acid"), ("ACGT", "nucleic acid")],
)
def test_one_letter_names_of_nucleotides_and_amino_acids(letters, said, write_text, recwarn):
    path = write_text(chain_of_beads(["ALA", "TRP"]) + chain_of_beads(list(letters), 30, "B"))
    source = open_source(path)
    protein = said != "nucleic acid"
    assert source.topology.n_residues == 2 + protein * len(letters)
    taken = [str(warning.message) for warning in recwarn if "took the chain" in str(warning.message)]
    assert len(taken) == bool(said)
    assert all(f"chain B residue 1 {letters[0]}" in line and f"for a {said}" in line for line in taken)


@pytest.mark.parametrize("beads", ["auto", "c-alpha", "martini3"])
def test_nucleic_acids_alone_are_refused(beads, write_text):
    path = write_text(chain_of_beads(["DA", "DC"], bead="P"))
    with pytest.raises(InputError, match=r"contains nucleic acids \(1 DA, 1 DC\) but no protein; give"):
        open_source(path, beads=beads)


def test_ligands_without_an_entry_anywhere_are_kept(write_text):
    """In file order; residues of a chain that cannot be built are refused all the same."""
    protein, sodium = chain_of_beads(["ALA", "GLY", "TRP"]), chain_of_beads(["NA"], 50, "D", "NA")
    ligand = chain_of_beads(["QZ9"], 30, "C", "X1")
    path = write_text(protein + ligand + sodium)
    with pytest.raises(InputError, match="chain C residue 1 QZ9 cannot be built"):
        open_source(path)
    source = open_source(path, others="all")
    assert [residue.name for residue in source.others.residues] == ["QZ9", "NA"]
    inside = write_text(chain_of_beads(["ALA", "QZ9", "TRP"]))
    with pytest.raises(InputError, match="residue 2 QZ9 cannot be built"):
        open_source(inside, others="all")


@pytest.mark.parametrize(
    "box", ["", "CRYST1   80.000   80.000   80.000  90.00  90.00  90.00 P 1           1\n"]
)
def test_overlaps_with_carried_molecules_are_counted(box, with_others, tmp_path, capsys):
    """Also those with images in other boxes."""
    text = with_others.read_text().splitlines(keepends=True)
    alpha = next(line for line in text if " CA " in line and " A  20" in line)
    place = np.array([float(alpha[begin : begin + 8]) for begin in (30, 38, 46)]) + bool(box) * np.array(
        [80.0, 0, 0]
    )
    near = f"ATOM   9999  P    DT E   1    {place[0] + 0.5:8.3f}{place[1]:8.3f}{place[2]:8.3f}\n"
    output = tmp_path / "out.pdb"
    for lines, overlap in ((text, False), ([*text, near], True)):
        with_others.write_text(box + "".join(lines))
        assert (
            main(["reconstruct", str(with_others), "-o", str(output), "--samples", "2", "--overwrite"]) == 0
        )
        message = capsys.readouterr().err
        assert ("closer than 0.2 nm to molecules that are carried along" in message) == overlap
        assert ("in 2 structures" in message) == overlap
        assert "carried nucleic acids along" in message


def test_bad_coordinates_of_others_are_named(with_others):
    text = with_others.read_text()
    line = next(line for line in text.splitlines(True) if " DC B" in line)
    with_others.write_text(text.replace(line, line[:30] + "     inf" + line[38:]))
    with pytest.raises(InputError, match="frame 1, chain B residue 2 DC: a coordinate is not"):
        open_source(with_others, others="nucleic-acids")


@pytest.mark.parametrize(
    ("options", "names"), [([], {"DA", "DC", "DG"}), (["--keep-others"], {"DA", "CHL", "NA"})]
)
def test_output_contains_them_unchanged(options, names, with_others, tmp_path):
    output = tmp_path / "out.pdb"
    command = ["reconstruct", str(with_others), "-o", str(output), "--hydrogens", "--samples", "2", *options]
    assert main(command) == 0
    text = (tmp_path / "out_1.pdb").read_text()
    assert names <= {line[17:20].strip() for line in text.splitlines()}
    given = [line[30:54] for line in with_others.read_text().splitlines() if " DG B" in line]
    written = [line[30:54] for line in text.splitlines() if line.startswith("ATOM") and " DG B" in line]
    assert given == written


def test_side_chains_avoid_obstacles():
    from backmap.inference.protein import ProteinBuilder
    from backmap.models.shipped import load_model

    structure = crystal()
    builder = ProteinBuilder(load_model("protein", CPU), structure.topology, structure.linked)
    numbers = torch.zeros(1, dtype=torch.int64)
    free = builder.reconstruct(structure.c_alpha, numbers=numbers, samples=8, seed=0)
    # An obstacle where the tip of a long side chain would be.
    mask = torch.from_numpy(structure.topology.atom_mask)
    residue = int(torch.argmax(mask[:, 5:14].sum(dim=1)))
    tip = free[0, 0, residue][mask[residue]][-1]
    obstacles = Obstacles(tip[None, None], torch.tensor([0.28]))
    avoiding = builder.reconstruct(structure.c_alpha, numbers=numbers, samples=8, seed=0, obstacles=obstacles)

    def nearest(atoms):
        return (atoms[:, 0, residue, 5:14][:, mask[residue, 5:14]] - tip).norm(dim=-1).amin(dim=-1)

    assert nearest(avoiding).mean() > nearest(free).mean() + 0.05
    none = Obstacles(torch.full((1, 1, 3), 50.0), torch.tensor([0.28]))
    far = builder.reconstruct(structure.c_alpha, numbers=numbers, samples=8, seed=0, obstacles=none)
    assert torch.equal(free, far)
