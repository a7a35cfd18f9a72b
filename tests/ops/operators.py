"""Valid arguments of every operator, for the tests that treat all operators alike.

A new operator becomes part of those tests by an entry in `OPERATORS`, and one for its backward.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from backmap.ops import descent_places, in_panels  # registers the operators

Arguments = dict[str, Any]
"""Values by the names in the schema, in its order."""


@dataclass(frozen=True)
class Operator:
    """How an operator of `torch.ops.backmap` is called, and how it may not be.

    `make(batch, dtype, **sizes)` gives valid arguments; every tensor that may have the batch dimensions has
    them, except those named in `shared`.
    """

    name: str
    make: Callable[..., Arguments]
    sizes: dict[str, int]
    """Sizes and the smallest value of each."""
    shared: frozenset[str] = frozenset()
    differentiable: tuple[str, ...] = ()
    free: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Dimensions, counted from the last as -1, whose size nothing fixes, for a batch of one dimension."""
    any_shape: frozenset[str] = frozenset()
    """Tensors that may have any shape of one dimension or more, as no other argument has their sizes."""
    scalars: frozenset[str] = frozenset()
    """Of these, those that may also have no dimension."""
    bad_values: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Numbers of the right type that must be refused."""
    index_ranges: dict[str, Callable[[Arguments], range]] = field(default_factory=dict)
    """Index tensors whose values must lie in a range."""
    bad_contents: dict[str, Callable[[Tensor], list[Tensor]]] = field(default_factory=dict)
    """Tensors of the right kind, made of the valid one, that must be refused for their values."""
    variant: str = ""

    @property
    def call(self) -> Callable[..., Any]:
        return getattr(torch.ops.backmap, self.name).default

    def evaluate(self, arguments: Arguments) -> tuple[Tensor, ...]:
        """Results as a tuple; of an operator without results, the arguments that it writes."""
        found = self.call(**arguments)
        if found is None:
            return tuple(arguments[name] for name in self.written)
        return (found,) if isinstance(found, Tensor) else tuple(found)

    @property
    def written(self) -> list[str]:
        """Arguments that the operator changes."""
        schema = self.call._schema.arguments
        return [a.name for a in schema if a.alias_info is not None and a.alias_info.is_write]

    @property
    def is_backward(self) -> bool:
        return self.name.endswith("_backward")

    @property
    def schema_types(self) -> dict[str, str]:
        """Types of the arguments by their names, as torch writes them."""
        return {argument.name: str(argument.type) for argument in self.call._schema.arguments}

    @property
    def required_arguments(self) -> int:
        return sum(not argument.has_default_value() for argument in self.call._schema.arguments)

    def __str__(self) -> str:
        return self.name + self.variant


NAN, INFINITE = float("nan"), float("inf")


def points(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.rand(*shape, 3, dtype=dtype)


def mask(*shape: int) -> Tensor:
    return torch.rand(shape) < 0.8


# ---- Canonical alignment -----------------------------------------------------------------------


def alignment(batch, dtype, residues, slots, queries, neighbours) -> Arguments:
    return {
        "atoms": points(*batch, residues, slots, dtype=dtype),
        "present": mask(*batch, residues, slots),
        "selectable": mask(*batch, residues, slots),
        "query": points(*batch, queries, dtype=dtype),
        "triangle": points(*batch, queries, 3, dtype=dtype),
        "exclude": torch.randint(-1, max(residues, 1), (queries,)),
        "neighbours": neighbours,
        "frame_rule": 1,
    }


def alignment_backward(batch, dtype, **sizes: int) -> Arguments:
    return differentiated(alignment(batch, dtype, **sizes))


def alignment_backward_in_box(batch, dtype, **sizes: int) -> Arguments:
    forward = in_a_box(alignment)(batch, dtype, **sizes)
    local, _, _ = torch.ops.backmap.canonical_alignment(*forward.values())
    return {**differentiated(forward), "local": local}


def differentiated(forward: Arguments) -> Arguments:
    local, index, frame = torch.ops.backmap.canonical_alignment(*forward.values())
    return {
        "grad_local": torch.randn_like(local),
        "grad_frame": torch.randn_like(frame),
        "atoms": forward["atoms"],
        "present": forward["present"],
        "index": index,
        "triangle": forward["triangle"],
        "frame_rule": forward["frame_rule"],
    }


BAD_RULES = (-1, 2, 2**40)


def placement(batch, dtype, queries, slots) -> Arguments:
    return {
        "frame": points(*batch, queries, 4, dtype=dtype),
        "local": points(*batch, queries, slots, dtype=dtype),
    }


def placement_backward(batch, dtype, **sizes: int) -> Arguments:
    forward = placement(batch, dtype, **sizes)
    return {"grad": torch.randn_like(forward["local"]), **forward}


def overlap(batch, dtype, residues, atom_slots, queries, slots) -> Arguments:
    return {
        "atoms": points(*batch, residues, atom_slots, dtype=dtype),
        "frame": points(*batch, queries, 4, dtype=dtype),
        "local": points(*batch, queries, slots, dtype=dtype),
        "target": torch.randint(-1, max(residues * atom_slots, 1), (queries, slots)).clamp(
            max=residues * atom_slots - 1
        ),
    }


def overlap_backward(batch, dtype, **sizes: int) -> Arguments:
    forward = overlap(batch, dtype, **sizes)
    return {"grad": torch.randn_like(forward.pop("atoms")), **forward}


# ---- Structure score and penalty ---------------------------------------------------------------------------


def score(batch, dtype, residues, slots, bonds) -> Arguments:
    bonds = bonds if residues * slots > 0 else 0
    return {
        "atoms": points(*batch, residues, slots, dtype=dtype),
        "present": mask(*batch, residues, slots),
        "side_chain": mask(residues, slots),
        "following": torch.randint(-1, max(residues, 1), (residues,)),
        "bonds": torch.randint(0, max(residues * slots, 1), (bonds, 2)),
        "reference_lengths": torch.rand(*batch, bonds, dtype=dtype) + 0.1,
        "bond_tolerance": 0.3,
        "clash_distance": 0.12,
    }


def score_backward(batch, dtype, **sizes: int) -> Arguments:
    forward = score(batch, dtype, **sizes)
    kept = {name: forward[name] for name in ("atoms", "present", "bonds", "reference_lengths")}
    return {"grad_deviation": torch.randn_like(forward["reference_lengths"]), **kept}


def penalty(batch, dtype, residues, slots, bonds, angles) -> Arguments:
    """Every atom excludes those before and after it."""
    atoms = residues * slots
    excluded = [[b for b in (a - 1, a + 1) if 0 <= b < atoms] for a in range(atoms)]
    bonds, angles = (bonds, angles) if atoms > 0 else (0, 0)
    return {
        "atoms": points(*batch, residues, slots, dtype=dtype),
        "present": mask(*batch, residues, slots),
        "bonds": torch.randint(0, max(atoms, 1), (bonds, 2)),
        "bond_lengths": torch.rand(*batch, bonds, dtype=dtype) + 0.1,
        "angle_ends": torch.randint(0, max(atoms, 1), (angles, 2)),
        "angle_spans": torch.rand(*batch, angles, dtype=dtype) + 0.1,
        "radii": 0.1 + 0.1 * torch.rand(residues, slots, dtype=dtype),
        "exclusion_start": torch.tensor([0, *map(len, excluded)]).cumsum(0),
        "exclusions": torch.tensor([b for row in excluded for b in row], dtype=torch.int64),
        "bond_kt_per_nm2": 2.0,
        "angle_kt_per_nm2": 0.5,
        "repulsion_kt_per_nm2": 1.0,
        "radius_scale": 1.0,
    }


def mechanics(batch, dtype, atoms, bonds, angles, torsions, pairs) -> Arguments:
    """Atoms that are not excluded are nearer than the cutoff, or not; every atom excludes its neighbours."""
    excluded = [[b for b in (a - 1, a + 1) if 0 <= b < atoms] for a in range(atoms)]

    bonds, angles, torsions, pairs = (
        different(atoms, count, members)
        for count, members in ((bonds, 2), (angles, 3), (torsions, 4), (pairs, 2))
    )
    return {
        "atoms": points(*batch, atoms, dtype=dtype),
        "bonds": bonds,
        "bond_parameters": torch.rand(len(bonds), 2, dtype=dtype),
        "angles": angles,
        "angle_parameters": torch.rand(len(angles), 2, dtype=dtype),
        "torsions": torsions,
        "torsion_polynomials": torch.randn(len(torsions), 2, 3, dtype=dtype),
        "pairs": pairs,
        "pair_parameters": 0.2 * torch.rand(len(pairs), 3, dtype=dtype),
        "particles": 0.2 * torch.rand(atoms, 3, dtype=dtype),
        "exclusion_start": torch.tensor([0, *map(len, excluded)]).cumsum(0),
        "exclusions": torch.tensor([b for row in excluded for b in row], dtype=torch.int64),
        "cutoff_nm": 0.7,
        "dielectric": 4.0,
    }


def dynamics(batch, dtype, atoms, bonds, angles, torsions, constraints, steps) -> Arguments:
    """Frames of about the same structure; one atom does not move, and constrained pairs share atoms."""
    bonds, angles, torsions, constraints = (
        different(atoms, count, members)
        for count, members in ((bonds, 2), (angles, 3), (torsions, 4), (constraints, 2))
    )
    structure = points(atoms, dtype=dtype)
    first, second = structure[constraints].unbind(1)
    tables = torch.rand(3, atoms, atoms, dtype=dtype) * torch.tensor([9.0, 1e-9, 1e-4]).view(3, 1, 1).to(
        dtype
    )
    radii, screening = 0.1 + 0.1 * torch.rand(2, 1, atoms, dtype=dtype)
    charges, surface = torch.randn(1, atoms, dtype=dtype), 1e-6 * torch.rand(1, atoms, dtype=dtype)
    return {
        "atoms": structure + 1e-3 * torch.randn(*batch, atoms, 3, dtype=dtype),
        "velocities": 0.5 * torch.randn(*batch, atoms, 3, dtype=dtype),
        "normals": torch.randn(*batch, steps, atoms, 3, dtype=dtype),
        "inverse_masses": torch.rand(atoms, dtype=dtype) * (torch.arange(atoms) != 1) / 3,
        "bonds": bonds,
        "bond_parameters": torch.rand(len(bonds), 2, dtype=dtype),
        "angles": angles,
        "angle_parameters": torch.rand(len(angles), 2, dtype=dtype),
        "torsions": torsions,
        "torsion_polynomials": torch.randn(len(torsions), 2, 3, dtype=dtype),
        "pair_tables": tables + tables.transpose(1, 2),
        "solvent": torch.cat([charges, radii, radii - 0.009, screening, surface]),
        "constraints": constraints,
        "constraint_lengths": (first - second).norm(dim=-1),
        "polarisation": -137.0,
        "step_ps": 0.002,
        "friction_per_ps": 50.0,
        "kt": 2.5,
        "largest_move_nm": 0.002,
        "iterations": 2,
    }


def schnet(batch, dtype, beads, width, hidden, blocks, further_knots) -> Arguments:
    """Beads nearer than the cutoff, or not."""
    knots = 2 + further_knots

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=dtype)

    return {
        "beads": points(*batch, beads, dtype=dtype),
        "features": random(beads, width),
        "filters": 0.3 * random(blocks, knots, 2, width),
        "incoming": 0.3 * random(blocks, width, width),
        "mixing": 0.3 * random(blocks, width, width),
        "mixing_bias": random(blocks, width),
        "outgoing": 0.3 * random(blocks, width, width),
        "outgoing_bias": random(blocks, width),
        "readout": random(hidden, width),
        "readout_bias": random(hidden),
        "readout_weights": random(hidden),
        "cutoff_nm": 0.7,
    }


def prior(batch, dtype, beads, bonds, angles, torsions, centres, pairs) -> Arguments:
    bonds, angles, torsions, centres, pairs = (
        different(beads, count, members)
        for count, members in ((bonds, 2), (angles, 3), (torsions, 4), (centres, 4), (pairs, 2))
    )
    return {
        "beads": points(*batch, beads, dtype=dtype),
        "bonds": bonds,
        "bond_parameters": torch.rand(len(bonds), 2, dtype=dtype),
        "angles": angles,
        "angle_parameters": torch.rand(len(angles), 2, dtype=dtype),
        "torsions": torsions,
        "torsion_polynomials": torch.randn(len(torsions), 2, 3, dtype=dtype),
        "centres": centres,
        "centre_parameters": torch.rand(len(centres), 2, dtype=dtype),
        "pairs": pairs,
        "sigma": 0.4 * torch.rand(len(pairs), dtype=dtype),
        "kt": 2.5,
    }


def different(atoms: int, count: int, members: int) -> Tensor:
    """Different atoms for each of some terms; no terms if there are too few atoms."""
    rows = [torch.randperm(atoms)[:members] for _ in range(count if atoms >= members else 0)]
    return torch.stack(rows) if rows else torch.zeros(0, members, dtype=torch.int64)


def penalty_backward(batch, dtype, **sizes: int) -> Arguments:
    return {"grad": torch.randn(*batch, 3, dtype=dtype), **penalty(batch, dtype, **sizes)}


def in_a_box(make: Callable[..., Arguments]) -> Callable[..., Arguments]:
    """The same arguments and a triclinic box, smaller than the structure."""
    box = [[0.9, 0.0, 0.0], [0.3, 0.95, 0.0], [-0.4, 0.2, 0.85]]

    def make_in_box(batch, dtype, **sizes: int) -> Arguments:
        return {**make(batch, dtype, **sizes), "box": torch.tensor(box, dtype=dtype).repeat(*batch, 1, 1)}

    return make_in_box


def atoms_of_molecule(arguments: Arguments) -> range:
    return range(arguments["atoms"].shape[-2])


def beads_of_molecule(arguments: Arguments) -> range:
    return range(arguments["beads"].shape[-2])


def flat_atoms(arguments: Arguments) -> range:
    return range(arguments["atoms"].shape[-3] * arguments["atoms"].shape[-2])


def flat_atoms_or_none(arguments: Arguments) -> range:
    return range(-1, flat_atoms(arguments).stop)


def bad_boxes(box: Tensor) -> list[Tensor]:
    return [0 * box, 0.1 * box, -box, NAN * box, box.mT]


def unreduced_boxes(box: Tensor) -> list[Tensor]:
    return [0 * box, -box, NAN * box, box.mT]


def bad_radii(radii: Tensor) -> list[Tensor]:
    return [-radii, NAN * radii, INFINITE * radii]


def bad_row_starts(start: Tensor) -> list[Tensor]:
    return [start.flip(0), start + 1, start - 1, 2 * start]


# ---- Side-chain packing ------------------------------------------------------------------------


PACKING_TABLES = frozenset({"candidate_present", "radii", "backbone_radii", "following"})


def packing(batch, dtype, residues, candidates, side_slots, backbone_slots, sweeps) -> Arguments:
    return {
        "candidates": points(*batch, residues, candidates, side_slots, dtype=dtype),
        "candidate_present": mask(residues, side_slots),
        "backbone": points(*batch, residues, backbone_slots, dtype=dtype),
        "backbone_present": mask(*batch, residues, backbone_slots),
        "radii": torch.full((residues, side_slots), 0.17, dtype=dtype),
        "backbone_radii": torch.full((residues, backbone_slots), 0.16, dtype=dtype),
        "following": torch.randint(-1, max(residues, 1), (residues,)),
        "uniforms": torch.rand(*batch, sweeps, residues, dtype=dtype),
        "strength": 300.0,
    }


def packing_with_energies(
    batch, dtype, residues, candidates, side_slots, backbone_slots, sweeps
) -> Arguments:
    sizes = residues, candidates, side_slots, backbone_slots, sweeps
    energies = 3 * torch.rand(*batch, residues, candidates, dtype=dtype)
    return {**packing(batch, dtype, *sizes), "box": None, "energies": energies}


def packing_with_contacts(
    batch, dtype, residues, candidates, side_slots, backbone_slots, sweeps, classes
) -> Arguments:
    sizes = residues, candidates, side_slots, backbone_slots, sweeps
    return {
        **packing(batch, dtype, *sizes),
        "box": None,
        "energies": None,
        "contacts": torch.rand(classes, classes, 5, dtype=dtype) - 0.5,
        "classes": torch.randint(-1, classes + 1, (residues, side_slots)),
        "backbone_classes": torch.randint(-1, classes + 1, (residues, backbone_slots)),
        "reach": 0.3,
    }


def trials(batch, dtype, residues, slots, groups, trials, points_of_trial) -> Arguments:
    atoms = residues * slots
    return {
        "atoms": points(*batch, residues, slots, dtype=dtype),
        "trials": points(*batch, groups, trials, points_of_trial, dtype=dtype),
        "penalty": 0.01 * torch.rand(*batch, groups, trials, dtype=dtype),
        "residue": torch.randint(0, max(residues, 1), (groups,)),
        "target": torch.randint(-1, max(atoms, 1), (groups, points_of_trial)).clamp(max=atoms - 1),
        "distance": 0.34,
    }


# ---- Neighbourhoods ----------------------------------------------------------------------------

TYPES, OFFSETS = 5, 4


def neighbourhood(batch, dtype, neighbours, points_of_neighbour, queries, width) -> Arguments:
    """Some neighbours are missing; activations are near one."""
    numbers = 4 * points_of_neighbour + 3
    return {
        "positions": points(*batch, neighbours, points_of_neighbour, dtype=dtype) - 0.5,
        "types": torch.randint(0, TYPES, (*batch, neighbours), dtype=torch.uint8),
        "offsets": torch.randint(0, OFFSETS, (*batch, neighbours), dtype=torch.uint8),
        "query": torch.randn(*batch, queries, width, dtype=dtype),
        "position_weight": torch.randn(width, numbers, dtype=dtype) / numbers**0.5,
        "position_bias": torch.randn(width, dtype=dtype),
        "type_embedding": torch.randn(TYPES, width, dtype=dtype),
        "offset_embedding": torch.randn(OFFSETS, width, dtype=dtype),
        "inner_weight": torch.randn(width, width, dtype=dtype) / max(width, 1) ** 0.5,
        "inner_bias": torch.randn(width, dtype=dtype),
    }


def rows_out_of_range(index: Tensor) -> list[Tensor]:
    return [torch.full_like(index, TYPES), torch.full_like(index, 255)]


def logits_of_waves(batch, dtype, draws, waves, width, classes) -> Arguments:
    return {
        "context": torch.randn(*batch, width, dtype=dtype),
        "waves": torch.randn(*batch, draws, waves, dtype=dtype),
        "coefficients": torch.randn(*batch, waves, width, dtype=dtype),
        "weight": torch.randn(classes, width, dtype=dtype) / max(width, 1) ** 0.5,
        "bias": torch.randn(classes, dtype=dtype),
    }


def noise(batch, dtype, hidden, steps, points_of_residue, around, layers, noisy=True) -> Arguments:
    """Some points are given, some empty, some pairs missing; random numbers for all steps or the start."""
    pairs = points_of_residue * (points_of_residue - 1) // 2
    inputs, outputs = 7 * points_of_residue + pairs, 3 * points_of_residue + pairs

    def weights(*shape: int) -> Tensor:
        return in_panels(torch.randn(*shape, dtype=dtype) / shape[-1] ** 0.5)

    exists = (torch.rand(*batch, 1, pairs) < 0.8).to(dtype)
    return {
        "given": torch.randn(*batch, 3 * points_of_residue, dtype=dtype),
        "generated": torch.rand(*batch, points_of_residue) < 0.7,
        "empty": torch.rand(*batch, points_of_residue) < 0.2,
        "normals": torch.randn(*batch, steps if noisy else 1, 3 * points_of_residue, dtype=dtype),
        "features": torch.randn(*batch, hidden, dtype=dtype),
        "modulation": 0.3 * torch.randn(*batch, layers, 2 * hidden, dtype=dtype),
        "pairs": torch.cat([0.5 + torch.rand(*batch, 3, pairs, dtype=dtype), exists], dim=-2),
        "atoms": 2 * torch.randn(*batch, 3, around, dtype=dtype),
        "levels": 0.2 + torch.rand(steps, 6, dtype=dtype),
        "moves": 0.5 * torch.rand(steps, 3, dtype=dtype),
        "step_features": torch.randn(steps, hidden, dtype=dtype),
        "step_modulation": 0.3 * torch.randn(steps, layers, 2 * hidden, dtype=dtype),
        "entry": weights(hidden, inputs),
        "layers": weights(layers, 2, hidden, hidden),
        "layer_bias": torch.randn(layers, 2, hidden, dtype=dtype),
        "leave": weights(outputs, hidden),
        "leave_bias": torch.randn(outputs, dtype=dtype),
        "clip": 3.0,
        "furthest": 4.0,
    }


def noise_at_the_start(batch, dtype, **sizes) -> Arguments:
    return noise(batch, dtype, **sizes, noisy=False)


def rotamers(batch, dtype, torsions, width, bins) -> Arguments:
    """Some torsions do not move, some repeat, and some leave their basins."""
    return {
        "context": torch.randn(*batch, torsions, width, dtype=dtype),
        "coefficients": torch.randn(torsions, 2, torsions, width, dtype=dtype),
        "weight": torch.randn(torsions, width, bins, dtype=dtype) / max(width, 1) ** 0.5,
        "bias": torch.randn(torsions, bins, dtype=dtype),
        "moves": mask(*batch, torsions),
        "repeats": mask(*batch, torsions),
        "leaps_only": mask(*batch),
        "before": 6 * torch.rand(*batch, torsions, dtype=dtype) - 3,
        "rate": torch.rand(*batch, torsions, dtype=dtype),
        "window": torch.rand(batch, dtype=dtype),
        "uniforms": torch.rand(*batch, torsions, 5, dtype=dtype),
        "smoothing_passes": 2,
    }


def descent(batch, dtype, atoms, springs, centres, links, beads, parts) -> Arguments:
    """Atoms near each other, beads near their images; some frames lack some links."""
    atom = lambda *shape: torch.randint(max(atoms, 1), shape)  # noqa: E731
    place = torch.randn(*batch, atoms, 3, dtype=dtype)
    return {
        "atoms": place,
        "before": place + 0.01 * torch.randn(*batch, atoms, 3, dtype=dtype),
        "slope": torch.randn(*batch, atoms, 3, dtype=dtype),
        "springs": atom(springs, 2),
        "spring_length": torch.rand(*batch, springs, dtype=dtype),
        "spring_stiffness": torch.rand(springs, dtype=dtype),
        "centres": atom(centres, 4),
        "volume": torch.randn(*batch, centres, dtype=dtype),
        "volume_stiffness": torch.rand(centres, dtype=dtype),
        "links": torch.where(mask(*batch, links, 1), atom(*batch, links, 2), -1),
        "link_length": torch.rand(*batch, links, dtype=dtype),
        "link_stiffness": torch.rand(*batch, links, dtype=dtype),
        "parts": torch.stack([torch.randint(max(beads, 1), (parts,)), atom(parts)], dim=-1),
        "weight": torch.rand(parts, dtype=dtype),
        "pull": 0.1 * torch.rand(parts, dtype=dtype),
        "beads": torch.randn(*batch, beads, 3, dtype=dtype),
        "share": torch.rand(*batch, beads, dtype=dtype),
        "steps": 3,
        "step_size": 0.01,
        "momentum": 0.9,
        "largest_step": 0.05,
    }


def descent_with_places(batch, dtype, atoms, springs, centres, links, beads, parts) -> Arguments:
    given = descent(batch, dtype, atoms, springs, centres, links, beads, parts)
    lists = given["springs"], given["centres"], given["parts"]
    return {**given, "places": descent_places(*lists, atoms, beads)}


DESCENT_LISTS = frozenset(
    {"springs", "spring_stiffness", "centres", "volume_stiffness", "parts", "weight", "pull", "places"}
)


KINDS, CELLS, QUANTITIES = 3, 6, 6


def joints(batch, dtype, previous, angles) -> Arguments:
    """Five quantities of a joint, and a strain more."""
    turn = 6 * torch.rand(*batch, previous, dtype=dtype) - 3
    own = 6 * torch.rand(angles, dtype=dtype) - 3
    return {
        "forms": torch.randn(*batch, 3, QUANTITIES, 3, dtype=dtype),
        "kinds": torch.randint(0, KINDS, batch),
        "table": torch.rand(KINDS, CELLS, CELLS, dtype=dtype),
        "cosine": turn.cos(),
        "sine": turn.sin(),
        "waves": torch.stack([torch.ones_like(own), own.cos(), own.sin()]),
    }


def angle_chains(batch, dtype, samples, residues, width, classes) -> Arguments:
    """Two chains, the second one shorter, and residues outside of both."""
    longest = (residues + 1) // 2
    places = torch.arange(longest)
    return {
        "context": torch.randn(*batch, residues, width, dtype=dtype),
        "coefficients": torch.randn(*batch, residues, 3, width, dtype=dtype),
        "weight": torch.randn(classes, width, dtype=dtype) / max(width, 1) ** 0.5,
        "bias": torch.randn(classes, dtype=dtype),
        "forms": torch.randn(*batch, residues, 3, QUANTITIES, 3, dtype=dtype),
        "kinds": torch.randint(0, KINDS, (*batch, residues)),
        "table": torch.rand(KINDS, CELLS, CELLS, dtype=dtype),
        "offsets": torch.randn(*batch, residues, classes, dtype=dtype),
        "chains": torch.stack([places, torch.where(longest + places < residues - 1, longest + places, -1)]),
        "uniforms": torch.rand(*batch, samples, residues, 2, dtype=dtype),
    }


def angle_chains_with_known_angles(batch, dtype, samples, residues, width, classes) -> Arguments:
    known = torch.where(mask(*batch, residues), NAN, torch.rand(*batch, residues, dtype=dtype))
    return {**angle_chains(batch, dtype, samples, residues, width, classes), "known": known.to(dtype)}


def keys_and_counters(batch, dtype, counters) -> Arguments:
    big = 2**62
    return {
        "keys": torch.randint(-big, big, batch),
        "purpose": 3,
        "counters": torch.randint(0, big, (counters,)),
    }


RULES = 5
"""None, CB, by a torsion, CG of a ring and its CD."""


def side_chains(batch, dtype, candidates, torsions, placed_atoms) -> Arguments:
    """Each atom follows the three before it; rings are closed anywhere but with the first atom."""
    rules = torch.randint(0, RULES, (TYPES, placed_atoms))
    rules[:, :1] = 1
    following = torch.arange(1, placed_atoms + 1).unsqueeze(-1) + torch.arange(3)
    return {
        "backbone": points(*batch, 4, dtype=dtype),
        "c_beta": points(*batch, dtype=dtype),
        "types": torch.randint(0, TYPES, batch),
        "torsions": torch.randn(*batch, candidates, torsions, dtype=dtype),
        "rules": rules,
        "parents": following.expand(TYPES, -1, -1).clone(),
        "torsion_indices": torch.randint(0, torsions + 1, (TYPES, placed_atoms)),
        "geometry": 0.1 + torch.rand(TYPES, placed_atoms, 3, dtype=dtype),
        "ring": torch.tensor([0.15, 0.15, 0.147, 0.68, 1.87, 0.21, 1.95], dtype=dtype),
    }


def side_chains_with_known_atoms(batch, dtype, candidates, torsions, placed_atoms) -> Arguments:
    return {
        **side_chains(batch, dtype, candidates, torsions, placed_atoms),
        "known": points(*batch, placed_atoms, dtype=dtype),
        "known_present": mask(*batch, placed_atoms),
    }


SIDE_CHAIN_TABLES = frozenset({"rules", "parents", "torsion_indices", "geometry", "ring"})
SIDE_CHAIN_SIZES = {"candidates": 0, "torsions": 0, "placed_atoms": 0}
SIDE_CHAIN_RANGES: dict[str, Callable[[Arguments], range]] = {
    "types": lambda arguments: range(TYPES),
    "rules": lambda arguments: range(RULES),
    "parents": lambda arguments: range(3 + arguments["rules"].shape[1]),
    "torsion_indices": lambda arguments: range(arguments["torsions"].shape[-1] + 1),
}

NOISE_TABLES = frozenset(
    {
        "levels", "moves", "step_features", "step_modulation",
        "entry", "layers", "layer_bias", "leave", "leave_bias",
    }
)  # fmt: skip
NEIGHBOURHOOD_TABLES = frozenset(
    {"position_weight", "position_bias", "type_embedding", "offset_embedding", "inner_weight", "inner_bias"}
)

# ---- Densities ---------------------------------------------------------------------------------


def particles(batch, dtype, particles, grid_points) -> Arguments:
    return {
        "coordinates": points(*batch, particles, dtype=dtype) - 0.5,
        "grid_points": grid_points,
        "width": 1.2,
        "sigma": 0.1,
    }


def particles_into(batch, dtype, particles, grid_points) -> Arguments:
    return {
        "coordinates": points(*batch, particles, dtype=dtype) - 0.5,
        "out": cubes(*batch, particles, grid_points=grid_points, dtype=dtype),
        "width": 1.2,
        "sigma": 0.1,
    }


def voxelize_backward(batch, dtype, **sizes: int) -> Arguments:
    forward = particles_into(batch, dtype, **sizes)
    return {"grad": torch.randn_like(forward["out"]), **{n: v for n, v in forward.items() if n != "out"}}


def density(batch, dtype, particles, grid_points) -> Arguments:
    return {
        "density": cubes(*batch, particles, grid_points=grid_points, dtype=dtype),
        "width": 1.2,
        "logits": False,
    }


def density_backward(batch, dtype, **sizes: int) -> Arguments:
    forward = density(batch, dtype, **sizes)
    coordinates, total = torch.ops.backmap.density_to_coordinates(*forward.values())
    return {
        "grad": torch.randn_like(coordinates),
        "density": forward["density"],
        "coordinates": coordinates,
        "total": total,
        "width": 1.2,
        "logits": False,
    }


def cubes(*shape: int, grid_points: int, dtype: torch.dtype) -> Tensor:
    return torch.rand(*shape, grid_points, grid_points, grid_points, dtype=dtype)


BAD_LENGTHS = (0.0, -0.1, NAN, INFINITE)
BAD_GAUSSIANS = {"width": BAD_LENGTHS, "sigma": BAD_LENGTHS}

# ---- C-alphas ----------------------------------------------------------------------------------


def c_alpha_windows(batch, dtype, residues, kinds, angles, dihedrals) -> Arguments:
    return {
        "c_alpha": walk(batch, residues, dtype),
        "kinds": torch.randint(0, kinds, (residues,)),
        "weights": torch.rand(*batch, residues, dtype=dtype) * mask(*batch, residues),
        "table": torch.rand(kinds, angles, dihedrals, angles, dtype=dtype),
        "first_angle": 1.0,
        "last_angle": 3.0,
    }


def walk(batch, residues, dtype) -> Tensor:
    """Chains of points 0.38 nm apart, with an angle at every point."""
    turning = torch.eye(3, dtype=dtype)[torch.arange(residues) % 3]
    steps = turning + 0.3 * torch.rand(*batch, residues, 3, dtype=dtype)
    return (0.38 * steps / steps.norm(dim=-1, keepdim=True)).cumsum(-2)


def c_alpha_beads(batch, dtype, **sizes: int) -> Arguments:
    windows = c_alpha_windows(batch, dtype, **sizes)
    residues = sizes["residues"]
    return {
        "beads": windows["c_alpha"],
        "noise": 0.03 + 0.05 * torch.rand(*batch, residues, dtype=dtype),
        "bonds": 0.38 * mask(*batch, residues).to(dtype),
        "kinds": windows["kinds"],
        "weights": windows["weights"],
        "table": windows["table"],
        "keys": torch.randint(-(2**62), 2**62, batch),
        "steps": torch.randint(0, 4, batch),
        "first_angle": 1.0,
        "last_angle": 3.0,
        "temperature": 1.5,
        "step_size": 3e-4,
        "largest_step": 0.03,
        "contact_distance": 0.4,
        "contact_strength": 1000.0,
    }


def c_alpha_beads_in_a_box(batch, dtype, **sizes: int) -> Arguments:
    box = torch.tensor([[3.0, 0, 0], [0.5, 3.2, 0], [-0.7, 0.9, 2.8]], dtype=dtype)
    return {**c_alpha_beads(batch, dtype, **sizes), "box": box.expand(*batch, 3, 3).clone()}


def c_alpha_beads_of_rings(batch, dtype, **sizes: int) -> Arguments:
    return {**followed_in_rings(c_alpha_beads_in_a_box(batch, dtype, **sizes)), "temperature": 0.2}


def followed_in_rings(arguments: Arguments) -> Arguments:
    """The same arguments, with rings of eight residues between chains of three."""
    residues = len(arguments["kinds"])
    following = torch.arange(1, residues + 1)
    last = torch.arange(residues)[10::11]
    following[2::11], following[last], following[-1:] = -1, last - 7, -1
    name = "beads" if "beads" in arguments else "c_alpha"
    points = arguments[name].clone()
    turn = torch.arange(8, dtype=points.dtype) * torch.pi / 4
    ring = torch.stack([0.47 * turn.cos(), 0.47 * turn.sin(), 0.08 * (-1.0) ** torch.arange(8)], dim=-1)
    for end in last.tolist():
        points[..., end - 7 : end + 1, :] = points[..., end - 7 : end - 6, :] + ring
    return {**arguments, name: points, "following": following}


def c_alpha_windows_of_rings(batch, dtype, **sizes: int) -> Arguments:
    return followed_in_rings(c_alpha_windows(batch, dtype, **sizes))


def c_alpha_beads_between_streams(batch, dtype, **sizes: int) -> Arguments:
    between = {
        "box": None,
        "following": None,
        "other_keys": torch.randint(1 << 30, batch),
        "turns": 1.5 * torch.rand(batch, dtype=dtype),
    }
    return {**c_alpha_beads(batch, dtype, **sizes), **between}


def kind_range(arguments: Arguments) -> range:
    return range(len(arguments["table"]))


WINDOW_SIZES = {"residues": 0, "kinds": 1, "angles": 3, "dihedrals": 1}
BAD_ANGLES = {"first_angle": (-0.1, 3.0, 4.0, NAN), "last_angle": (0.5, 1.0, 3.2, NAN)}
BAD_DYNAMICS = {
    **BAD_ANGLES,
    **dict.fromkeys(("temperature", "contact_strength"), (-1.0, NAN, INFINITE)),
    **dict.fromkeys(("step_size", "largest_step", "contact_distance"), (0.0, -1.0, NAN, INFINITE)),
}


def c_alpha_operators() -> list[Operator]:
    """Energies of C-alphas, and C-alphas drawn with and without a periodic box, in chains and rings."""
    free = {"table": (-4, -2)}
    both = {"kinds": kind_range, "following": lambda arguments: range(-1, len(arguments["kinds"]))}
    ranges = {**both, "steps": lambda arguments: range(100_001)}
    shared = frozenset({"kinds", "table", "following"})
    energy = {"shared": shared, "free": free, "bad_values": BAD_ANGLES, "index_ranges": both}
    draw = {"shared": shared, "free": free, "bad_values": BAD_DYNAMICS, "index_ranges": ranges}
    return [
        Operator("c_alpha_energy", c_alpha_windows, WINDOW_SIZES, **energy),
        Operator("c_alpha_energy", c_alpha_windows_of_rings, WINDOW_SIZES, **energy, variant=" of rings"),
        Operator("draw_c_alphas", c_alpha_beads, WINDOW_SIZES, **draw),
        Operator(
            "draw_c_alphas",
            c_alpha_beads_of_rings,
            WINDOW_SIZES,
            **draw,
            bad_contents={"box": bad_boxes},
            variant=" of rings in a box",
        ),
        Operator(
            "draw_c_alphas",
            c_alpha_beads_in_a_box,
            WINDOW_SIZES,
            **draw,
            bad_contents={"box": bad_boxes},
            variant=" in a box",
        ),
        Operator(
            "draw_c_alphas", c_alpha_beads_between_streams, WINDOW_SIZES, **draw, variant=" between streams"
        ),
    ]


# ---- Basins ------------------------------------------------------------------------------------


def distributions(batch, dtype, bins) -> Arguments:
    return {"probabilities": torch.rand(*batch, bins, dtype=dtype), "smoothing_passes": 2}


def angle_step(batch, dtype, bins) -> Arguments:
    return {
        "probabilities": torch.rand(*batch, bins, dtype=dtype),
        "before": 10 * torch.rand(batch, dtype=dtype) - 5,
        "rate": torch.rand(batch, dtype=dtype),
        "window": torch.rand(batch, dtype=dtype),
        "uniforms": torch.rand(*batch, 5, dtype=dtype),
        "smoothing_passes": 2,
    }


def basin_operators() -> list[Operator]:
    makers = {
        "find_basins": distributions,
        "step_angle": angle_step,
    }
    return [
        Operator(
            name,
            make,
            {"bins": 1},
            free={"probabilities": (-1,)},
            any_shape=frozenset({"probabilities"} if name == "find_basins" else ()),
            bad_values={"smoothing_passes": (-1, 4097, 2**62)},
        )
        for name, make in makers.items()
    ]


# ---- All ---------------------------------------------------------------------------------------

DENSITY_SIZES = {"particles": 0, "grid_points": 1}
ALIGNMENT_SIZES = {"residues": 0, "slots": 0, "queries": 0, "neighbours": 0}
OVERLAP_SIZES = {"residues": 0, "atom_slots": 0, "queries": 0, "slots": 0}
SCORE_SIZES = {"residues": 0, "slots": 0, "bonds": 0}
PENALTY_SIZES = {**SCORE_SIZES, "angles": 0}
PENALTY_SHARED = frozenset({"bonds", "angle_ends", "radii", "exclusion_start", "exclusions"})
MECHANICS_TABLES = frozenset(
    {"bonds", "bond_parameters", "angles", "angle_parameters", "torsions", "torsion_polynomials", "pairs",
     "pair_parameters", "particles", "exclusion_start", "exclusions"}
)  # fmt: skip
DYNAMICS_TABLES = frozenset(
    {"inverse_masses", "bonds", "bond_parameters", "angles", "angle_parameters", "torsions",
     "torsion_polynomials", "pair_tables", "solvent", "constraints", "constraint_lengths"}
)  # fmt: skip
PRIOR_TABLES = frozenset(
    {"bonds", "bond_parameters", "angles", "angle_parameters", "torsions", "torsion_polynomials", "centres",
     "centre_parameters", "pairs", "sigma"}
)  # fmt: skip
SCHNET_TABLES = frozenset(
    {"features", "filters", "incoming", "mixing", "mixing_bias", "outgoing", "outgoing_bias", "readout",
     "readout_bias", "readout_weights"}
)  # fmt: skip
PENALTY_INDICES = dict.fromkeys(("bonds", "angle_ends", "exclusions"), flat_atoms)
BAD_STRENGTHS = dict.fromkeys(
    ("bond_kt_per_nm2", "angle_kt_per_nm2", "repulsion_kt_per_nm2", "radius_scale"), (-1.0, NAN, INFINITE)
)


def bonded_operators(
    variant: str = "",
    changed: Callable[[Callable], Callable] = lambda make: make,
    bad_contents: dict[str, Callable[[Tensor], list[Tensor]]] | None = None,
) -> list[Operator]:
    """Score and penalty, with or without a periodic box."""
    bad_box = bad_contents or {}
    bad_lists = {"radii": bad_radii, "exclusion_start": bad_row_starts, **bad_box}
    return [
        Operator(
            "structure_score",
            changed(score),
            SCORE_SIZES,
            shared=frozenset({"side_chain", "following", "bonds"}),
            differentiable=("atoms",),
            bad_values={"bond_tolerance": (-0.1, NAN), "clash_distance": (0.0, -0.1, NAN)},
            index_ranges={"bonds": flat_atoms},
            bad_contents=bad_box,
            variant=variant,
        ),
        Operator(
            "structure_score_backward",
            changed(score_backward),
            SCORE_SIZES,
            shared=frozenset({"bonds"}),
            index_ranges={"bonds": flat_atoms},
            variant=variant,
        ),
        Operator(
            "structure_penalty",
            changed(penalty),
            PENALTY_SIZES,
            shared=PENALTY_SHARED,
            differentiable=("atoms",),
            bad_values=BAD_STRENGTHS,
            index_ranges=PENALTY_INDICES,
            bad_contents=bad_lists,
            variant=variant,
        ),
        Operator(
            "structure_penalty_backward",
            changed(penalty_backward),
            PENALTY_SIZES,
            shared=PENALTY_SHARED,
            bad_values=BAD_STRENGTHS,
            index_ranges=PENALTY_INDICES,
            bad_contents=bad_lists,
            variant=variant,
        ),
    ]


def searching_operators(
    variant: str = "",
    changed: Callable[[Callable], Callable] = lambda make: make,
    boxed: bool = False,
) -> list[Operator]:
    """Operators that look for what is near, with or without a periodic box."""
    bad_box = {"box": bad_boxes} if boxed else {}
    return [
        Operator(
            "canonical_alignment",
            changed(alignment),
            ALIGNMENT_SIZES,
            shared=frozenset({"exclude"}),
            differentiable=("atoms", "triangle"),
            bad_values={"neighbours": (-1, -(2**62), 2**62), "frame_rule": BAD_RULES},
            bad_contents={"box": unreduced_boxes} if boxed else {},
            variant=variant,
        ),
        Operator(
            "canonical_alignment_backward",
            alignment_backward_in_box if boxed else alignment_backward,
            ALIGNMENT_SIZES,
            bad_values={"frame_rule": BAD_RULES},
            variant=variant,
        ),
        Operator(
            "pack_side_chains",
            changed(packing),
            {"residues": 0, "candidates": 1, "side_slots": 0, "backbone_slots": 0, "sweeps": 0},
            shared=PACKING_TABLES,
            free={"candidates": (-3,), "uniforms": (-2,)},
            bad_values={"strength": (-1.0, NAN, INFINITE)},
            bad_contents=bad_box,
            variant=variant,
        ),
        Operator(
            "pack_side_chains",
            changed(packing_with_energies),
            {"residues": 0, "candidates": 1, "side_slots": 0, "backbone_slots": 0, "sweeps": 0},
            shared=PACKING_TABLES,
            free={"candidates": (), "uniforms": (-2,)},
            bad_values={"strength": (-1.0, NAN, INFINITE)},
            bad_contents=bad_box,
            variant=f" with energies{variant}",
        ),
        Operator(
            "pack_side_chains",
            changed(packing_with_contacts),
            {"residues": 0, "candidates": 1, "side_slots": 0, "backbone_slots": 0, "sweeps": 0, "classes": 0},
            shared=PACKING_TABLES | {"contacts", "classes", "backbone_classes"},
            free={"candidates": (-3,), "uniforms": (-2,), "contacts": (-1,)},
            bad_values={"strength": (-1.0, NAN, INFINITE), "reach": BAD_LENGTHS},
            bad_contents=bad_box,
            variant=f" with contacts{variant}",
        ),
        Operator(
            "least_overlap",
            changed(trials),
            {"residues": 0, "slots": 0, "groups": 0, "trials": 1, "points_of_trial": 0},
            shared=frozenset({"residue", "target"}),
            free={"atoms": (-2, -3)},
            bad_values={"distance": BAD_LENGTHS},
            index_ranges={"target": flat_atoms_or_none},
            bad_contents=bad_box,
            variant=variant,
        ),
    ]


OPERATORS = [
    *searching_operators(),
    *searching_operators(" in a box", in_a_box, boxed=True),
    Operator(
        "encode_neighbourhood",
        neighbourhood,
        {"neighbours": 1, "points_of_neighbour": 1, "queries": 0, "width": 1},
        shared=NEIGHBOURHOOD_TABLES,
        free={"query": (-2,), "type_embedding": (-2,), "offset_embedding": (-2,)},
        bad_contents={"types": rows_out_of_range, "offsets": rows_out_of_range},
    ),
    Operator(
        "wave_logits",
        logits_of_waves,
        {"draws": 0, "waves": 0, "width": 0, "classes": 0},
        shared=frozenset({"weight", "bias"}),
        free={"waves": (-2,)},
    ),
    *(
        Operator(
            "descend_onto_beads",
            make,
            {"atoms": 1, "springs": 0, "centres": 0, "links": 0, "beads": 1, "parts": 0},
            shared=DESCENT_LISTS,
            bad_values={
                "steps": (-1, 100001),
                "step_size": (0.0, -1.0, NAN),
                "momentum": (-0.1, 1.0, NAN),
                "largest_step": (0.0, NAN, INFINITE),
            },
            index_ranges={
                "springs": lambda arguments: range(arguments["atoms"].shape[-2]),
                "centres": lambda arguments: range(arguments["atoms"].shape[-2]),
                "links": lambda arguments: range(-1, arguments["atoms"].shape[-2]),
            },
            bad_contents={
                "parts": lambda parts: [parts - 10**6, parts + 10**6],
                "places": lambda places: [places - 10**6, places + 10**6],
            },
            variant=variant,
        )
        for make, variant in ((descent, ""), (descent_with_places, " with places"))
    ),
    Operator(
        "joint_penalty",
        joints,
        {"previous": 0, "angles": 0},
        shared=frozenset({"table", "waves"}),
        free={"waves": (-1,), "forms": (-2,), "table": (-3,)},
        index_ranges={"kinds": lambda arguments: range(KINDS)},
    ),
    *(
        Operator(
            "draw_angle_chains",
            make,
            {"samples": 0, "residues": 0, "width": 0, "classes": 1},
            shared=frozenset({"weight", "bias", "table", "chains"}),
            free={"uniforms": (-3,), "forms": (-2,), "table": (-3,), "chains": (-1, -2)},
            index_ranges={"kinds": lambda arguments: range(KINDS)},
            variant=variant,
        )
        for make, variant in ((angle_chains, ""), (angle_chains_with_known_angles, " with known angles"))
    ),
    Operator(
        "counter_uniform",
        keys_and_counters,
        {"counters": 0},
        shared=frozenset({"counters"}),
        any_shape=frozenset({"keys", "counters"}),
        scalars=frozenset({"keys", "counters"}),
    ),
    Operator(
        "step_rotamers",
        rotamers,
        {"torsions": 0, "width": 0, "bins": 1},
        shared=frozenset({"coefficients", "weight", "bias"}),
        bad_values={"smoothing_passes": (-1, 4097)},
    ),
    *(
        Operator(
            "remove_noise",
            make,
            {"hidden": 1, "steps": 1, "points_of_residue": 1, "around": 0, "layers": 0},
            shared=NOISE_TABLES,
            free={"normals": (-2,), "atoms": (-1,)},
            bad_values=dict.fromkeys(("clip", "furthest"), (0.0, -1.0, NAN, INFINITE)),
            variant=variant,
        )
        for make, variant in ((noise, ""), (noise_at_the_start, " without fresh noise"))
    ),
    *(
        Operator(
            "place_side_chains",
            make,
            SIDE_CHAIN_SIZES,
            shared=SIDE_CHAIN_TABLES,
            free={"torsions": (-1, -2)},
            index_ranges=SIDE_CHAIN_RANGES,
            variant=variant,
        )
        for make, variant in ((side_chains, ""), (side_chains_with_known_atoms, " with known atoms"))
    ),
    Operator(
        "canonical_placement",
        placement,
        {"queries": 0, "slots": 0},
        differentiable=("frame", "local"),
        free={"local": (-2,)},
    ),
    Operator("canonical_placement_backward", placement_backward, {"queries": 0, "slots": 0}),
    Operator(
        "overlapping_placement",
        overlap,
        OVERLAP_SIZES,
        shared=frozenset({"target"}),
        differentiable=("atoms", "frame", "local"),
        free={"atoms": (-2, -3)},
        index_ranges={"target": flat_atoms_or_none},
    ),
    Operator(
        "overlapping_placement_backward",
        overlap_backward,
        OVERLAP_SIZES,
        shared=frozenset({"target"}),
        free={"grad": (-2, -3)},
    ),
    *bonded_operators(),
    *bonded_operators(" in a box", in_a_box, {"box": bad_boxes}),
    *c_alpha_operators(),
    *basin_operators(),
    Operator(
        "molecular_mechanics",
        mechanics,
        {"atoms": 0, "bonds": 0, "angles": 0, "torsions": 0, "pairs": 0},
        shared=MECHANICS_TABLES,
        differentiable=("atoms",),
        free={"atoms": (-3,), "torsion_polynomials": (-1,)},
        bad_values={"cutoff_nm": (*BAD_LENGTHS, 0.1), "dielectric": BAD_LENGTHS},
        index_ranges=dict.fromkeys(("bonds", "angles", "torsions", "pairs", "exclusions"), atoms_of_molecule),
        bad_contents={"exclusion_start": bad_row_starts},
    ),
    Operator(
        "langevin_dynamics",
        dynamics,
        {"atoms": 0, "bonds": 0, "angles": 0, "torsions": 0, "constraints": 0, "steps": 0},
        shared=DYNAMICS_TABLES,
        free={"normals": (-3,), "torsion_polynomials": (-1,)},
        bad_values={
            **dict.fromkeys(("step_ps", "kt", "largest_move_nm"), BAD_LENGTHS),
            "polarisation": (NAN, INFINITE),
            "friction_per_ps": (-1.0, NAN, INFINITE),
            "iterations": (-1, 1001),
        },
        index_ranges=dict.fromkeys(("bonds", "angles", "torsions", "constraints"), atoms_of_molecule),
    ),
    Operator(
        "schnet_energy",
        schnet,
        {"beads": 0, "width": 0, "hidden": 0, "blocks": 0, "further_knots": 0},
        shared=SCHNET_TABLES,
        free={"beads": (-3,), "filters": (-3,)},
        bad_values={"cutoff_nm": BAD_LENGTHS},
    ),
    Operator(
        "bead_prior",
        prior,
        {"beads": 0, "bonds": 0, "angles": 0, "torsions": 0, "centres": 0, "pairs": 0},
        shared=PRIOR_TABLES,
        free={"beads": (-2, -3), "torsion_polynomials": (-1,)},
        bad_values={"kt": BAD_LENGTHS},
        index_ranges=dict.fromkeys(("bonds", "angles", "torsions", "centres", "pairs"), beads_of_molecule),
    ),
    Operator(
        "voxelize",
        particles,
        DENSITY_SIZES,
        differentiable=("coordinates",),
        free={"coordinates": (-2, -3)},
        bad_values={"grid_points": (0, -1, 513, 2**31, 2**62), **BAD_GAUSSIANS},
    ),
    Operator("voxelize_into", particles_into, DENSITY_SIZES, bad_values=BAD_GAUSSIANS),
    Operator("voxelize_backward", voxelize_backward, DENSITY_SIZES, bad_values=BAD_GAUSSIANS),
    Operator(
        "density_to_coordinates",
        density,
        DENSITY_SIZES,
        differentiable=("density",),
        free={"density": (-4, -5)},
        bad_values={"width": BAD_LENGTHS},
    ),
    Operator(
        "density_to_coordinates_backward", density_backward, DENSITY_SIZES, bad_values={"width": BAD_LENGTHS}
    ),
]

FORWARD_OPERATORS = [operator for operator in OPERATORS if not operator.is_backward]
