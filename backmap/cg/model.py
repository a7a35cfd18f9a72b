"""The coarse-grained force field CGSchNet: a prior and a network, with forces as exact gradients."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backmap.cg.config import FAMILY, CgSchNetConfig, CgSchNetDescription
from backmap.cg.prior import Prior
from backmap.cg.schnet import SchNet
from backmap.chemistry import LinearMapping, Molecule
from backmap.chemistry.bead_graph import BeadGraph, molecule_of_beads
from backmap.chemistry.constants import BOLTZMANN
from backmap.errors import InputError
from backmap.models.checkpoint import Checkpoint, load_checkpoint
from backmap.models.configuration import config_from_dict

_WEIGHTS = Path(__file__).parents[1] / "weights" / "cg"


class CgForceField(nn.Module):
    """Potential of mean force of the beads of one molecule.

    Parameters
    ----------
    config : CgSchNetConfig
        Temperature and sizes.
    molecule : Molecule
        Atoms that the beads stand for.
    mapping : LinearMapping
        Positions of the beads.

    Attributes
    ----------
    graph : BeadGraph
        Beads, bonds between them, and masses.
    beads : Molecule
        The beads as a molecule of their own.
    scale : Tensor, ()
        Energy in kJ/mol that the network's output is multiplied by.
    start : Tensor, (frames, beads, 3)
        Frames of the training data, in nm, to start simulations from.
    """

    scale: Tensor
    start: Tensor

    def __init__(self, config: CgSchNetConfig, molecule: Molecule, mapping: LinearMapping) -> None:
        super().__init__()
        self.config, self.molecule, self.mapping = config, molecule, mapping
        self.graph = BeadGraph.of(molecule, mapping)
        self.beads = molecule_of_beads(molecule, mapping, self.graph)
        self.kt = BOLTZMANN * config.temperature_kelvin
        self.prior = Prior(self.graph, self.kt)
        self.network = SchNet(config.network, torch.tensor(kinds_of_beads(self.beads)))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("start", torch.zeros(0, mapping.n_beads, 3))

    def forward(self, positions: Tensor) -> Tensor:
        """Return the energies (batch,) in kJ/mol of beads (batch, beads, 3) in nm."""
        return self.prior(positions) + self.scale * self.network(positions)

    @torch.jit.export
    def energy_and_forces(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies (batch,) in kJ/mol and forces (batch, beads, 3) in kJ/mol/nm.

        Gradients must be enabled where it is called.
        """
        at = positions.detach().requires_grad_(True)
        energy = self(at)
        gradient = torch.autograd.grad([energy.sum()], [at])[0]
        assert gradient is not None
        return energy.detach(), -gradient

    @torch.jit.unused
    def to_checkpoint(self, provenance: dict[str, Any]) -> Checkpoint:
        """Return everything needed to simulate."""
        config = {
            "force_field": asdict(self.config),
            "molecule": self.molecule.to_dict(),
            "mapping": self.mapping.to_dict(),
        }
        return Checkpoint(FAMILY, config, dict(self.state_dict()), provenance)

    @classmethod
    @torch.jit.unused
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "CgForceField":
        """Create the force field of a checkpoint.

        Raises
        ------
        InputError
            If weights and configuration do not match.
        """
        described = config_from_dict(CgSchNetDescription, checkpoint.config)
        start = checkpoint.tensors.get("start", torch.zeros(0))

        def make() -> CgForceField:
            mapping = LinearMapping.from_dict(asdict(described.mapping))
            force_field = cls(described.force_field, described.molecule, mapping)
            force_field.start = torch.zeros(len(start) if start.dim() else 0, mapping.n_beads, 3)
            return force_field

        force_field = checkpoint.build(make)
        checkpoint.load_weights(force_field)
        return force_field


def shipped_force_fields() -> dict[str, Path]:
    """Return the files of the force fields shipped with backmap, by name."""
    return {path.stem: path for path in sorted(_WEIGHTS.glob("*.safetensors"))}


def require_force_field(name: str | Path) -> Path:
    """Return the file of a force field named by the user. Raises InputError if it does not exist."""
    shipped = shipped_force_fields()
    if str(name) in shipped:
        return shipped[str(name)]
    if Path(name).is_file():
        return Path(name)
    known = ", ".join(shipped) or "none"
    raise InputError(f"force field {name}: neither a shipped one ({known}) nor a file")


def load_force_field(name: str | Path) -> CgForceField:
    """Read a force field, ready to simulate.

    Parameters
    ----------
    name : str or path
        Name of a shipped one, or a file from ``backmap train cgschnet``.

    Raises
    ------
    InputError
        If there is no such file or it holds something else.
    """
    path = require_force_field(name)
    checkpoint = load_checkpoint(path)
    if checkpoint.family != FAMILY:
        raise InputError(
            f"{path}: is for {checkpoint.family} models; give a force field made by `backmap train cgschnet`"
        )
    try:
        return CgForceField.from_checkpoint(checkpoint).eval()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def kinds_of_beads(beads: Molecule) -> list[int]:
    """Number the kinds of beads as they appear: beads alike in residue and in name are of one kind."""
    kinds: dict[tuple[str, str], int] = {}
    named = zip(beads.residue_names, beads.atom_names, strict=True)
    return [kinds.setdefault(name, len(kinds)) for name in named]
