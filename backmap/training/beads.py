"""Training of the network that estimates C-alphas from the beads of a coarse-grained model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import SLOT_CA
from backmap.chemistry.bead_mapping import BeadMapping, load_mapping
from backmap.datasets.corpus import Corpus
from backmap.limits import Real
from backmap.models.beads.estimator import CAlphaEstimator, EstimatorConfig, Reach
from backmap.models.beads.evidence import bead_table, c_alpha_is_main
from backmap.models.chain import Chain
from backmap.models.configuration import Depth, Share, Width
from backmap.training.bead_noise import BeadBatch, chance_noise, measure_distances
from backmap.training.loop import LoopConfig, Seed, Stage, train_stage

_LONGEST_STRETCH = 60
_MOST_STRUCTURES_MEASURED = 1000
_CHANCE_QUANTILE = 0.99


@dataclass(frozen=True)
class BeadTrainingConfig:
    """How an estimator is trained.

    Attributes
    ----------
    seed : int
        Decides weights, draws, noise and order.
    noise_share, max_noise_nm : float
        Share of structures whose beads are noisy, and the largest standard deviation of a coordinate.
    c_alpha_share : float
        Share of structures in which some stretches have C-alphas instead of the mapping's main bead.
    estimator : LoopConfig
        The training loop; ``batch`` counts structures.
    """

    estimator: LoopConfig
    seed: Seed = 0
    noise_share: Share = 0.5
    max_noise_nm: Annotated[float, Real(0.0, 1.0)] = 0.02
    c_alpha_share: Share = 0.0


@dataclass(frozen=True)
class EstimatorShape:
    """Which beads an estimator is trained for, and its size; see :class:`EstimatorConfig`.

    Attributes
    ----------
    mapping : str
        Name of a shipped mapping, or the file of one.
    reach, width, layers : int
        Sizes of the network.
    """

    mapping: str
    reach: Reach = 3
    width: Width = 192
    layers: Depth = 2


class EstimatorStage(Stage[BeadBatch]):
    """Data and loss of an estimator."""

    def __init__(
        self,
        network: CAlphaEstimator,
        mapping: BeadMapping,
        config: BeadTrainingConfig,
        data: Corpus,
        held_out: Corpus,
        device: torch.device,
    ) -> None:
        self.network, self.loop, self.config = network, config.estimator, config
        self.mapping, self.data, self.device = mapping, data, device
        parts = [range(number, number + 1) for number in range(held_out.n_structures)]
        self.held_out = self._batches_of(held_out, parts, config, 3)
        exact = replace(config, noise_share=0.0, c_alpha_share=0.0)
        self.exact = self._batches_of(held_out, parts, exact, 4)

    def batches(self, epoch: int) -> Iterator[tuple[BeadBatch, int]]:
        """Structures in random order."""
        generator = np.random.default_rng((self.config.seed, 1, epoch))
        weights = self.data.weights / self.data.weights.sum()
        drawn = generator.choice(len(weights), self.loop.drawn_per_epoch, p=weights)
        for first in range(0, len(drawn) - self.loop.batch + 1, self.loop.batch):
            part = drawn[first : first + self.loop.batch]
            yield self._batch(self.data, part, self.config, generator), len(part)

    def _batches_of(
        self, corpus: Corpus, parts: Sequence[range], config: BeadTrainingConfig, stream: int
    ) -> list[BeadBatch]:
        generator = np.random.default_rng((config.seed, stream))
        return [self._batch(corpus, part, config, generator) for part in parts]

    def _batch(
        self,
        corpus: Corpus,
        structures: Sequence[int] | np.ndarray,
        config: BeadTrainingConfig,
        generator: np.random.Generator,
    ) -> BeadBatch:
        """Coarse-grain structures, laid one after the other."""
        spans = [np.arange(*corpus.offsets[number : number + 2]) for number in structures]
        rows = np.concatenate(spans)
        types = corpus.residue_types[rows]
        lengths = [len(span) for span in spans]
        c_alphas = np.concatenate([_stretches(length, config.c_alpha_share, generator) for length in lengths])
        noise = np.repeat(
            generator.uniform(0, config.max_noise_nm, len(spans))
            * (generator.random(len(spans)) < config.noise_share),
            lengths,
        )
        layout = self.mapping.layout(types, c_alphas)
        beads = layout.image(corpus.coordinates[rows])
        beads = beads + noise[layout.residues, None] * generator.standard_normal(beads.shape)
        needed = (layout.weights > 0) & ~corpus.present[rows][layout.residues]
        whole = corpus.trusted[rows] & (np.bincount(layout.residues, needed.any(axis=1), len(rows)) == 0)
        linked = corpus.linked[rows] & whole & np.append(whole[1:], False)
        linked[np.cumsum(lengths) - 1] = False
        centre = np.nan_to_num(beads).mean(axis=0)
        device = self.device
        return BeadBatch(
            torch.from_numpy(np.nan_to_num(beads - centre)).float().to(device)[None],
            bead_table(layout, device),
            Chain.from_arrays(types, np.zeros_like(types), linked, device),
            torch.from_numpy(corpus.coordinates[rows, SLOT_CA] - centre).float().to(device),
            torch.from_numpy(whole).to(device),
        )

    def loss(self, batch: BeadBatch) -> Tensor:
        """Mean negative log-likelihood of the C-alphas, up to a constant."""
        squared, noise = self._deviations(batch)
        losses = squared / (2 * noise.square()) + 3 * noise.log()
        return losses.sum() / max(1, len(losses))  # all beads of a batch may be C-alphas

    def _deviations(self, batch: BeadBatch) -> tuple[Tensor, Tensor]:
        """Squared deviations (n,) in nm^2 of C-alphas that are not beads, and predicted deviations (n,)."""
        estimate, noise = self.network(batch.beads, batch.table, batch.chain)
        connected = batch.chain.has_neighbour(-1) | batch.chain.has_neighbour(1)
        rows = batch.counted & connected & ~c_alpha_is_main(batch.table, batch.chain.n_residues)
        return (estimate[0] - batch.c_alpha)[rows].square().sum(dim=-1), noise[0, rows]

    def validate(self, epoch: int) -> float:
        """Mean loss of the structures held out."""
        return float(np.mean([float(self.loss(batch)) for batch in self.held_out]))

    @torch.no_grad()
    def rmsd_nm(self) -> float:
        """Root mean square distance in nm of estimated C-alphas, on held-out structures without noise."""
        self.network.eval()
        return float(torch.cat([self._deviations(batch)[0] for batch in self.exact]).mean().sqrt())

    @torch.no_grad()
    def measure_noise(self) -> float:
        """Measure the distances that noise is estimated from; return the noise in nm seen by chance."""
        self.network.eval()
        step = -(-self.data.n_structures // _MOST_STRUCTURES_MEASURED)
        parts = [range(number, number + 1) for number in range(0, self.data.n_structures, step)]
        exact = replace(self.config, noise_share=0.0, c_alpha_share=0.0)
        batches = self._batches_of(self.data, parts, exact, 5)
        measure_distances(self.network, batches, self.config.seed)
        seen = [chance_noise(self.network, batch) for batch in batches + self.exact]
        return float(np.quantile(seen, _CHANCE_QUANTILE))


class EstimatorResult(NamedTuple):
    """A network with its mean weights, the history of its training, and its error on held-out structures."""

    estimator: CAlphaEstimator
    history: list[dict[str, float]]
    rmsd_nm: float


def train_estimator(
    shape: EstimatorShape,
    training: BeadTrainingConfig,
    data: Corpus,
    held_out: Corpus,
    folder: Path,
    device: torch.device,
    resume: bool,
) -> EstimatorResult:
    """Train an estimator.

    Parameters
    ----------
    shape, training
        Configurations.
    data, held_out : Corpus
        Training and validation structures.
    folder : Path
        Folder for the state.
    device : torch.device
        Where to train.
    resume : bool
        Continue from the state in ``folder``.
    """
    mapping = load_mapping(shape.mapping)
    torch.manual_seed(training.seed)
    config = EstimatorConfig(
        mapping.name, mapping.digest, mapping.most_beads, shape.reach, shape.width, shape.layers
    )
    network = CAlphaEstimator(config).to(device)
    stage = EstimatorStage(network, mapping, training, data, held_out, device)
    history = train_stage(stage, folder / "estimator.state", resume)
    network.config = replace(config, chance_noise_nm=stage.measure_noise())
    return EstimatorResult(network, history, stage.rmsd_nm())


def _stretches(length: int, share: float, generator: np.random.Generator) -> np.ndarray:
    """Mark stretches (residues,) bool that have C-alphas as beads, in a share of the structures."""
    marked = np.zeros(length, dtype=bool)
    if generator.random() < share:
        for _ in range(1 + length // (2 * _LONGEST_STRETCH)):
            first = generator.integers(-_LONGEST_STRETCH // 2, length)
            marked[max(0, first) : max(0, first + generator.integers(1, _LONGEST_STRETCH))] = True
    return marked
