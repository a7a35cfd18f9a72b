"""Operators on tensors: thin wrappers around the native library, which this package loads."""

from backmap import _native
from backmap.ops.basins import find_basins, step_angle
from backmap.ops.bead_prior import bead_prior
from backmap.ops.c_alphas import c_alpha_energy, draw_c_alphas
from backmap.ops.canonical_alignment import FrameRule, canonical_alignment, canonical_placement
from backmap.ops.counter_uniform import counter_uniform
from backmap.ops.density_to_coordinates import density_to_coordinates
from backmap.ops.descend_onto_beads import descend_onto_beads, descent_places
from backmap.ops.draw_angle_chains import draw_angle_chains
from backmap.ops.encode_neighbourhood import encode_neighbourhood
from backmap.ops.joint_penalty import joint_penalty
from backmap.ops.langevin_dynamics import langevin_dynamics
from backmap.ops.least_overlap import least_overlap
from backmap.ops.molecular_mechanics import molecular_mechanics
from backmap.ops.overlapping_placement import overlapping_placement
from backmap.ops.pack_side_chains import pack_side_chains
from backmap.ops.place_side_chains import place_side_chains
from backmap.ops.remove_noise import in_panels, remove_noise
from backmap.ops.schnet_energy import schnet_energy
from backmap.ops.step_rotamers import step_rotamers
from backmap.ops.structure_penalty import structure_penalty
from backmap.ops.structure_score import structure_score
from backmap.ops.voxelize import voxelize
from backmap.ops.wave_logits import wave_logits

_native.load()

__all__ = [
    "FrameRule",
    "bead_prior",
    "c_alpha_energy",
    "canonical_alignment",
    "canonical_placement",
    "counter_uniform",
    "density_to_coordinates",
    "descend_onto_beads",
    "descent_places",
    "draw_angle_chains",
    "draw_c_alphas",
    "encode_neighbourhood",
    "find_basins",
    "in_panels",
    "langevin_dynamics",
    "joint_penalty",
    "least_overlap",
    "molecular_mechanics",
    "overlapping_placement",
    "pack_side_chains",
    "place_side_chains",
    "remove_noise",
    "schnet_energy",
    "step_angle",
    "step_rotamers",
    "structure_penalty",
    "structure_score",
    "voxelize",
    "wave_logits",
]
