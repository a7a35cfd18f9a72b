"""Training of temporal models from the command line, and configurations for new systems."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backmap.cli.train import describe_training, make_folder, require_tables
from backmap.cluster.devices import select_device
from backmap.errors import InputError
from backmap.models.configuration import Count, Factor, Number, Share, config_from_dict

from .console import show

if TYPE_CHECKING:
    from backmap.chemistry import LinearMapping, Molecule
    from backmap.datasets.frame_pairs import FramePairs
    from backmap.models.temporal.config import TemporalConfig
    from backmap.models.temporal.model import TemporalModel
    from backmap.training.temporal import TemporalTrainingConfig

_SAMPLES = 10
"""Held-out frames written after each validation."""


@dataclass(frozen=True)
class MovingMolecule:
    """What ``[data]`` names: trajectories of one molecule, and how they are cut."""

    trajectories: tuple[str, ...]
    topology: str
    stride: Number = 1
    train_share: Share = 0.95

    def __post_init__(self) -> None:
        if not self.trajectories:
            raise ValueError("trajectories is empty; name a trajectory")


@dataclass(frozen=True)
class MeanBead:
    """A bead that is a mean of atoms, counted from 0."""

    atoms: tuple[Count, ...]
    weights: tuple[Factor, ...] | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if not self.atoms or len(set(self.atoms)) < len(self.atoms):
            raise ValueError("a bead needs atoms, each of them once")
        if self.weights is not None and (len(self.weights) != len(self.atoms) or not sum(self.weights)):
            raise ValueError("a bead needs as many weights as atoms, not all of them 0")


@dataclass(frozen=True)
class BeadAtoms:
    """What ``[mapping]`` says of beads: atoms by number or by name, or means of atoms."""

    atoms: tuple[Count, ...] | None = None
    names: tuple[str, ...] | None = None
    bead: tuple[MeanBead, ...] | None = None

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.atoms, self.names, self.bead)) != 1:
            raise ValueError("one of atoms = [numbers], names = [atom names], or [[mapping.bead]] is needed")


@dataclass(frozen=True)
class ForceFieldFiles:
    """What ``[energy]`` says: OpenMM's files of the force field that made the data."""

    force_field: tuple[str, ...]
    constrain_hydrogens: bool = True


def train(arguments: argparse.Namespace, table: dict[str, Any]) -> None:
    """Train and write ``temporal.safetensors``."""

    from backmap.datasets.frame_pairs import load_frame_pairs
    from backmap.io import load_topology
    from backmap.models.checkpoint import save_checkpoint
    from backmap.physics import force_field_from_files, potential_from_files
    from backmap.training.temporal import train_temporal

    path = arguments.config
    require_tables(path, table, {"data", "mapping", "model", "training", "energy"})
    device = select_device(arguments.device)
    try:
        model, training = _configurations(table)
        source = config_from_dict(MovingMolecule, table.get("data", {}), "data")
        beads = config_from_dict(BeadAtoms, table.get("mapping", {}), "mapping")
        forces = config_from_dict(ForceFieldFiles, table["energy"], "energy") if "energy" in table else None
        pairs, molecule = load_frame_pairs(
            source.trajectories, source.topology, model.previous_frames, source.stride
        )
        data, held_out = pairs.split(source.train_share)
        mapping = bead_mapping(beads, molecule)
        energy = force_field = None
        if forces is not None:
            topology = load_topology(source.topology)
            force_field = force_field_from_files(
                topology, forces.force_field, constrain_hydrogens=forces.constrain_hydrogens
            )
            if training.weights.energy:
                energy = potential_from_files(topology, forces.force_field).to(device)
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
    except (InputError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
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
        names = tuple(name.strip() for name in bead_names.split(","))
        mapping = bead_mapping(BeadAtoms(names=names), molecule)
    except ValueError as error:
        raise InputError(f"{trajectory}: {error}") from None
    radius = radius_of(torch.from_numpy(pairs.coordinates))
    width, sigma = suggest_grid(radius)
    large = molecule.n_atoms > 100
    try:
        placement_rows(molecule, mapping)
        representation, reason = "internal-coordinates", "every atom follows from the beads along bonds"
    except ValueError as error:
        representation, reason = "voxels", str(error)
    atoms = ", ".join(str(atom) for atom in mapping.bead_atoms or ())
    return _SUGGESTION.format(
        atoms_count=molecule.n_atoms,
        beads=mapping.n_beads,
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


def bead_mapping(beads: BeadAtoms, molecule: Molecule) -> LinearMapping:
    """Make the mapping of a configuration.

    Raises
    ------
    ValueError
        With one sentence, if the molecule has no such atoms.
    """
    import numpy as np

    from backmap.chemistry import LinearMapping

    if beads.atoms is not None:
        return LinearMapping.from_atoms(beads.atoms, molecule)
    if beads.names is not None:
        chosen = [atom for atom, name in enumerate(molecule.atom_names) if name in beads.names]
        if not chosen:
            raise ValueError(f"no atom of the molecule is named {' or '.join(beads.names)}")
        return LinearMapping.from_atoms(chosen, molecule)
    means = beads.bead or ()
    weights = np.zeros((len(means), molecule.n_atoms))
    for row, bead in zip(weights, means, strict=True):
        beyond = max(bead.atoms)
        if beyond >= molecule.n_atoms:
            raise ValueError(f"bead atom {beyond} is beyond the {molecule.n_atoms} atoms of the molecule")
        shares = np.asarray(bead.weights or [1.0] * len(bead.atoms))
        row[list(bead.atoms)] = shares / shares.sum()
    names = tuple(bead.name or f"B{number + 1}" for number, bead in enumerate(means))
    return LinearMapping(weights, names)


def _configurations(table: dict[str, Any]) -> tuple[TemporalConfig, TemporalTrainingConfig]:
    from backmap.models.temporal.config import TemporalConfig
    from backmap.training.temporal import TemporalTrainingConfig

    model = config_from_dict(TemporalConfig, table.get("model", {}), "model")
    return model, config_from_dict(TemporalTrainingConfig, table.get("training", {}), "training")


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
