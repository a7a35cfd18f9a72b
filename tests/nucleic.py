"""Short duplexes of DNA and RNA: what tests of nucleic acids share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from backmap.chemistry.nucleic_mapping import NucleicLayout, layout_of_atoms, shipped_nucleic_mappings
from backmap.chemistry.nucleic_topology import NucleicTopology
from backmap.inference.nucleic import NucleicBuilder
from backmap.io import open_nucleotides
from backmap.models import shipped

FOLDER = Path(__file__).parent / "data" / "nucleic_acids"
DNA, RNA = FOLDER / "dna.pdb", FOLDER / "rna.pdb"


@dataclass(frozen=True)
class Duplex:
    """A duplex with its atoms (1, nucleotides, 23, 3) in nm, NaN where there is none."""

    topology: NucleicTopology
    atoms: np.ndarray

    @classmethod
    def read(cls, path: Path) -> Duplex:
        source = open_nucleotides(path)
        return cls(source.topology, source.first_frames(1).coordinates)

    def layout(self, mapping: str) -> NucleicLayout:
        """Beads of a mapping whose atoms are all there."""
        known, topology = shipped_nucleic_mappings()[mapping], self.topology
        given = np.isfinite(self.atoms[0]).all(axis=-1)
        return layout_of_atoms(known, topology.types, topology.starts, given)

    def beads(self, mapping: str) -> torch.Tensor:
        """Beads (1, beads, 3) in nm."""
        return torch.from_numpy(self.layout(mapping).image(self.atoms)).float()

    def builder(self, mapping: str) -> NucleicBuilder:
        """Builds from such beads."""
        library = shipped.read_nucleic_library().load()
        return NucleicBuilder(library, self.topology, self.layout(mapping))
