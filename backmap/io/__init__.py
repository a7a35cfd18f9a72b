"""Files: reading structures and trajectories as streams of frames, and writing them whole or not at all."""

from .atom_list import AtomList
from .bead_source import BeadSource, beads_from_mdtraj, open_beads, read_molecule
from .journal import Journal
from .manifest import describe_file, write_manifest
from .mdtraj_objects import from_mdtraj, to_mdtraj
from .naming import manifest_path, sample_paths, unfinished_path
from .reader import FrameChunk, FrameRange, Source, open_source, source_from_mdtraj
from .staging import StagedFiles
from .whole_trajectory import holds_times, load_trajectory
from .writer import create_writer, open_writer

__all__ = [
    "AtomList",
    "BeadSource",
    "FrameChunk",
    "FrameRange",
    "Journal",
    "Source",
    "StagedFiles",
    "beads_from_mdtraj",
    "create_writer",
    "describe_file",
    "from_mdtraj",
    "holds_times",
    "load_trajectory",
    "manifest_path",
    "open_beads",
    "open_source",
    "open_writer",
    "read_molecule",
    "sample_paths",
    "source_from_mdtraj",
    "to_mdtraj",
    "unfinished_path",
    "write_manifest",
]
