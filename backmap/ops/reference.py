"""The operators in plain PyTorch: the specification, and the reference for tests.

Every line follows the definition, at the expense of speed and memory. Arguments and results are the same as
for the operators in `torch.ops.backmap`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from backmap.ops.canonical_alignment import FrameRule

SIDE = 0.381  # nm, equal sides of the isosceles triangle
HALF_APEX = math.radians(53.0)


def isosceles_triangle(dtype: torch.dtype = torch.float64) -> Tensor:
    """Return the corners (3, 3) of the reference triangle of `FrameRule.ISOSCELES`."""
    base, height = SIDE * math.sin(HALF_APEX), SIDE * math.cos(HALF_APEX)
    corners = [[-base, -height / 3, 0.0], [0.0, 2 * height / 3, 0.0], [base, -height / 3, 0.0]]
    return torch.tensor(corners, dtype=dtype)


def local_frame(triangle: Tensor, frame_rule: int) -> Tensor:
    """Return frames (*, 4, 3) of points (*, 3, 3), which must not be collinear."""
    p0, p1, p2 = triangle.unbind(-2)
    if frame_rule == FrameRule.GRAM_SCHMIDT:
        e1 = _unit(p2 - p1)
        e2 = _unit((p0 - p1) - _dot(p0 - p1, e1) * e1)
        return torch.stack([e1, e2, torch.linalg.cross(e1, e2), p1], dim=-2)
    centroid = triangle.mean(-2)
    centred = triangle - centroid.unsqueeze(-2)
    normal = _unit(torch.linalg.cross(p0 - p1, p2 - p1))
    target = isosceles_triangle(triangle.dtype).to(triangle.device)
    turned = torch.linalg.cross(normal.unsqueeze(-2).expand_as(centred), centred)
    e1 = _unit((target[:, :1] * centred - target[:, 1:2] * turned).sum(-2))
    return torch.stack([e1, torch.linalg.cross(normal, e1), normal, centroid], dim=-2)


def canonical_alignment(
    atoms: Tensor,
    present: Tensor,
    selectable: Tensor,
    query: Tensor,
    triangle: Tensor,
    exclude: Tensor,
    neighbours: int,
    frame_rule: int,
    box: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Specification of `backmap::canonical_alignment` for triangles that are not collinear."""
    present = present.expand(atoms.shape[:-1])
    atoms = torch.where(present.unsqueeze(-1), atoms, 0.0)
    counts = present & selectable
    index = nearest_residues(atoms.detach(), counts, query.detach(), exclude, neighbours, box)
    frame = local_frame(triangle, frame_rule)
    chosen = _take_residues(atoms, index)  # (*, queries, neighbours, atoms, 3)
    chosen = chosen + _shift_to_images(chosen.detach(), _take_residues(counts, index), query.detach(), box)
    axes, origin = frame[..., :3, :], frame[..., 3, :]
    local = torch.einsum("...qij,...qkaj->...qkai", axes, chosen - origin[..., None, None, :])
    there = _take_residues(present, index) & (index >= 0).unsqueeze(-1)
    return torch.where(there.unsqueeze(-1), local, 0.0), index, frame


def nearest_residues(
    atoms: Tensor,
    counts: Tensor,
    query: Tensor,
    exclude: Tensor,
    neighbours: int,
    box: Tensor | None = None,
) -> Tensor:
    """Return residues (*, queries, neighbours) by distance, then index, padded with -1."""
    offset = atoms.unsqueeze(-4) - query[..., None, None, :]  # (*, queries, residues, atoms, 3)
    x, y, z = (minimum_image(offset, box) ** 2).unbind(-1)
    squared = torch.where(counts.unsqueeze(-3), x + y + z, math.inf)
    squared = torch.nn.functional.pad(squared, (0, 1), value=math.inf).amin(-1)  # there may be no atoms
    residues = torch.arange(atoms.shape[-3], device=atoms.device)
    squared = torch.where(residues == exclude.unsqueeze(-1), math.inf, squared)
    squared, order = squared.sort(dim=-1, stable=True)
    index = torch.where(squared < math.inf, order, -1)[..., :neighbours]
    return torch.nn.functional.pad(index, (0, neighbours - index.shape[-1]), value=-1)


def _shift_to_images(chosen: Tensor, counts: Tensor, query: Tensor, box: Tensor | None) -> Tensor:
    """Return the shift of residues (*, queries, neighbours, atoms, 3) to the image of their nearest atom."""
    if box is None or chosen.shape[-2] == 0:
        return torch.zeros_like(chosen)
    offset = chosen - query[..., None, None, :]
    image = minimum_image(offset, box)
    squared = torch.where(counts, image.square().sum(-1), math.inf)
    nearest = squared.argmin(-1, keepdim=True).unsqueeze(-1).expand(*squared.shape[:-1], 1, 3)
    return (image - offset).gather(-2, nearest)


def canonical_placement(frame: Tensor, local: Tensor) -> Tensor:
    """Specification of `backmap::canonical_placement`."""
    axes, origin = frame[..., :3, :], frame[..., 3, :]
    return torch.einsum("...qji,...qaj->...qai", axes, local) + origin.unsqueeze(-2)


def overlapping_placement(atoms: Tensor, frame: Tensor, local: Tensor, target: Tensor) -> Tensor:
    """Specification of `backmap::overlapping_placement`: queries write one after another."""
    placed = atoms.flatten(-3, -2)
    points = canonical_placement(frame, local)
    for query, atoms_of_query in enumerate(target.tolist()):
        for slot, atom in enumerate(atoms_of_query):
            if atom >= 0:
                written = torch.arange(placed.shape[-2], device=atoms.device) == atom
                placed = torch.where(written.unsqueeze(-1), points[..., query, slot, None, :], placed)
    return placed.unflatten(-2, atoms.shape[-3:-1])


def minimum_image(difference: Tensor, box: Tensor | None) -> Tensor:
    """Return the nearest images of differences (*, ..., 3) in boxes (3, 3) or (*, 3, 3), by c, b and a."""
    if box is None:
        return difference
    batch = box.shape[:-2]
    box = box.reshape(*batch, *(1,) * (difference.dim() - 1 - len(batch)), 3, 3)
    for axis in (2, 1, 0):
        vector = box[..., axis, :]
        turns = (difference[..., axis] / vector[..., axis]).round().detach()
        difference = difference - turns.unsqueeze(-1) * vector
    return difference


def structure_score(
    atoms: Tensor,
    present: Tensor,
    side_chain: Tensor,
    following: Tensor,
    bonds: Tensor,
    reference_lengths: Tensor,
    bond_tolerance: float,
    clash_distance: float,
    box: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Specification of `backmap::structure_score`."""
    residues, slots = side_chain.shape
    present = present.expand(atoms.shape[:-1]).flatten(-2)
    points = torch.where(present.unsqueeze(-1), atoms.flatten(-3, -2), 0.0)
    length, exists = _pair_lengths(points, present, bonds, box)
    deviation = torch.where(exists, length / reference_lengths - 1, 0.0)

    residue = torch.arange(residues, device=atoms.device).repeat_interleave(slots)
    side = side_chain.flatten()
    neighbours = _are_linked(following)[residue][:, residue]
    counts = (residue[:, None] != residue) & (~neighbours | (side[:, None] & side))
    distance = _all_distances(points, box)
    close = (distance < clash_distance) & counts & present.unsqueeze(-1) & present.unsqueeze(-2)
    clash = close.any(-1).unflatten(-1, (residues, slots)).any(-1)

    within = ((deviation.abs() <= bond_tolerance) & exists).sum(-1)
    return deviation, clash, torch.stack([within, exists.sum(-1), clash.sum(-1)], dim=-1)


def structure_penalty(
    atoms: Tensor,
    present: Tensor,
    bonds: Tensor,
    bond_lengths: Tensor,
    angle_ends: Tensor,
    angle_spans: Tensor,
    radii: Tensor,
    exclusion_start: Tensor,
    exclusions: Tensor,
    bond_kt_per_nm2: float,
    angle_kt_per_nm2: float,
    repulsion_kt_per_nm2: float,
    radius_scale: float,
    box: Tensor | None = None,
) -> Tensor:
    """Specification of `backmap::structure_penalty`."""
    present = present.expand(atoms.shape[:-1]).flatten(-2)
    points = torch.where(present.unsqueeze(-1), atoms.flatten(-3, -2), 0.0)

    def stretch(pairs: Tensor, lengths: Tensor) -> Tensor:
        distance, exists = _pair_lengths(points, present, pairs, box)
        return torch.where(exists, (distance - lengths) ** 2, 0.0).sum(-1)

    count = present.shape[-1]
    atom = torch.arange(count, device=atoms.device)
    touching = atom[:, None] < atom  # each pair once
    touching[atom.repeat_interleave(exclusion_start.diff()), exclusions] = False
    finite = present & points.isfinite().all(-1)
    touching = touching & finite.unsqueeze(-1) & finite.unsqueeze(-2)
    radius = radius_scale * radii.flatten()
    contact = radius[:, None] + radius
    distance = _all_distances(torch.where(finite.unsqueeze(-1), points, 0.0), box)
    overlap = torch.where(touching, contact - distance, 0.0).clamp(min=0)
    return torch.stack(
        [
            bond_kt_per_nm2 * stretch(bonds, bond_lengths),
            angle_kt_per_nm2 * stretch(angle_ends, angle_spans),
            repulsion_kt_per_nm2 * (overlap**2).sum((-1, -2)),
        ],
        dim=-1,
    )


def molecular_mechanics(
    atoms: Tensor,
    bonds: Tensor,
    bond_parameters: Tensor,
    angles: Tensor,
    angle_parameters: Tensor,
    torsions: Tensor,
    torsion_polynomials: Tensor,
    pairs: Tensor,
    pair_parameters: Tensor,
    particles: Tensor,
    exclusion_start: Tensor,
    exclusions: Tensor,
    cutoff_nm: float,
    dielectric: float,
) -> tuple[Tensor, Tensor]:
    """Specification of `backmap::molecular_mechanics`."""
    with torch.enable_grad():
        x = atoms.detach().requires_grad_()

        def between(first: Tensor, second: Tensor) -> Tensor:
            return x[..., first, :] - x[..., second, :]

        def pair_energies(i: Tensor, j: Tensor, products: Tensor, sigma: Tensor, epsilon: Tensor) -> Tensor:
            real = (between(i, j) ** 2).sum(-1)
            square = real.detach().clamp(min=0.01).requires_grad_()
            sixth = (sigma**2 / square) ** 3
            coulomb = 138.93545764438198 / dielectric * products / square
            weight = (1 - (square / cutoff_nm**2) ** 3) ** 2
            energy = weight * (4 * epsilon * (sixth**2 - sixth) + coulomb)
            (slope,) = torch.autograd.grad(energy.sum(), square)
            near = real.detach() < cutoff_nm**2
            return torch.where(near, energy.detach() + slope * (real - square.detach()), 0.0).sum(-1)

        length, stiffness = bond_parameters.T
        energy = (stiffness / 2 * (between(*bonds.T).norm(dim=-1) - length) ** 2).sum(-1)
        energy = energy + _bending_energy(x, angles, angle_parameters, torsions, torsion_polynomials)
        energy = energy + pair_energies(*pairs.T, *pair_parameters.T)
        charge, sigma, epsilon = particles.T
        atom = torch.arange(len(particles), device=x.device)
        free = atom[:, None] < atom  # each pair once
        free[atom.repeat_interleave(exclusion_start.diff()), exclusions] = False
        i, j = free.nonzero().T
        mixed = (sigma[i] + sigma[j]) / 2, (epsilon[i] * epsilon[j]).sqrt()
        energy = energy + pair_energies(i, j, charge[i] * charge[j], *mixed)
        (gradient,) = torch.autograd.grad(energy.sum(), x)
    return energy.detach(), gradient


def langevin_dynamics(
    atoms: Tensor,
    velocities: Tensor,
    normals: Tensor,
    inverse_masses: Tensor,
    bonds: Tensor,
    bond_parameters: Tensor,
    angles: Tensor,
    angle_parameters: Tensor,
    torsions: Tensor,
    torsion_polynomials: Tensor,
    pair_tables: Tensor,
    solvent: Tensor,
    constraints: Tensor,
    constraint_lengths: Tensor,
    polarisation: float,
    step_ps: float,
    friction_per_ps: float,
    kt: float,
    largest_move_nm: float,
    iterations: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Specification of :func:`backmap.ops.langevin_dynamics`."""
    inverse, kept = inverse_masses.unsqueeze(-1), math.exp(-friction_per_ps * step_ps)
    thermal, most = (kt * inverse).sqrt(), largest_move_nm / step_ps
    stiffness = inverse_masses[constraints].sum(-1)
    acts = stiffness > 0
    (first, second), stiffness = constraints[acts].T, stiffness[acts]
    squares = constraint_lengths[acts].square()

    def energy_of(x: Tensor) -> Tensor:
        length, strength = bond_parameters.T
        bond = (x[..., bonds[:, 0], :] - x[..., bonds[:, 1], :]).norm(dim=-1)
        energy = (strength / 2 * (bond - length) ** 2).sum(-1)
        energy = energy + _bending_energy(x, angles, angle_parameters, torsions, torsion_polynomials)
        return energy + _solvated_energy(x, pair_tables, solvent, polarisation)

    def spread(vectors: Tensor, share: Tensor, bond: Tensor) -> Tensor:
        change = share.unsqueeze(-1) * bond
        moved = torch.zeros_like(vectors).index_add(-2, first, change).index_add(-2, second, -change)
        return vectors + inverse * moved

    def without_stretching(velocity: Tensor, x: Tensor) -> Tensor:
        bond = x[..., first, :] - x[..., second, :]
        for _ in range(iterations):
            stretching = (bond * (velocity[..., first, :] - velocity[..., second, :])).sum(-1)
            velocity = spread(velocity, -stretching / (stiffness * bond.square().sum(-1)), bond)
        return velocity

    x, velocity = atoms, velocities * (inverse > 0)
    for step in range(normals.shape[-3]):
        with torch.enable_grad():
            variable = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(energy_of(variable).sum(), variable)
        kick = -step_ps * inverse * gradient
        velocity = velocity + kick * (most / kick.norm(dim=-1, keepdim=True).clamp_min(most))
        velocity = without_stretching(velocity, x)
        moved = x + step_ps / 2 * velocity
        velocity = kept * velocity + math.sqrt(1 - kept**2) * thermal * normals[..., step, :, :]
        moved = moved + step_ps / 2 * velocity
        along, restored = x[..., first, :] - x[..., second, :], moved
        for _ in range(iterations):
            bond = restored[..., first, :] - restored[..., second, :]
            share = (squares - bond.square().sum(-1)) / (2 * stiffness * (bond * along).sum(-1))
            restored = spread(restored, share, along)
        velocity = velocity + (restored - moved) / step_ps
        x = restored
    return x.clone(), velocity, energy_of(x)


def _solvated_energy(x: Tensor, pair_tables: Tensor, solvent: Tensor, polarisation: float) -> Tensor:
    """Return the energy of all pairs, with the generalised Born model OBC2."""
    charge, radius, reduced, screening, surface = solvent
    i, j = (torch.eye(x.shape[-2], device=x.device) == 0).nonzero().T
    distance = (x[..., i, :] - x[..., j, :]).square().sum(-1).clamp_min(1e-6).sqrt()
    near = torch.maximum((distance - screening[j]).abs(), reduced[i])
    far = torch.maximum(distance + screening[j], reduced[i])
    inside = torch.maximum(screening[j] - distance, reduced[i])
    terms = 1 / near - 1 / far + 0.5 * (near / far).log() / distance
    terms = terms + 0.25 * (screening[j] ** 2 / distance - distance) * (1 / near**2 - 1 / far**2)
    terms = terms + 2 * (1 / reduced[i] - 1 / inside)
    psi = 0.5 * reduced * torch.zeros_like(x[..., 0]).index_add(-1, i, terms)
    born = 1 / (1 / reduced - torch.tanh(psi - 0.8 * psi**2 + 4.85 * psi**3) / radius)
    charges, repulsion, attraction = pair_tables[:, i, j]
    energy = charges / distance + repulsion / distance**12 - attraction / distance**6
    product = born[..., i] * born[..., j]
    reach = (distance**2 + product * torch.exp(-(distance**2) / (4 * product))).sqrt()
    energy = energy + polarisation * charge[i] * charge[j] / reach
    return 0.5 * energy.sum(-1) + (0.5 * polarisation * charge**2 / born + surface / born**6).sum(-1)


def bead_prior(
    beads: Tensor,
    bonds: Tensor,
    bond_parameters: Tensor,
    angles: Tensor,
    angle_parameters: Tensor,
    torsions: Tensor,
    torsion_polynomials: Tensor,
    centres: Tensor,
    centre_parameters: Tensor,
    pairs: Tensor,
    sigma: Tensor,
    kt: float,
) -> tuple[Tensor, Tensor]:
    """Specification of `backmap::bead_prior`."""
    with torch.enable_grad():
        x = beads.detach().requires_grad_()

        def distance(table: Tensor) -> Tensor:
            apart = x[..., table[:, 0], :] - x[..., table[:, 1], :]
            return ((apart**2).sum(-1) + 1e-8).sqrt()

        length, stiffness = bond_parameters.T
        energy = (stiffness / 2 * (distance(bonds) - length) ** 2).sum(-1)
        energy = energy + _bending_energy(x, angles, angle_parameters, torsions, torsion_polynomials)

        arms = x[..., centres[:, 1:], :] - x[..., centres[:, :1], :]
        u, v, w = (arms / ((arms**2).sum(-1, keepdim=True) + 1e-8).sqrt()).unbind(-2)
        handedness, stiffness = centre_parameters.T
        chi = (u * torch.linalg.cross(v, w)).sum(-1)
        energy = energy + (stiffness / 2 * (chi - handedness) ** 2).sum(-1)

        energy = energy + kt * ((sigma / distance(pairs)) ** 12).sum(-1)
        (gradient,) = torch.autograd.grad(energy.sum(), x)
    return energy.detach(), gradient


def schnet_energy(
    beads: Tensor,
    features: Tensor,
    filters: Tensor,
    incoming: Tensor,
    mixing: Tensor,
    mixing_bias: Tensor,
    outgoing: Tensor,
    outgoing_bias: Tensor,
    readout: Tensor,
    readout_bias: Tensor,
    readout_weights: Tensor,
    cutoff_nm: float,
) -> tuple[Tensor, Tensor]:
    """Specification of `backmap::schnet_energy`."""
    with torch.enable_grad():
        x = beads.detach().requires_grad_()
        distance = (((x.unsqueeze(-2) - x.unsqueeze(-3)) ** 2).sum(-1) + 1e-8).sqrt()
        itself = torch.eye(len(features), dtype=torch.bool, device=x.device)
        near = (distance < cutoff_nm) & ~itself
        spacing = cutoff_nm / (filters.shape[1] - 1)
        scaled = torch.where(near, distance / spacing, 0.0).unsqueeze(-1)
        knot = scaled.detach().long().squeeze(-1).clamp(max=filters.shape[1] - 2)
        t = scaled - knot.unsqueeze(-1)

        h = features.expand(*beads.shape[:-1], -1)
        for block, table in enumerate(filters):
            (value, slope), (next_value, next_slope) = (table[knot + n].unbind(-2) for n in (0, 1))
            filter_values = (1 - t) ** 2 * ((1 + 2 * t) * value + t * spacing * slope) + t**2 * (
                (3 - 2 * t) * next_value + (t - 1) * spacing * next_slope
            )
            filter_values = torch.where(near.unsqueeze(-1), filter_values, 0.0)
            gathered = (filter_values * (h @ incoming[block].T).unsqueeze(-3)).sum(-2)
            activated = _shifted_softplus(gathered @ mixing[block].T + mixing_bias[block])
            h = h + activated @ outgoing[block].T + outgoing_bias[block]
        energy = (_shifted_softplus(h @ readout.T + readout_bias) * readout_weights).sum((-1, -2))
        if not energy.requires_grad:  # without blocks, nothing depends on positions
            return energy, torch.zeros_like(beads)
        (gradient,) = torch.autograd.grad(energy.sum(), x)
    return energy.detach(), gradient


def encode_neighbourhood(
    positions: Tensor,
    types: Tensor,
    offsets: Tensor,
    query: Tensor,
    position_weight: Tensor,
    position_bias: Tensor,
    type_embedding: Tensor,
    offset_embedding: Tensor,
    inner_weight: Tensor,
    inner_bias: Tensor,
) -> Tensor:
    """Specification of `backmap::encode_neighbourhood`."""
    distance = torch.linalg.vector_norm(positions, dim=-1)
    direction = positions[..., 0, :] / distance[..., :1].clamp_min(0.05)
    numbers = torch.cat([positions.flatten(-2), distance, direction], dim=-1)
    first = functional.linear(numbers, position_weight, position_bias)
    first = first + type_embedding[types.long()] + offset_embedding[offsets.long()]
    features = functional.silu(functional.linear(functional.silu(first), inner_weight, inner_bias))
    score = query @ features.mT / math.sqrt(features.shape[-1])
    hidden = types == len(type_embedding) - 1
    score = score.masked_fill(hidden.unsqueeze(-2), -1e4)
    return torch.softmax(score, dim=-1) @ features


def wave_logits(context: Tensor, waves: Tensor, coefficients: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Specification of `backmap::wave_logits`."""
    hidden = functional.silu(context.unsqueeze(-2) + waves @ coefficients)
    return functional.linear(hidden, weight, bias)


def remove_noise(
    given: Tensor,
    generated: Tensor,
    empty: Tensor,
    normals: Tensor,
    features: Tensor,
    modulation: Tensor,
    pairs: Tensor,
    atoms: Tensor,
    levels: Tensor,
    moves: Tensor,
    step_features: Tensor,
    step_modulation: Tensor,
    entry: Tensor,
    layers: Tensor,
    layer_bias: Tensor,
    leave: Tensor,
    leave_bias: Tensor,
    clip: float,
    furthest: float,
) -> Tensor:
    """Specification of :func:`backmap.ops.remove_noise`."""
    mean, variance, gain, exists = pairs.unbind(-2)
    first, second = torch.triu_indices(generated.shape[-1], generated.shape[-1], 1, device=given.device)
    drawn = generated.repeat_interleave(3, dim=-1)
    sample = torch.where(drawn, normals[..., 0, :], given)
    for step, (level, move_by) in enumerate(zip(levels, moves, strict=True)):
        signal, scale_in, skip, scale_out, level_variance, contact_scale = level
        scaled = (scale_in * sample).unflatten(-1, (-1, 3))
        apart = scaled[..., first, :] - scaled[..., second, :]
        distance = (apart.square().sum(-1) + 1e-8).sqrt() / (signal * scale_in)
        deviation = (distance - mean) / (variance + level_variance).sqrt()
        deviation = deviation.clamp(-furthest, furthest) * exists
        around = atoms.mT.unsqueeze(-3) - (contact_scale * sample).unflatten(-1, (-1, 1, 3))
        weight = torch.exp(-0.5 * around.square().sum(-1))
        push = (weight.unsqueeze(-1) * around).sum(-2)
        inputs = torch.cat([scaled.flatten(-2), deviation, push.flatten(-2), weight.sum(-1)], dim=-1)
        hidden = _from_panels(inputs, entry, features.shape[-1]) + features + step_features[step]
        width = hidden.shape[-1]
        for number, (enter, leave_layer) in enumerate(layers):
            scale, shift = (modulation[..., number, :] + step_modulation[step, number]).chunk(2, dim=-1)
            inner = functional.layer_norm(hidden, [width])
            inner = _from_panels(inner, enter, width) + layer_bias[number, 0]
            inner = functional.silu(inner * (1 + scale) + shift)
            hidden = hidden + _from_panels(inner, leave_layer, width) + layer_bias[number, 1]
        out = _from_panels(hidden, leave, len(leave_bias)) + leave_bias
        move, pull = out.split([given.shape[-1], len(first)], dim=-1)
        by_pair = ((pull + gain * deviation) * exists).unsqueeze(-1) * apart
        by_point = move.unflatten(-1, (-1, 3)).index_add(-2, first, by_pair).index_add(-2, second, -by_pair)
        clean = (skip * sample + scale_out * by_point.flatten(-2)).unflatten(-1, (-1, 3))
        clean = clean.masked_fill(empty.unsqueeze(-1), 0.0).flatten(-2).clamp(-clip, clip)
        moved = move_by[0] * clean + move_by[1] * sample
        if step + 1 < normals.shape[-2]:
            moved = moved + move_by[2] * normals[..., step + 1, :]
        sample = torch.where(drawn, moved, sample)
    return sample


def _from_panels(inputs: Tensor, panels: Tensor, width: int) -> Tensor:
    """Return the products (*, width) of inputs with weights in panels."""
    return inputs @ panels.transpose(0, 1).flatten(1)[:, :width]


def joint_quantities(forms: Tensor, cosine: Tensor, sine: Tensor, waves: Tensor) -> Tensor:
    """Return the quantities (*, previous, quantities, angles) of joints."""
    before = torch.stack([torch.ones_like(cosine), cosine, sine], dim=-1)
    own = torch.einsum("...pm,...mqn->...pqn", before, forms)
    return own @ waves


def joint_penalty(
    forms: Tensor, kinds: Tensor, table: Tensor, cosine: Tensor, sine: Tensor, waves: Tensor
) -> Tensor:
    """Specification of `backmap::joint_penalty`."""
    quantities = joint_quantities(forms, cosine, sine, waves)
    strain, sine_a, sine_b, cosine_a, cosine_b, *more = quantities.unbind(-2)
    cells = table.shape[-1]
    row, column = (
        ((torch.atan2(*torsion) / (2 * math.pi) + 0.5) * cells).long().clamp(0, cells - 1)
        for torsion in ((sine_a, cosine_a), (sine_b, cosine_b))
    )
    strains = torch.stack([strain, *more])
    return table[kinds[..., None, None], row, column] + 0.5 * strains.square().sum(0)


def draw_angle_chains(
    context: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    bias: Tensor,
    forms: Tensor,
    kinds: Tensor,
    table: Tensor,
    offsets: Tensor,
    chains: Tensor,
    uniforms: Tensor,
    known: Tensor | None = None,
) -> Tensor:
    """Specification of `backmap::draw_angle_chains`."""
    classes = len(bias)
    middles = ((torch.arange(classes) + 0.5) / classes - 0.5) * (2 * math.pi)
    waves = torch.stack([torch.ones_like(middles), middles.cos(), middles.sin()]).to(context)
    angles = torch.zeros_like(uniforms[..., 0])
    for chain in chains.tolist():
        angle = uniforms.new_zeros(uniforms.shape[:-2])
        for residue in chain:
            if not 0 <= residue < context.shape[-2]:
                break
            before = torch.stack([torch.ones_like(angle), angle.cos(), angle.sin()], dim=-1)
            seen = context[..., None, residue, :] + before @ coefficients[..., residue, :, :]
            penalty = joint_penalty(
                forms[..., residue, :, :, :], kinds[..., residue], table, angle.cos(), angle.sin(), waves
            )
            logits = functional.linear(functional.silu(seen), weight, bias)
            logits = logits + offsets[..., None, residue, :] - penalty
            cumulative = torch.softmax(logits, dim=-1).cumsum(dim=-1)
            target = uniforms[..., residue, 0] * cumulative[..., -1]
            chosen = (cumulative <= target.unsqueeze(-1)).sum(-1).clamp_max(classes - 1)
            angle = ((chosen + uniforms[..., residue, 1]) / classes - 0.5) * (2 * math.pi)
            if known is not None:
                given = known[..., None, residue]
                angle = torch.where(given.isnan(), angle, given)
            angles[..., residue] = angle
    return angles


def counter_uniform(keys: Tensor, purpose: int, counters: Tensor) -> Tensor:
    """Specification of `backmap::counter_uniform`."""
    for _ in range(counters.dim()):
        keys = keys.unsqueeze(-1)
    stream = _absorb(keys, torch.full_like(keys, purpose))
    bits = _absorb(_absorb(stream, counters), torch.zeros_like(counters))
    return (bits >> 40 & 0xFFFFFF).to(torch.float32) / 2**24


def place_side_chains(
    backbone: Tensor,
    c_beta: Tensor,
    types: Tensor,
    torsions: Tensor,
    rules: Tensor,
    parents: Tensor,
    torsion_indices: Tensor,
    geometry: Tensor,
    ring: Tensor,
    known: Tensor | None = None,
    known_present: Tensor | None = None,
) -> Tensor:
    """Specification of `backmap::place_side_chains`."""
    candidates = torsions.shape[-2]
    angles = functional.pad(torsions, [0, 1])
    atoms = [atom.unsqueeze(-2).expand(*types.shape, candidates, 3) for atom in backbone.unbind(-2)]
    for number in range(rules.shape[1]):
        a, b, c = (
            torch.stack(atoms, dim=-2)
            .gather(-2, index[..., None, None, None].expand(*atoms[0].shape[:-1], 1, 3))
            .squeeze(-2)
            for index in parents[types, number].unbind(-1)
        )
        length, angle, offset = geometry[types, number].unsqueeze(-2).unbind(-1)
        own = torsion_indices[types, number][..., None, None].expand(*types.shape, candidates, 1)
        by_rule = [
            torch.zeros_like(a),
            c_beta.unsqueeze(-2).expand_as(a),
            _place_atom(a, b, c, length, angle, angles.gather(-1, own).squeeze(-1) + offset),
            _place_gamma(a, b, c, angles[..., 0], ring),
            _close_ring(a, b, c, atoms[-1], ring),
        ]
        rule = rules[types, number][..., None, None]
        placed = torch.stack([atom * (rule == which) for which, atom in enumerate(by_rule)]).sum(0)
        if known is not None and known_present is not None:
            kept = known_present[..., number, None, None]
            placed = torch.where(kept, known[..., number, :].unsqueeze(-2), placed)
        atoms.append(placed)
    return torch.stack([*atoms, atoms[0]], dim=-2)[..., 4:-1, :]


def _place_atom(a: Tensor, b: Tensor, c: Tensor, length: Tensor, angle: Tensor, torsion: Tensor) -> Tensor:
    e1 = _direction(c - b)
    e3 = _direction(torch.linalg.cross(b - a, e1))
    e2 = torch.linalg.cross(e3, e1)
    x, radius = -length * torch.cos(angle), length * torch.sin(angle)
    y, z = radius * torch.cos(torsion), radius * torch.sin(torsion)
    return c + x.unsqueeze(-1) * e1 + y.unsqueeze(-1) * e2 + z.unsqueeze(-1) * e3


def _place_gamma(n: Tensor, c_alpha: Tensor, c_beta: Tensor, chi1: Tensor, ring: Tensor) -> Tensor:
    pucker = torch.minimum(torch.maximum(chi1, -ring[3]), ring[3])
    return _place_atom(n, c_alpha, c_beta, ring[0], ring[4] - ring[5] * pucker.square(), pucker)


def _close_ring(n: Tensor, c_alpha: Tensor, c_beta: Tensor, c_gamma: Tensor, ring: Tensor) -> Tensor:
    axis = _direction(n - c_alpha)
    inward = _direction((c_beta - n) - _dot(c_beta - n, axis) * axis)
    normal = torch.linalg.cross(axis, inward)
    centre, radius = n - ring[2] * torch.cos(ring[6]) * axis, ring[2] * torch.sin(ring[6])
    to_gamma = c_gamma - centre
    x, y = _dot(to_gamma, inward), _dot(to_gamma, normal)
    across = torch.sqrt(x.square() + y.square()).clamp_min(1e-9)
    cosine = (_dot(to_gamma, to_gamma) + radius.square() - ring[1].square()) / (2 * radius * across)
    turn = torch.atan2(y, x) - torch.where(y >= 0, 1.0, -1.0) * torch.acos(cosine.clamp(-1, 1))
    return centre + radius * (torch.cos(turn) * inward + torch.sin(turn) * normal)


def _direction(v: Tensor) -> Tensor:
    return v / v.norm(dim=-1, keepdim=True).clamp_min(1e-9)  # zero vectors stay zero


def pack_side_chains(
    candidates: Tensor,
    candidate_present: Tensor,
    backbone: Tensor,
    backbone_present: Tensor,
    radii: Tensor,
    backbone_radii: Tensor,
    following: Tensor,
    uniforms: Tensor,
    strength: float,
    box: Tensor | None = None,
    energies: Tensor | None = None,
    contacts: Tensor | None = None,
    classes: Tensor | None = None,
    backbone_classes: Tensor | None = None,
    reach: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Specification of `backmap::pack_side_chains`."""
    if energies is None:
        energies = candidates.new_zeros(candidates.shape[:-2])
    if contacts is None or classes is None or backbone_classes is None:
        contacts, reach = candidates.new_zeros(1, 1, 2), 1.0
        classes, backbone_classes = torch.zeros_like(radii).long(), torch.zeros_like(backbone_radii).long()
    table = _ContactTable(contacts, classes, backbone_classes, reach)
    batch, residues = candidates.shape[:-4], candidates.shape[-4]
    backbone_present = backbone_present.expand(backbone.shape[:-1])
    frames = [
        _pack_frame(
            c, candidate_present, b, there, radii, backbone_radii, following, u, strength, own_box, e, table
        )
        for c, b, there, u, own_box, e in zip(
            _frames(candidates, 4),
            _frames(backbone, 3),
            _frames(backbone_present, 2),
            _frames(uniforms, 2),
            _boxes(box, batch),
            _frames(energies, 2),
            strict=True,
        )
    ]
    if not frames:
        empty = candidates.new_zeros((*batch, residues))
        return empty.long(), empty
    choice, energy = (torch.stack(part).reshape(*batch, residues) for part in zip(*frames, strict=True))
    return choice, energy


def c_alpha_energy(
    c_alpha: Tensor,
    kinds: Tensor,
    weights: Tensor,
    table: Tensor,
    first_angle: float,
    last_angle: float,
    following: Tensor | None = None,
) -> Tensor:
    """Specification of `backmap::c_alpha_energy` for C-alphas that are not collinear."""
    energy = torch.zeros_like(weights)
    windows = _four_residues(c_alpha.shape[-2], following)
    if not len(windows):
        return energy
    starts = windows[:, 0]
    first, second, third = c_alpha[..., windows, :].diff(dim=-2).unbind(dim=-2)
    angles = torch.pi - torch.stack([_angle_between(first, second), _angle_between(second, third)])
    before, after = torch.linalg.cross(first, second), torch.linalg.cross(second, third)
    sine = second.norm(dim=-1) * (first * after).sum(-1)
    dihedral = torch.atan2(sine, (before * after).sum(-1))
    count, turns = table.shape[1:3]
    place = (angles - first_angle) / (last_angle - first_angle) * (count - 1)
    node = (place.detach() + 0.5).floor().long().clamp(1, count - 2)
    turn = (dihedral + torch.pi) / (2 * torch.pi) * turns
    sector = (turn.detach() + 0.5).floor().long().clamp(0, turns)
    first_weights, second_weights = _spline_weights(place - node)
    turn_weights = _spline_weights(turn - sector)
    found = torch.zeros_like(dihedral)
    for i in range(3):
        for h in range(3):
            for j in range(3):
                weight = first_weights[..., i] * turn_weights[..., h] * second_weights[..., j]
                at = node[0] + i - 1, (sector + h - 1) % turns, node[1] + j - 1
                found = found + weight * table[kinds[starts], *at]
    weights = weights[..., starts]
    energy[..., starts] = torch.where(weights == 0, 0.0, weights * found)
    return energy


def _four_residues(residues: int, following: Tensor | None) -> Tensor:
    """Every residue that three others follow, and those, (windows, 4)."""
    following = _after(residues, following)
    after = torch.cat([following, following.new_tensor([-1])])  # the residue after -1 is -1
    four = [torch.arange(residues)]
    for _ in range(3):
        four.append(after[four[-1]])
    windows = torch.stack(four, dim=1)
    return windows[windows[:, 3] >= 0]


def draw_c_alphas(
    beads: Tensor,
    noise: Tensor,
    bonds: Tensor,
    kinds: Tensor,
    weights: Tensor,
    table: Tensor,
    keys: Tensor,
    steps: Tensor,
    first_angle: float,
    last_angle: float,
    temperature: float,
    step_size: float,
    largest_step: float,
    contact_distance: float,
    contact_strength: float,
    box: Tensor | None = None,
    following: Tensor | None = None,
    other_keys: Tensor | None = None,
    turns: Tensor | None = None,
) -> Tensor:
    """Specification of `backmap::draw_c_alphas` where no residue has more than 32 near partners."""
    boxes = _boxes(box, beads.shape[:-2])
    single = (_frames(beads, 2), _frames(noise, 1), _frames(bonds, 1), _frames(weights, 1))
    drawn = []
    others = keys if other_keys is None else other_keys
    angles = torch.zeros(keys.shape, dtype=beads.dtype) if turns is None else turns
    streams = torch.stack([keys, others], dim=-1).view(-1, 2)
    for bead, spread, bond, weight, stream, angle, count, cell in zip(
        *single, streams, angles.flatten(), steps.flatten(), boxes, strict=True
    ):

        def gradient(
            x: Tensor,
            near: Tensor,
            bead: Tensor = bead,
            spread: Tensor = spread,
            weight: Tensor = weight,
            cell: Tensor | None = cell,
        ) -> Tensor:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                energy = c_alpha_energy(x, kinds, weight, table, first_angle, last_angle, following).sum()
                free = spread > 0
                energy = energy + ((x - bead)[free] / spread[free, None]).square().sum() / 2
                i, j = near.triu().nonzero(as_tuple=True)
                distance = minimum_image(x[i] - x[j], cell).norm(dim=-1)
                contact = (contact_distance - distance).clamp(min=0)
                energy = energy + contact_strength * contact.square().sum()
                return torch.autograd.grad(energy, x)[0] if energy.requires_grad else torch.zeros_like(x)

        x = bead.clone()
        if count > 0:
            _restore_bonds(x, bond, spread, 20, following)
        for n in range(int(count)):
            if n % 10 == 0:
                near = (_all_distances(x, cell) < contact_distance + 0.1) & ~_near_in_chain(bond, following)
            mobility = (spread.square() / 2).clamp(max=step_size).unsqueeze(-1)
            heat = temperature * (int(count) - 1 - n) / int(count)
            first, second = (_nearly_normal(_absorb(key, torch.as_tensor(n)), x) for key in stream)
            kicks = torch.cos(angle) * first + torch.sin(angle) * second
            move = -mobility * gradient(x, near) + torch.sqrt(2 * mobility * heat) * kicks
            length = move.norm(dim=-1, keepdim=True)
            x += torch.where(length > largest_step, largest_step / length, 1.0) * move
            _restore_bonds(x, bond, spread, 2, following)
        if count > 0:
            _restore_bonds(x, bond, spread, 20, following)
        drawn.append(x)
    return torch.stack(drawn).reshape(beads.shape) if drawn else beads.clone()


def least_overlap(
    atoms: Tensor,
    trials: Tensor,
    penalty: Tensor,
    residue: Tensor,
    target: Tensor,
    distance: float,
    box: Tensor | None = None,
) -> Tensor:
    """Specification of `backmap::least_overlap`."""
    standing = atoms.clone().flatten(-3, -2)
    owner = torch.arange(atoms.shape[-3], device=atoms.device).repeat_interleave(atoms.shape[-2])
    choices = []
    for group, own in enumerate(residue.tolist()):
        counts = (owner < own - 1) | (owner > own + 1)
        points = trials[..., group, :, :, :]
        offset = points.unsqueeze(-2) - standing[..., None, None, :, :]
        overlap = (distance - minimum_image(offset, box).norm(dim=-1)).clamp(min=0).nan_to_num(0.0)
        score = penalty[..., group, :] + (overlap**2 * counts).sum((-1, -2))
        choice = score.nan_to_num(math.inf).argmin(-1)
        choices.append(choice)
        chosen = points.gather(-3, choice[..., None, None, None].expand(*choice.shape, 1, *points.shape[-2:]))
        for point, atom in enumerate(target[group].tolist()):
            if atom >= 0:
                standing[..., atom, :] = chosen[..., 0, point, :]
    return torch.stack(choices, -1) if choices else residue.new_zeros(*atoms.shape[:-3], 0)


def find_basins(probabilities: Tensor, smoothing_passes: int) -> Tensor:
    """Specification of :func:`backmap.ops.find_basins`."""
    bins = probabilities.shape[-1]
    smooth = probabilities
    for _ in range(smoothing_passes):
        smooth = 0.5 * smooth + 0.25 * (smooth.roll(1, -1) + smooth.roll(-1, -1))
    uphill = index = torch.arange(bins, device=probabilities.device).expand_as(probabilities)
    for neighbour in ((index - 1) % bins, (index + 1) % bins):
        there, here = smooth.gather(-1, neighbour), smooth.gather(-1, uphill)
        above = (there > here) | ((there == here) & (neighbour < uphill))
        uphill = torch.where(above, neighbour, uphill)
    for _ in range(bins.bit_length()):
        uphill = uphill.gather(-1, uphill)
    return uphill


def step_angle(
    probabilities: Tensor,
    before: Tensor,
    rate: Tensor,
    window: Tensor,
    uniforms: Tensor,
    smoothing_passes: int,
) -> tuple[Tensor, Tensor]:
    """Specification of :func:`backmap.ops.step_angle`."""
    leave = _leaving(probabilities, find_basins(probabilities, smoothing_passes), rate)
    left = uniforms[..., 0] < leave.gather(-1, _bin_of(before, probabilities)).squeeze(-1)
    angle = torch.where(left, _draw_angle(probabilities * leave, uniforms[..., 1:3]), before)
    return _draw_near(probabilities, angle, window, uniforms[..., 3:]), left


def step_rotamers(
    context: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    bias: Tensor,
    moves: Tensor,
    repeats: Tensor,
    leaps_only: Tensor,
    before: Tensor,
    rate: Tensor,
    window: Tensor,
    uniforms: Tensor,
    smoothing_passes: int,
) -> tuple[Tensor, Tensor]:
    """Specification of :func:`backmap.ops.step_rotamers`."""
    after, torsions = before.clone(), before.shape[-1]
    first = torch.full(before.shape[:-1], torsions, device=before.device)
    for chi in range(torsions):
        cosines, sines = torch.cos(after[..., :chi]), torch.sin(after[..., :chi])
        waves = cosines @ coefficients[chi, 0, :chi] + sines @ coefficients[chi, 1, :chi]
        logits = functional.silu(context[..., chi, :] + waves) @ weight[chi] + bias[chi]
        probabilities = torch.softmax(logits, dim=-1)
        both = 0.5 * (probabilities + probabilities.roll(probabilities.shape[-1] // 2, -1))
        probabilities = torch.where(repeats[..., chi, None], both, probabilities)
        anew = first < chi
        often = torch.where(anew, 1e9, rate[..., chi])
        angle, left = step_angle(
            probabilities, before[..., chi], often, window, uniforms[..., chi, :], smoothing_passes
        )
        left = left & moves[..., chi]
        changes = moves[..., chi] & (left | anew | ~leaps_only)
        after[..., chi] = torch.where(changes, angle, before[..., chi])
        first = torch.where(left & ~anew, chi, first)
    return after, first


def voxel_centres(grid_points: int, width: float, like: Tensor) -> Tensor:
    """Return the voxel centres (grid_points,) along an axis, with the dtype and device of `like`."""
    k = torch.arange(grid_points, dtype=like.dtype, device=like.device)
    return (k - grid_points / 2 + 1 / 2) * width / grid_points


def voxelize(coordinates: Tensor, grid_points: int, width: float, sigma: float) -> Tensor:
    """Specification of `backmap::voxelize`, except for factors that count as zero."""
    centres = voxel_centres(grid_points, width, coordinates)
    voxels = torch.stack(torch.meshgrid(centres, centres, centres, indexing="ij"), -1)
    offset = voxels - coordinates[..., None, None, None, :]
    return torch.exp(-(offset**2).sum(-1) / (2 * sigma**2))


def density_to_coordinates(density: Tensor, width: float, logits: bool) -> tuple[Tensor, Tensor]:
    """Specification of `backmap::density_to_coordinates`."""
    weight = torch.sigmoid(density) if logits else density.clamp(min=0)
    if not logits:
        weight = torch.where(density == -math.inf, math.nan, weight)
    total = weight.sum((-1, -2, -3))
    centres = voxel_centres(density.shape[-1], width, density)
    voxels = torch.stack(torch.meshgrid(centres, centres, centres, indexing="ij"), -1)
    first = (weight.unsqueeze(-1) * voxels).sum((-2, -3, -4))
    return first / torch.where(total == 0, 1, total).unsqueeze(-1), total


def _leaving(probabilities: Tensor, basins: Tensor, rate: Tensor) -> Tensor:
    """Probability (*, bins) of leaving the basin of each bin."""
    root = torch.zeros_like(probabilities).scatter_add(-1, basins, probabilities).sqrt()
    out = rate.clamp_max(1e9).unsqueeze(-1) * root.sum(dim=-1, keepdim=True)
    return out / (root.gather(-1, basins) + out).clamp_min(1e-30)


def _bin_of(angle: Tensor, probabilities: Tensor) -> Tensor:
    """Bin (*, 1) of an angle."""
    bins = probabilities.shape[-1]
    turn = torch.remainder(angle / (2 * math.pi) + 0.5, 1.0)
    return (turn * bins).long().clamp_max(bins - 1).unsqueeze(-1)


def _bin_beyond(cumulative: Tensor, target: Tensor) -> Tensor:
    """First bin (*, 1) whose cumulative weight exceeds the target (*, 1); the last possible if none does."""
    return ((cumulative <= target) & (cumulative < cumulative[..., -1:])).sum(dim=-1, keepdim=True)


def _draw_angle(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Angle (*) drawn from bins: the bin by inversion of the cumulative distribution, and the place in it."""
    cumulative = weights.cumsum(dim=-1)
    drawn = _bin_beyond(cumulative, uniforms[..., :1] * cumulative[..., -1:]) + uniforms[..., 1:]
    return ((drawn / weights.shape[-1] - 0.5) * (2 * math.pi)).squeeze(-1)


def _draw_near(probabilities: Tensor, before: Tensor, window: Tensor, uniforms: Tensor) -> Tensor:
    """Angle (*) drawn in a window around the one before, which is placed at random."""
    bins = probabilities.shape[-1]
    cumulative = probabilities.cumsum(dim=-1)
    before_bin = functional.pad(cumulative[..., :-1], [1, 0])
    whole = cumulative[..., -1:]

    def below(place: Tensor) -> Tensor:
        chosen = place.long().clamp_max(bins - 1)
        return before_bin.gather(-1, chosen) + (place - chosen) * probabilities.gather(-1, chosen)

    width = (window / (2 * math.pi) * bins).clamp_max(bins).unsqueeze(-1)
    turn = torch.remainder(before / (2 * math.pi) + 0.5, 1.0).unsqueeze(-1) * bins
    start = torch.remainder(turn - uniforms[..., :1] * width, bins)
    end = start + width
    last = below(torch.remainder(end, bins)) + torch.where(end >= bins, whole, 0.0)
    inside = last - below(start)
    target = torch.remainder(below(start) + uniforms[..., 1:] * inside, whole.clamp_min(1e-30))
    chosen = _bin_beyond(cumulative, target)
    place = (target - before_bin.gather(-1, chosen)) / probabilities.gather(-1, chosen)
    drawn = ((chosen + place.clamp(0.0, 1 - 2.0**-24)) / bins - 0.5) * (2 * math.pi)
    return torch.where(inside > 1e-12, drawn, before.unsqueeze(-1)).squeeze(-1)


def _restore_bonds(x: Tensor, bonds: Tensor, noise: Tensor, rounds: int, following: Tensor | None) -> None:
    """Restore the bond lengths in place by moving both ends: even bonds, odd ones, those of rings."""
    free = (noise > 0).to(x.dtype).unsqueeze(-1)
    after = _after(len(x), following)
    ahead = after == torch.arange(1, len(x) + 1)
    even = torch.arange(len(x)) % 2 == 0
    for _ in range(rounds):
        for group in (ahead & even, ahead & ~even, ~ahead):
            first = (group & (after >= 0) & (bonds > 0)).nonzero().squeeze(-1)
            second = after[first]
            apart = x[second] - x[first]
            movers = (free[first] + free[second]).clamp(min=1)
            share = (1 - bonds[first, None] / apart.norm(dim=-1, keepdim=True)) / movers * apart
            x[first] += free[first] * share
            x[second] -= free[second] * share


def _after(residues: int, following: Tensor | None) -> Tensor:
    """Return the residue after each, by default the next, -1 for none."""
    if following is not None:
        return following
    return torch.tensor([*range(1, residues), -1][:residues], dtype=torch.int64)


def _near_in_chain(bonds: Tensor, following: Tensor | None) -> Tensor:
    """Return the pairs (residues, residues) at most two bonds apart."""
    joined = _are_linked(torch.where(bonds > 0, _after(len(bonds), following), -1)).double()
    return (torch.eye(len(bonds), dtype=torch.float64) + joined + joined @ joined) > 0


def _absorb(state: Tensor, word: Tensor) -> Tensor:
    """SplitMix64 on signed integers."""
    x = (state ^ word) + -7046029254386353131
    x = (x ^ ((x >> 30) & (2**34 - 1))) * -4658895280553007687
    x = (x ^ ((x >> 27) & (2**37 - 1))) * -7723592293110705685
    return x ^ ((x >> 31) & (2**33 - 1))


def _nearly_normal(key: Tensor, like: Tensor) -> Tensor:
    """Return random numbers of the shape of `like`: sums of the four 16-bit words of hashes."""
    bits = _absorb(key, torch.arange(like.numel(), device=like.device).view(like.shape))
    total = torch.stack([(bits >> (16 * word)) & 0xFFFF for word in range(4)]).sum(0)
    return (total - 2 * 65535).to(like.dtype) * (math.sqrt(3) / 65536)


def _angle_between(a: Tensor, b: Tensor) -> Tensor:
    return torch.acos((a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)))


def _spline_weights(t: Tensor) -> Tensor:
    """Return weights (*, 3) of the nodes before, at and after a position t steps from the middle node."""
    inner = torch.stack([0.5 * (0.5 - t) ** 2, 0.75 - t**2, 0.5 * (0.5 + t) ** 2], dim=-1)
    before = torch.stack([-t, 1 + t, torch.zeros_like(t)], dim=-1)
    behind = torch.stack([torch.zeros_like(t), 1 - t, t], dim=-1)
    t = t.unsqueeze(-1)
    return torch.where(t > 0.5, behind, torch.where(t < -0.5, before, inner))


def _bending_energy(
    x: Tensor,
    angles: Tensor,
    angle_parameters: Tensor,
    torsions: Tensor,
    torsion_polynomials: Tensor,
) -> Tensor:
    """Return the energies (*) of angles and torsions of atoms x (*, atoms, 3)."""

    def between(first: Tensor, second: Tensor) -> Tensor:
        return x[..., first, :] - x[..., second, :]

    angle, stiffness = angle_parameters.T
    i, j, k = angles.T
    u, v = between(i, j), between(k, j)
    bend = torch.atan2(torch.linalg.cross(u, v).norm(dim=-1), (u * v).sum(-1)) - angle
    energy = (stiffness / 2 * bend**2).sum(-1)

    first, second, third, fourth = torsions.T
    before, axis, after = between(second, first), between(third, second), between(fourth, third)
    m, n = torch.linalg.cross(before, axis), torch.linalg.cross(axis, after)
    phi = torch.atan2(axis.norm(dim=-1) * (before * n).sum(-1), (m * n).sum(-1))
    powers = phi.cos()[..., None] ** torch.arange(torsion_polynomials.shape[-1], device=x.device)
    even, odd = torsion_polynomials.unbind(-2)
    return energy + ((even * powers).sum(-1) + phi.sin() * (odd * powers).sum(-1)).sum(-1)


def _shifted_softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x)) - math.log(2)


class _ContactTable(NamedTuple):
    contacts: Tensor
    classes: Tensor
    backbone_classes: Tensor
    reach: float


def _contact_energy(table: _ContactTable, own: Tensor, others: Tensor, distance: Tensor) -> Tensor:
    """Return energies (*, own atoms, other atoms) of atoms of given classes at given distances."""
    n_classes, last = table.contacts.shape[0], table.contacts.shape[2] - 1
    if n_classes == 0:
        return torch.zeros_like(distance)
    place = distance.square() * (last / table.reach**2)
    known = ((own >= 0) & (own < n_classes))[:, None] & (others >= 0) & (others < n_classes)
    inside = (place < last) & known
    knot = torch.where(inside, place, 0.0).long()
    part = torch.where(inside, place, 0.0) - knot
    rows = own.clamp(0, n_classes - 1)[:, None].expand_as(knot)
    columns = others.clamp(0, n_classes - 1).expand_as(knot)
    below, above = table.contacts[rows, columns, knot], table.contacts[rows, columns, knot + 1]
    return torch.where(inside, below + part * (above - below), 0.0)


def _pack_frame(
    candidates: Tensor,
    candidate_present: Tensor,
    backbone: Tensor,
    backbone_present: Tensor,
    radii: Tensor,
    backbone_radii: Tensor,
    following: Tensor,
    uniforms: Tensor,
    strength: float,
    box: Tensor | None,
    own_energies: Tensor,
    table: _ContactTable,
) -> tuple[Tensor, Tensor]:
    residues, count = candidates.shape[:2]
    choice = torch.zeros(residues, dtype=torch.int64, device=candidates.device)
    every = torch.arange(residues, device=candidates.device)
    joined = _are_linked(following)

    def energies(i: int) -> Tensor:
        """Return the energy of each candidate of residue i in the current state."""
        own, own_radii = candidates[i][:, candidate_present[i]], radii[i][candidate_present[i]]
        side = candidate_present & (every != i).unsqueeze(-1)
        main = backbone_present & ((every != i) & ~joined[i]).unsqueeze(-1)
        others = torch.cat([candidates[every, choice][side], backbone[main]])
        contact = own_radii[:, None] + torch.cat([radii[side], backbone_radii[main]])
        distance = minimum_image(own[:, :, None] - others, box).norm(dim=-1)
        overlap = ((contact - distance).clamp(min=0) ** 2).sum((-1, -2))
        kinds = torch.cat([table.classes[side], table.backbone_classes[main]])
        contacts = _contact_energy(table, table.classes[i][candidate_present[i]], kinds, distance)
        return (own_energies[i] + strength * overlap + contacts.sum((-1, -2))) * candidate_present[i].any()

    for sweep, uniform in enumerate(uniforms):
        for i in range(residues) if sweep % 2 == 0 else reversed(range(residues)):
            if candidate_present[i].any():
                energy = energies(i)
                cumulative = torch.exp(energy.min() - energy).cumsum(0)
                choice[i] = (cumulative <= uniform[i] * cumulative[-1]).sum().clamp(max=count - 1)
    final = [energies(i)[choice[i]] for i in range(residues)]
    return choice, torch.stack(final) if final else candidates.new_zeros(0)


def _pair_lengths(
    points: Tensor, present: Tensor, pairs: Tensor, box: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return distances (*, pairs) of pairs of points (*, atoms, 3), and whether both points exist."""
    i, j = pairs.unbind(-1)
    distance = minimum_image(points[..., i, :] - points[..., j, :], box).norm(dim=-1)
    return distance, present[..., i] & present[..., j]


def _all_distances(points: Tensor, box: Tensor | None) -> Tensor:
    return minimum_image(points.unsqueeze(-2) - points.unsqueeze(-3), box).norm(dim=-1)


def _are_linked(following: Tensor) -> Tensor:
    """Return which pairs (residues, residues) are neighbours in a chain."""
    after = following[:, None] == torch.arange(len(following), device=following.device)
    return after | after.T


def _take_residues(values: Tensor, index: Tensor) -> Tensor:
    """Return values (*, residues, ...) at index (*, queries, neighbours); padding gives any residue."""
    batch = index.shape[:-2]
    trailing = values.shape[len(batch) + 1 :]
    if values.shape[len(batch)] == 0:
        return values.new_zeros((*index.shape, *trailing))
    pairs = zip(_frames(values, 1 + len(trailing)), _frames(index, 2), strict=True)
    frames = [v[i.clamp(min=0)] for v, i in pairs]
    if not frames:
        return values.new_zeros((*index.shape, *trailing))
    return torch.stack(frames).reshape(*index.shape, *trailing)


def _boxes(box: Tensor | None, batch: torch.Size) -> Sequence[Tensor | None]:
    """Return the box of each frame."""
    return [None] * math.prod(batch) if box is None else _frames(box.expand(*batch, 3, 3), 2)


def _frames(tensor: Tensor, trailing: int) -> list[Tensor]:
    """Split a tensor (*, ...) into frames, whose dimensions are its last `trailing` ones."""
    for _ in range(tensor.dim() - trailing - 1):
        tensor = tensor.flatten(0, 1)
    return list(tensor.unbind(0)) if tensor.dim() > trailing else [tensor]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)


def _unit(v: Tensor) -> Tensor:
    return v / v.norm(dim=-1, keepdim=True)


def descend_onto_beads(
    atoms: Tensor,
    before: Tensor,
    slope: Tensor,
    springs: Tensor,
    spring_length: Tensor,
    spring_stiffness: Tensor,
    centres: Tensor,
    volume: Tensor,
    volume_stiffness: Tensor,
    links: Tensor,
    link_length: Tensor,
    link_stiffness: Tensor,
    parts: Tensor,
    weight: Tensor,
    pull: Tensor,
    beads: Tensor,
    share: Tensor,
    steps: int,
    step_size: float,
    momentum: float,
    largest_step: float,
    places: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Specification of `backmap::descend_onto_beads`; `places` only save time."""
    linked = (links >= 0).all(dim=-1)

    def energy(place: Tensor) -> Tensor:
        distance = torch.linalg.vector_norm(
            place[..., springs[:, 0], :] - place[..., springs[:, 1], :], dim=-1
        )
        ends = place.gather(-2, links.clamp_min(0).flatten(-2)[..., None].expand(*links.shape[:-2], -1, 3))
        apart = torch.linalg.vector_norm(ends[..., 0::2, :] - ends[..., 1::2, :], dim=-1)
        first, second, third = (
            place[..., centres[:, k], :] - place[..., centres[:, 0], :] for k in (1, 2, 3)
        )
        spanned = _dot(torch.linalg.cross(first, second), third)[..., 0]
        return (
            (slope * place).sum()
            + (spring_stiffness * (distance - spring_length).square()).sum()
            + (linked * link_stiffness * (apart - link_length).square()).sum()
            + (volume_stiffness * (spanned - volume).square()).sum()
        )

    place = atoms
    for _ in range(steps):
        ahead = place + momentum * (place - before)
        with torch.enable_grad():
            variable = ahead.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(energy(variable), variable)
        move = -step_size * gradient
        length = torch.linalg.vector_norm(move, dim=-1, keepdim=True).clamp_min(1e-12)
        moved = ahead + move * (length.clamp_max(largest_step) / length)
        parted = weight[:, None] * moved[..., parts[:, 1], :]
        way = share[..., None] * (beads - torch.zeros_like(beads).index_add(-2, parts[:, 0], parted))
        place, before = moved.index_add(-2, parts[:, 1], pull[:, None] * way[..., parts[:, 0], :]), place
    return place, before
