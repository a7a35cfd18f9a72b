"""Files: read structures and trajectories as streams of frames, and write them whole or not at all."""

from .atom_list import AtomList
from .bead_source import BeadSource, beads_from_mdtraj, open_beads, read_molecule
from .durable.growing_file import GrowingOutput, output_files
from .durable.journal import Journal, Progress
from .durable.manifest import describe_file, write_manifest
from .durable.staging import StagedFiles, require_free
from .formats.frame_times import holds_times
from .frames import FrameChunk, Frames, join_chunks, join_frames
from .mdtraj_objects import to_mdtraj
from .naming import manifest_path, require_output_format, sample_paths, unfinished_path
from .nucleotide_source import NucleotideSource, open_nucleotides
from .reader import FrameRange, FrameSource, Source, open_source, source_from_mdtraj
from .selection.atom_selection import listed, select_listed
from .whole_trajectory import load_topology, load_trajectory
from .writer import open_writer

__all__ = [
    "AtomList",
    "BeadSource",
    "FrameChunk",
    "FrameRange",
    "FrameSource",
    "Frames",
    "GrowingOutput",
    "Journal",
    "NucleotideSource",
    "Progress",
    "Source",
    "StagedFiles",
    "beads_from_mdtraj",
    "describe_file",
    "holds_times",
    "join_chunks",
    "join_frames",
    "listed",
    "load_topology",
    "load_trajectory",
    "manifest_path",
    "open_beads",
    "open_nucleotides",
    "open_source",
    "open_writer",
    "output_files",
    "read_molecule",
    "require_free",
    "require_output_format",
    "sample_paths",
    "select_listed",
    "source_from_mdtraj",
    "to_mdtraj",
    "unfinished_path",
    "write_manifest",
]
