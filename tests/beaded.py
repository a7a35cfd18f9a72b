"""Crystal structures, coarse-grained: what tests of beads share."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from backmap.chemistry import SLOT_CA, Topology
from backmap.chemistry.bead_mapping import BeadLayout, load_mapping
from backmap.io import open_source
from backmap.models.chain import Chain

EXAMPLE = Path(__file__).parents[1] / "examples" / "2bf5.pdb.gz"
CRAMBIN = Path(__file__).parent / "data" / "cases" / "beads" / "1ab1_A.pdb"


@dataclass(frozen=True)
class Beaded:
    """Complete residues of a crystal structure as one segment, with atoms (1, residues, 15, 3) in nm."""

    topology: Topology
    atoms: np.ndarray

    @property
    def linked(self) -> np.ndarray:
        return self.topology.linked()

    @property
    def chain(self) -> Chain:
        return Chain.from_arrays(self.topology.residue_types, self.topology.chain_index, self.linked, "cpu")

    @property
    def c_alpha(self) -> torch.Tensor:
        return torch.from_numpy(self.atoms[:, :, SLOT_CA]).float()

    def layout(self, mapping: str) -> BeadLayout:
        return load_mapping(mapping).layout(self.topology.residue_types)

    def beads(self, mapping: str) -> torch.Tensor:
        """(1, beads, 3) float32 nm."""
        return torch.from_numpy(self.layout(mapping).image(self.atoms)).float()


@functools.cache
def crystal(first: int = 10, n_residues: int = 40) -> Beaded:
    """Part of the example structure, near the origin."""
    return _read(EXAMPLE, slice(first, first + n_residues))


@functools.cache
def crambin() -> Beaded:
    """A whole protein with three disulfides, near the origin."""
    return _read(CRAMBIN, slice(None))


def _read(path: Path, part: slice) -> Beaded:
    source = open_source(path)
    (chunk,) = source.chunks(1)
    atoms = source.sites.in_slots(np.asarray(chunk.coordinates, dtype=np.float64))[:, part]
    types = source.topology.residue_types[part]
    topology = Topology(types, np.zeros_like(types), ("A",), np.arange(1, len(types) + 1))
    assert source.linked[part][:-1].all() and np.isfinite(atoms[:, topology.atom_mask][:, :-1]).all()
    return Beaded(topology, np.nan_to_num(atoms - atoms[:, :1, SLOT_CA, None]))
