"""Operators on tensors: one thin function each over the native library."""

from backmap.ops.canonical_alignment import FrameRule, canonical_alignment, canonical_placement
from backmap.ops.pack_side_chains import pack_side_chains
from backmap.ops.structure_penalty import structure_penalty
from backmap.ops.structure_score import structure_score

__all__ = [
    "FrameRule",
    "canonical_alignment",
    "canonical_placement",
    "pack_side_chains",
    "structure_penalty",
    "structure_score",
]
