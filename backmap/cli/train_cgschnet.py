"""Training of coarse-grained force fields from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from glob import glob, has_magic
from typing import Any

from backmap.cli.train import describe_training, make_folder, require_tables
from backmap.cli.train_temporal import BeadAtoms, bead_mapping
from backmap.cluster.devices import select_device
from backmap.errors import InputError
from backmap.models.configuration import Share, config_from_dict

from .console import show


@dataclass(frozen=True)
class AtomsWithForces:
    """What ``[data]`` names: trajectories of one molecule with forces on its atoms.

    Names of trajectories may be patterns, such as ``run_*.dcd``. Those without forces need
    ``model.noise_nm``. ``aggregation`` and ``force_unit`` are those
    of :mod:`backmap.datasets.mapped_forces`.
    """

    trajectories: tuple[str, ...]
    topology: str
    forces: tuple[str, ...] | None = None
    trajectories_without_forces: tuple[str, ...] = ()
    aggregation: str = "optimal"
    force_unit: str = "kJ/mol/nm"
    constrain_hydrogens: bool = True
    train_share: Share = 0.9

    def __post_init__(self) -> None:
        if not self.trajectories:
            raise ValueError("trajectories is empty; name a trajectory")


def train(arguments: argparse.Namespace, table: dict[str, Any]) -> None:
    """Train and write ``cgschnet.safetensors``."""
    from backmap.cg.config import CgSchNetConfig
    from backmap.datasets.mapped_forces import Aggregation, ForceUnit, load_mapped_forces
    from backmap.models.checkpoint import save_checkpoint
    from backmap.training.cgschnet import CgSchNetTrainingConfig, train_cgschnet

    path = arguments.config
    require_tables(path, table, {"data", "mapping", "model", "training"})
    device = select_device(arguments.device)
    try:
        model = config_from_dict(CgSchNetConfig, table.get("model", {}), "model")
        training = config_from_dict(CgSchNetTrainingConfig, table.get("training", {}), "training")
        source = config_from_dict(AtomsWithForces, table.get("data", {}), "data")
        beads = config_from_dict(BeadAtoms, table.get("mapping", {}), "mapping")
        data = load_mapped_forces(
            _matching(source.trajectories, "trajectories"),
            source.topology,
            source.forces,
            without_forces=_matching(source.trajectories_without_forces, "trajectories_without_forces"),
            mapping_of=partial(bead_mapping, beads),
            aggregation=_one_of(Aggregation, source.aggregation, "aggregation"),
            unit=_one_of(ForceUnit, source.force_unit, "force_unit"),
            constrain_hydrogens=source.constrain_hydrogens,
            temperature=model.temperature_kelvin,
            train_share=source.train_share,
        )
        make_folder(arguments.output)
        result = train_cgschnet(model, training, data, arguments.output, device, arguments.resume)
    except (InputError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
    errors = result.errors
    provenance = {
        **describe_training(training, data.train, data.held_out, result.history),
        "data": asdict(source),
        "force_mapping": data.force_mapping.weights.tolist(),
        "force_weights": result.targets.weights.tolist(),
        "force_errors": errors._asdict(),
    }
    output = arguments.output / "cgschnet.safetensors"
    save_checkpoint(output, result.force_field.to_checkpoint(provenance))
    kind = f"mapped and of noise of {model.noise_nm:g} nm" if model.noise_nm else "mapped"
    show(
        f"forces on held-out frames, root mean square per component in kJ/mol/nm: {kind} "
        f"{errors.target**0.5:.1f}, left by the prior {errors.prior**0.5:.1f}, left by prior and network "
        f"{errors.network**0.5:.1f}"
    )
    show(f"wrote {output}")


def _matching(names: Iterable[str], key: str) -> list[str]:
    """Return the files that names or patterns stand for, those of each pattern in alphabetical order."""
    found = []
    for name in names:
        files = sorted(glob(name)) or [name]
        if files == [name] and has_magic(name):
            raise InputError(f"data.{key}: no file matches {name}")
        found += files
    return found


def _one_of(kind: Any, value: str, name: str) -> Any:
    """Return a member of an enumeration by its value."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(f'"{member.value}"' for member in kind)
        raise InputError(f'data.{name} is "{value}"; use one of {known}') from None
