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
