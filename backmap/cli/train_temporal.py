"""Training of temporal models from the command line, and configurations for new systems."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backmap.cli.train import describe_training, make_folder, require_tables
from backmap.cluster.devices import select_device
from backmap.errors import InputError

from .console import show

if TYPE_CHECKING:
    import torch

    from backmap.chemistry import LinearMapping, Molecule
    from backmap.datasets.frame_pairs import FramePairs
    from backmap.models.temporal.config import TemporalConfig
    from backmap.models.temporal.model import TemporalModel
    from backmap.physics.force_field import ForceField
    from backmap.training.temporal import TemporalTrainingConfig

_SAMPLES = 10
"""Held-out frames written after each validation."""


def train(arguments: argparse.Namespace, table: dict[str, Any]) -> None:
    """Train and write ``temporal.safetensors``."""

    from backmap.models.checkpoint import save_checkpoint
    from backmap.training.temporal import train_temporal

    path = arguments.config
    require_tables(path, table, {"data", "mapping", "model", "training", "energy"})
    device = select_device(arguments.device)
    try:
        model, training = _configurations(table)
        pairs, molecule = _data(table.get("data", {}), model)
        data, held_out = pairs.split(float(table["data"].get("train_share", 0.95)))
        mapping = bead_mapping(table.get("mapping", {}), molecule)
        topology, forces = table["data"]["topology"], table.get("energy", {})
        energy = _energy(forces, topology, device) if training.weights.energy else None
        force_field = _force_field(forces, topology)
        make_folder(arguments.output)
        result = train_temporal(
            model,
            training,
            molecule,
            mapping,
            data,
            held_out,
            arguments.output,
            device,
            arguments.resume,
            energy,
            _sampler(held_out, arguments.output),
        )
    except (InputError, ValueError, TypeError, KeyError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise InputError(f"{path}: {reason}") from None
    provenance = describe_training(training, data, held_out, result.history)
    result.model.force_field = force_field
    output = arguments.output / "temporal.safetensors"
    save_checkpoint(output, result.model.to_checkpoint(provenance))
    show(f"wrote {output}")


def suggest(trajectory: str, topology: str, bead_names: str) -> str:
    """Write a configuration for the molecule of a trajectory.

    Parameters
    ----------
    trajectory, topology : str
        All-atom frames.
    bead_names : str
        Names of the atoms that are beads, separated by commas.

    Raises
    ------
    InputError
        If the files cannot be read or no atom has such a name.
    """
    import torch

    from backmap.datasets.frame_pairs import load_frame_pairs
    from backmap.models.temporal.grid import suggest_grid
    from backmap.models.temporal.internal_coordinates import placement_rows
    from backmap.training.temporal import radius_of

    try:
        pairs, molecule = load_frame_pairs([trajectory], topology, previous_frames=1)
        mapping = bead_mapping({"names": [name.strip() for name in bead_names.split(",")]}, molecule)
    except ValueError as error:
        raise InputError(f"{trajectory}: {error}") from None
    radius = radius_of(torch.from_numpy(pairs.coordinates))
    width, sigma = suggest_grid(radius)
    large = molecule.atoms > 100
    try:
        placement_rows(molecule, mapping)
        representation, reason = "internal-coordinates", "every atom follows from the beads along bonds"
    except ValueError as error:
        representation, reason = "voxels", str(error)
    atoms = ", ".join(str(atom) for atom in mapping.bead_atoms or ())
    return _SUGGESTION.format(
        atoms_count=molecule.atoms,
        beads=mapping.beads,
        frames=len(pairs.coordinates),
        radius=radius,
        trajectory=trajectory,
        topology=topology,
        atoms=atoms,
        representation=representation,
        reason=reason,
        interval=pairs.frame_interval_ps,
        width=width,
        sigma=sigma,
        channels=64 if large else 32,
        latent=64 if large else 32,
        hidden=512 if large else 256,
        regression="true" if large else "false",
    )


_SUGGESTION = """\
# {atoms_count} atoms, {beads} beads, {frames} frames; atoms lie up to {radius:.3f} nm from their centre.

[data]
trajectories = ["{trajectory}"]
topology = "{topology}"
train_share = 0.95

[mapping]
atoms = [{atoms}]  # counted from 0

[model]
representation = "{representation}"  # {reason}
frame_interval_ps = {interval:g}  # as the file says; a DCD file does not say

[model.internal]
hidden = {hidden}
latent = {latent}
regression = {regression}  # true where the frames are few for so many atoms

[model.voxels]  # if representation = "voxels"
grid_points = 12
width_nm = {width:g}
sigma_nm = {sigma:g}
channels = {channels}
latent = {latent}

[training]
seed = 0

[training.loop]
epochs = 100
drawn_per_epoch = 51200
batch = 512

[training.weights]  # with voxels: 1 each, as published
coordinates = 0.0
beads = 0.0
distances = 0.0
"""


def bead_mapping(table: dict[str, Any], molecule: Molecule) -> LinearMapping:
    """Make the mapping of a configuration: atoms by number or by name, or means of atoms.

    Raises
    ------
    ValueError
        With one sentence, if the table says nothing usable.
    """
    import numpy as np

    from backmap.chemistry import LinearMapping

    known = [key for key in ("atoms", "names", "bead") if key in table]
    if len(table) != 1 or not known:
        raise ValueError(
            "[mapping] needs one of atoms = [numbers], names = [atom names], or [[mapping.bead]]"
        )
    if "atoms" in table:
        return LinearMapping.from_atoms(table["atoms"], molecule)
    if "names" in table:
        chosen = [atom for atom, name in enumerate(molecule.atom_names) if name in table["names"]]
        if not chosen:
            raise ValueError(f"no atom of the molecule is named {' or '.join(table['names'])}")
        return LinearMapping.from_atoms(chosen, molecule)
    weights = np.zeros((len(table["bead"]), molecule.atoms))
    for row, bead in zip(weights, table["bead"], strict=True):
        shares = np.asarray(bead.get("weights", [1.0] * len(bead["atoms"])), dtype=np.float64)
        row[bead["atoms"]] = shares / shares.sum()
    names = tuple(bead.get("name", f"B{number + 1}") for number, bead in enumerate(table["bead"]))
    return LinearMapping(weights, names)


def _configurations(table: dict[str, Any]) -> tuple[TemporalConfig, TemporalTrainingConfig]:
    from backmap.models.configuration import config_from_dict
    from backmap.models.temporal.config import TemporalConfig
    from backmap.training.temporal import TemporalTrainingConfig

    model = config_from_dict(TemporalConfig, table.get("model", {}), "model")
    return model, config_from_dict(TemporalTrainingConfig, table.get("training", {}), "training")


def _data(table: dict[str, Any], model: TemporalConfig) -> tuple[FramePairs, Molecule]:
    from backmap.datasets.frame_pairs import load_frame_pairs

    return load_frame_pairs(
        table["trajectories"], table["topology"], model.previous_frames, int(table.get("stride", 1))
    )


def _energy(
    table: dict[str, Any], topology: str, device: torch.device
) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """The potential of a force field's files, if any are named."""
    if not table:
        return None
    import mdtraj

    from backmap.physics import potential_from_files

    return potential_from_files(mdtraj.load_topology(topology), table["force_field"]).to(device)


def _force_field(table: dict[str, Any], topology: str) -> ForceField | None:
    """The force field that made the data, if one is named, for the model's file."""
    if not table:
        return None
    import mdtraj

    from backmap.physics import force_field_from_files

    constrained = bool(table.get("constrain_hydrogens", True))
    return force_field_from_files(
        mdtraj.load_topology(topology), table["force_field"], constrain_hydrogens=constrained
    )


def _sampler(held_out: FramePairs, folder: Path) -> Callable[[TemporalModel, int], None]:
    """Write held-out frames as the model decodes them from their latent codes, one file a validation."""
    import numpy as np
    import torch

    def write(model: TemporalModel, epoch: int) -> None:
        from backmap.io import to_mdtraj
        from backmap.io.atom_list import AtomList

        rows = np.linspace(held_out.present[0], held_out.present[-1], _SAMPLES).astype(np.int64)
        device = model.mapping_weights.device
        frame, previous = (torch.from_numpy(part).to(device) for part in held_out.take(rows))
        decoded = model.decode(model.encode(frame, previous), model.beads_of(frame), previous)
        samples = folder / "samples"
        samples.mkdir(exist_ok=True)
        trajectory = to_mdtraj(AtomList.of_molecule(model.molecule), decoded.cpu().numpy())
        trajectory.save(str(samples / f"epoch_{epoch:05d}.pdb"), force_overwrite=True)

    return write
