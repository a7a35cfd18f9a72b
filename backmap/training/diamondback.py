"""Training of DiAMoNDBack models: residues of deposited structures, each as its turn would find it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import SLOT_C
from backmap.datasets.corpus import Corpus
from backmap.datasets.residue_environments import Structure, draw_structures, iterate_structures
from backmap.limits import Whole
from backmap.models.chain import Chain
from backmap.models.diamondback.config import DiamondbackConfig
from backmap.models.diamondback.layout import POINTS, Pass
from backmap.models.diamondback.model import DiamondbackModel
from backmap.models.diamondback.representation import Sites, describe, pass_kinds
from backmap.models.tensor_tuples import concatenate, count
from backmap.training.batches import mean_loss, random_batches
from backmap.training.loop import LoopConfig, Seed, Stage, train_stage

_COPIED_RESIDUES = 200_000
"""Residues in the copies of one structure that are described together."""


@dataclass(frozen=True)
class DiamondbackTrainingConfig:
    """How a DiAMoNDBack model is trained.

    Attributes
    ----------
    loop : LoopConfig
        Epochs, batch, learning rate.
    seed : int
        Decides weights, draws, order, steps and noise.
    draws_per_residue : int
        Steps of the diffusion that a residue is seen at each time its environment is read.
    terminal_repeats : int
        How often the ends of chains are shown; 5 in the published fine-tuning.
    mixed_precision : bool
        Half precision in the network, on CUDA.
    """

    loop: LoopConfig
    seed: Seed = 0
    draws_per_residue: Annotated[int, Whole(1, 10_000)] = 1
    terminal_repeats: Annotated[int, Whole(1, 10_000)] = 1
    mixed_precision: bool = True


class DiamondbackTrainingResult(NamedTuple):
    """The trained model with its mean weights, and the history of its training."""

    model: DiamondbackModel
    history: list[dict[str, float]]


def train_diamondback(
    config: DiamondbackConfig,
    training: DiamondbackTrainingConfig,
    data: Corpus,
    held_out: Corpus,
    folder: Path,
    device: torch.device,
    resume: bool,
    start: DiamondbackModel | None = None,
) -> DiamondbackTrainingResult:
    """Train a model.

    Parameters
    ----------
    config, training
        Configurations.
    data, held_out : Corpus
        Training and validation structures.
    folder : Path
        Where the state is kept.
    device : torch.device
        Where to train.
    resume : bool
        Go on from the state in ``folder``.
    start : DiamondbackModel, optional
        Model of the same configuration to fine-tune; new weights by default.
    """
    torch.manual_seed(training.seed)
    model = DiamondbackModel(config).to(device)
    if start is not None:
        model.load_state_dict(start.state_dict())
    stage = DiamondbackStage(model, training, data, held_out, device)
    if start is None:
        model.denoiser.fit(stage.draw(0))
    history = train_stage(stage, folder / "diamondback.state", resume)
    return DiamondbackTrainingResult(model.eval().cpu(), history)


class DiamondbackStage(Stage[Sites]):
    """Data and loss of a DiAMoNDBack model."""

    def __init__(
        self,
        model: DiamondbackModel,
        config: DiamondbackTrainingConfig,
        data: Corpus,
        held_out: Corpus,
        device: torch.device,
    ) -> None:
        self.network, self.loop, self.config = model, config.loop, config
        self.data, self.device = data, device
        self.held_out = concatenate([self._sites(structure) for structure in iterate_structures(held_out)])

    def batches(self, epoch: int) -> Iterator[tuple[Sites, int]]:
        """Residues of an epoch in random order."""
        generator = np.random.default_rng((self.config.seed, 2, epoch))
        return random_batches(self.draw(epoch), self.loop, generator)

    def draw(self, epoch: int) -> Sites:
        """Residues of an epoch; they depend only on its number."""
        generator = np.random.default_rng((self.config.seed, 1, epoch))
        structures = self.loop.drawn_per_epoch
        drawn = draw_structures(self.data, structures, generator, noise_share=0.0, max_noise_nm=0.0)
        return concatenate([self._sites(structure) for structure in drawn])

    @torch.no_grad()
    def _sites(self, structure: Structure) -> Sites:
        """Describe the residues to learn from, chain ends as often as the configuration says."""
        chain = Chain.from_arrays(
            structure.residue_types, structure.chain_index, structure.linked, self.device
        )
        kind = pass_kinds(chain)
        residue = torch.nonzero(self._teaches(structure, kind)).squeeze(-1)
        is_end = kind[residue] != Pass.INTERIOR
        residue = residue.repeat_interleave(torch.where(is_end, self.config.terminal_repeats, 1))
        atoms = torch.from_numpy(structure.coordinates).to(self.device)
        present = torch.from_numpy(structure.present).to(self.device)[None]
        parts = []
        for rows in residue.split(max(1, _COPIED_RESIDUES // chain.n_residues)):
            copies = atoms.expand(len(rows), -1, -1, -1)
            sites, _ = describe(copies, present, chain, rows, kind[rows], target=True)
            parts.append(sites)
        return concatenate(parts)

    def _teaches(self, structure: Structure, kind: Tensor) -> Tensor:
        """Residues (residues,) bool of sound geometry whose frame the structure gives."""
        trusted = torch.from_numpy(structure.trusted).to(self.device)
        carbon = torch.from_numpy(structure.present[:, SLOT_C]).to(self.device)
        before = torch.cat([carbon[:1], carbon[:-1]])
        frame = (kind == Pass.INTERIOR) | torch.where(kind == Pass.FIRST, carbon, before)
        return trusted & (kind >= 0) & frame

    def loss(self, batch: Sites) -> Tensor:
        """Mean loss of residues at random steps of the diffusion."""
        config = self.config
        rows = count(batch) * config.draws_per_residue
        step = torch.randint(self.network.config.steps, (rows,), device=self.device)
        normals = torch.randn(rows, 3 * POINTS, device=self.device)
        half = config.mixed_precision and self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            return self.network.loss(batch, step, normals)

    def validate(self, epoch: int) -> float:
        """Mean loss of the residues held out, at the same steps after every epoch."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            return mean_loss(self.held_out, self.loss, batch=1024)
