"""Training of the protein model.

The peptide planes come first, then the side chains on backbones that the planes give, and at last the
contacts of side chains that both give. What the configuration leaves out stays as in the model to start from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from backmap.chemistry import RESIDUE_NAMES, SLOT_CB, SLOT_O
from backmap.datasets.corpus import Corpus
from backmap.datasets.residue_environments import Structure, draw_structures, iterate_structures
from backmap.errors import InputError
from backmap.limits import Real
from backmap.models.chain import Chain
from backmap.models.configuration import Share
from backmap.models.protein.backbone import END_CANDIDATES, END_UNIFORMS, BackboneBuilder, chain_ends
from backmap.models.protein.config import ProteinConfig
from backmap.models.protein.geometry import classify_angle
from backmap.models.protein.model import ProteinModel
from backmap.models.protein.peptide_planes import (
    EncodedPeptides,
    PeptideFrames,
    PeptidePlaneNetwork,
    PeptideSites,
    measure_angle,
)
from backmap.models.protein.side_chains import (
    CBetaGeometry,
    SideChainNetwork,
    SideChainSites,
    measure_chi,
)
from backmap.models.tensor_tuples import concatenate, take
from backmap.training.batches import mean_loss, random_batches, require_examples
from backmap.training.contacts import (
    ContactTrainingConfig,
    RankedSideChains,
    SideChainRanking,
    fit_contacts,
    loss_of_contacts,
)
from backmap.training.loop import LoopConfig, Seed, Stage, train_stage


@dataclass(frozen=True)
class ProteinTrainingConfig:
    """How the protein model is trained.

    Attributes
    ----------
    seed : int
        Decides weights, draws, noise and order.
    noise_share, max_noise_nm : float
        See :func:`backmap.datasets.residue_environments.draw_structures`.
    drawn_backbone_share : float
        Share of structures whose side chains are learned on a backbone drawn by the trained peptide network;
        on the others the deposited peptide angles are used.
    peptide_planes, side_chains : LoopConfig, optional
        The networks' stages. Without one, its network stays as it is in the model to start from.
    contacts : ContactTrainingConfig, optional
        How energies of contacts are fitted; they stay as they are without it.
    """

    peptide_planes: LoopConfig | None = None
    side_chains: LoopConfig | None = None
    contacts: ContactTrainingConfig | None = None
    seed: Seed = 0
    noise_share: Share = 0.5
    max_noise_nm: Annotated[float, Real(0.0, 1.0)] = 0.03
    drawn_backbone_share: Share = 0.6


class PeptideBatch(NamedTuple):
    """Sites of peptides with their own class and the angle of the peptide before, (n,) each."""

    sites: PeptideSites
    previous_angle: Tensor
    target: Tensor


class SideChainBatch(NamedTuple):
    """Sites of residues with their torsions (n, 4), which of them exist (n, 4), and residue types (n,)."""

    sites: SideChainSites
    torsions: Tensor
    exists: Tensor
    types: Tensor


class ProteinTrainingResult(NamedTuple):
    """The model with the mean weights of its networks, and what is known of each stage by its name.

    ``loss_by_type`` is the validation loss of side chains by residue type, empty if they were not trained.
    """

    model: ProteinModel
    history: dict[str, list[dict[str, float]]]
    loss_by_type: dict[str, float]


def train_protein(
    model: ProteinConfig,
    training: ProteinTrainingConfig,
    data: Corpus,
    held_out: Corpus,
    folder: Path,
    device: torch.device,
    resume: bool,
    start: ProteinModel | None = None,
) -> ProteinTrainingResult:
    """Train the stages that are configured.

    Parameters
    ----------
    model, training
        Configurations.
    data, held_out : Corpus
        Training and validation structures.
    folder : Path
        Where the state of each stage is kept.
    device : torch.device
        Where to train.
    resume : bool
        Go on from the states in ``folder``.
    start : ProteinModel, optional
        Model to start from, with networks of the same configuration; new weights by default.

    Raises
    ------
    InputError
        As :func:`check_stages`, or if the data have nothing to learn from.
    """
    check_stages(model, training, start)
    torch.manual_seed(training.seed)
    planes = PeptidePlaneNetwork(model.peptide_planes).to(device)
    if start is not None:
        planes.load_state_dict(start.peptide_planes.state_dict())
    history, by_type = {}, {}
    if training.peptide_planes is not None:
        stage = PeptideStage(planes, training, training.peptide_planes, data, held_out, device)
        history["peptide_planes"] = train_stage(stage, folder / "peptide_planes.state", resume)

    torch.manual_seed(training.seed + 1)
    chains = SideChainNetwork(model.side_chains).to(device)
    if start is not None:
        chains.load_state_dict(start.side_chains.state_dict())
    backbones = TrainingBackbones(planes.eval(), device)
    if training.side_chains is not None:
        side_chains = SideChainStage(
            chains, backbones, training, training.side_chains, data, held_out, device
        )
        history["side_chains"] = train_stage(side_chains, folder / "side_chains.state", resume)
        by_type = side_chains.loss_by_type()

    whole = ProteinModel(model, planes, chains.eval()).to(device)
    if start is not None and start.packer.contacts.shape == whole.packer.contacts.shape:
        whole.packer.contacts.copy_(start.packer.contacts)
    if training.contacts is not None:
        history["contacts"] = [_train_contacts(whole, training, training.contacts, data, held_out)]
    return ProteinTrainingResult(whole, history, by_type)


def check_stages(model: ProteinConfig, training: ProteinTrainingConfig, start: ProteinModel | None) -> None:
    """Check that everything is either trained or taken from the model to start from.

    Raises
    ------
    InputError
        If there is nothing to start from and a network has no stage, or contacts and their stage do not go
        together.
    """
    for name in ("peptide_planes", "side_chains"):
        if start is None and getattr(training, name) is None:
            raise InputError(f"training.{name} is missing; only a model to start from can do without it")
    if training.contacts is not None and model.packing.contacts is None:
        raise InputError("training.contacts needs model.packing.contacts, which says how far contacts reach")
    if start is None and training.contacts is None and model.packing.contacts is not None:
        raise InputError("training.contacts is missing; only a model to start from can do without it")


def _train_contacts(
    model: ProteinModel,
    config: ProteinTrainingConfig,
    contacts: ContactTrainingConfig,
    data: Corpus,
    held_out: Corpus,
) -> dict[str, float]:
    """Fit the contacts of a model on a CPU, and say how well deposited side chains rank before and after."""
    reach = model.config.packing.contacts
    assert reach is not None
    device = next(model.parameters()).device
    model.to("cpu")
    ranking = SideChainRanking(model, reach, contacts)
    backbones = TrainingBackbones(model.peptide_planes, torch.device("cpu"))
    generator = np.random.default_rng((config.seed, 7))
    drawn = draw_structures(data, contacts.structures, generator, 0.0, 0.0)
    ranked = list(_ranked(ranking, backbones, drawn, generator))
    validated = list(_ranked(ranking, backbones, iterate_structures(held_out), generator))
    for found, kind in ((ranked, "training"), (validated, "validation")):
        if not found:
            raise InputError(f"the {kind} data contain no complete residue whose side chain has torsions")
    losses = {"validation_loss_before": _mean_loss(validated, model.packer.contacts)}
    model.packer.contacts.copy_(fit_contacts(ranked, reach, contacts))
    losses["loss"] = _mean_loss(ranked, model.packer.contacts)
    losses["validation_loss"] = _mean_loss(validated, model.packer.contacts)
    model.to(device)
    return losses


def _ranked(
    ranking: SideChainRanking,
    backbones: TrainingBackbones,
    structures: Iterable[Structure],
    generator: np.random.Generator,
) -> Iterator[RankedSideChains]:
    """Rank the side chains of structures on the deposited backbone and on one that the model draws."""
    for structure in structures:
        deposited = torch.from_numpy(structure.coordinates[:, :SLOT_CB])
        for backbone in (deposited, backbones.draw(structure, generator)):
            found = ranking.rank(structure, backbone, generator)
            if found is not None:
                yield found


def _mean_loss(ranked: list[RankedSideChains], contacts: Tensor) -> float:
    sizes = [len(one.overlaps) for one in ranked]
    return float(np.average([loss_of_contacts(one, contacts) for one in ranked], weights=sizes))


class PeptideStage(Stage[PeptideBatch]):
    """Data and loss of the peptide planes' network."""

    def __init__(
        self,
        network: PeptidePlaneNetwork,
        config: ProteinTrainingConfig,
        loop: LoopConfig,
        data: Corpus,
        held_out: Corpus,
        device: torch.device,
    ) -> None:
        self.network, self.loop, self.config = network, loop, config
        self.data, self.device = data, device
        sites = concatenate([self._sites(structure) for structure in iterate_structures(held_out)])
        self.held_out = require_examples(sites, "peptide between complete residues")

    def batches(self, epoch: int) -> Iterator[tuple[PeptideBatch, int]]:
        """Peptides of some structures in random order."""
        config, generator = self.config, np.random.default_rng((self.config.seed, 1, epoch))
        drawn = draw_structures(
            self.data, self.loop.drawn_per_epoch, generator, config.noise_share, config.max_noise_nm
        )
        sites = concatenate([self._sites(structure) for structure in drawn])
        return random_batches(sites, self.loop, np.random.default_rng((config.seed, 2, epoch)))

    @torch.no_grad()
    def _sites(self, structure: Structure) -> PeptideBatch:
        chain, c_alpha = _to_device(structure, self.device)
        oxygen = torch.from_numpy(structure.coordinates[None, :, SLOT_O]).to(self.device)
        sites, frames = self.network.describe(c_alpha, chain)
        angle = measure_angle(frames, c_alpha, oxygen)[0]
        trusted = torch.from_numpy(structure.trusted).to(self.device)
        known = trusted & chain.linked
        before_known = chain.shift(known, -1, False) | ~chain.has_neighbour(-1)
        rows = torch.nonzero(known & chain.shift(trusted, 1, False) & before_known).squeeze(-1)
        batch = PeptideBatch(
            sites, chain.shift(angle, -1, 0.0), classify_angle(angle, self.network.config.classes)
        )
        return take(batch, rows)

    def loss(self, batch: PeptideBatch) -> Tensor:
        """Mean cross-entropy of the peptides' classes."""
        smoothing = self.loop.smoothing if self.network.training else 0.0
        logits = self.network(batch.sites, batch.previous_angle)
        return circular_cross_entropy(logits, batch.target, smoothing).mean()

    def validate(self, epoch: int) -> float:
        """Mean loss of the peptides held out."""
        return mean_loss(self.held_out, self.loss)


class TrainingBackbones:
    """Backbones of training structures as inference builds them.

    Parameters
    ----------
    planes : PeptidePlaneNetwork
        Trained network.
    device : torch.device
        Where to build.
    """

    def __init__(self, planes: PeptidePlaneNetwork, device: torch.device) -> None:
        self.planes, self.device, self.builder = planes, device, BackboneBuilder().to(device)

    def draw(self, structure: Structure, generator: np.random.Generator) -> Tensor:
        """Return a backbone (residues, 4, 3) with angles from the network."""
        ((_, backbone),) = self.build([structure], 1.0, generator)
        return backbone[0]

    @torch.no_grad()
    def build(
        self, structures: list[Structure], drawn_share: float, generator: np.random.Generator
    ) -> Iterator[tuple[Chain, Tensor]]:
        """Give the chain and backbone (1, residues, 4, 3) of each structure.

        A share of the structures gets peptide angles from the network, the others the deposited ones.
        """
        uniforms = _Uniforms(generator, self.device)
        described = [self._peptides(structure) for structure in structures]
        drawn = self._draw_angles([encoded for *_, encoded in described], uniforms)
        for structure, (chain, c_alpha, frames, _), angle in zip(structures, described, drawn, strict=True):
            if generator.random() >= drawn_share:
                oxygen = torch.from_numpy(structure.coordinates[None, :, SLOT_O]).to(self.device)
                angle = measure_angle(frames, c_alpha, oxygen)
            yield chain, self._backbone(c_alpha, chain, frames, angle, uniforms)

    def _peptides(self, structure: Structure) -> tuple[Chain, Tensor, PeptideFrames, EncodedPeptides]:
        chain, c_alpha = _to_device(structure, self.device)
        encoded, frames = self.planes.encode_all(c_alpha, chain, chain.n_residues)
        return chain, c_alpha, frames, encoded

    def _draw_angles(self, encoded: list[EncodedPeptides], uniforms: _Uniforms) -> list[Tensor]:
        """Draw the angles of all structures side by side; one tensor (1, residues) for each."""
        pad = nn.utils.rnn.pad_sequence
        padded = EncodedPeptides(
            *(pad([own[0] for own in parts], batch_first=True) for parts in zip(*encoded, strict=True))
        )
        structures, longest = padded.context.shape[:2]
        whole = torch.arange(longest, device=self.device).unsqueeze(0)
        angles = self.planes.draw_angles(padded, whole, uniforms(1, structures, longest, 2))[0]
        return [row[None, : own.context.shape[1]] for row, own in zip(angles, encoded, strict=True)]

    def _backbone(
        self, c_alpha: Tensor, chain: Chain, frames: PeptideFrames, angle: Tensor, uniforms: _Uniforms
    ) -> Tensor:
        twist = self.planes.draw_twists(frames, angle, chain, uniforms(1, chain.n_residues, 2))
        ends = sum(len(rows) for rows in chain_ends(chain))
        end_uniforms = uniforms(1, ends, END_CANDIDATES, END_UNIFORMS)
        return self.builder(c_alpha, frames, angle, twist, chain, end_uniforms).atoms


class SideChainStage(Stage[SideChainBatch]):
    """Data and loss of the side chains' network."""

    def __init__(
        self,
        network: SideChainNetwork,
        backbones: TrainingBackbones,
        config: ProteinTrainingConfig,
        loop: LoopConfig,
        data: Corpus,
        held_out: Corpus,
        device: torch.device,
    ) -> None:
        self.network, self.loop, self.config = network, loop, config
        self.backbones, self.data, self.device = backbones, data, device
        self.c_beta = CBetaGeometry().to(device)
        generator = np.random.default_rng((config.seed, 6))
        sites = self._sites(list(iterate_structures(held_out)), 1.0, generator)
        self.held_out = require_examples(sites, "complete residue whose side chain has torsions")

    def batches(self, epoch: int) -> Iterator[tuple[SideChainBatch, int]]:
        """Residues of some structures in random order."""
        config, generator = self.config, np.random.default_rng((self.config.seed, 3, epoch))
        structures = draw_structures(
            self.data, self.loop.drawn_per_epoch, generator, config.noise_share, config.max_noise_nm
        )
        sites = self._sites(list(structures), config.drawn_backbone_share, generator)
        return random_batches(sites, self.loop, np.random.default_rng((config.seed, 4, epoch)))

    @torch.no_grad()
    def _sites(
        self, structures: list[Structure], drawn_share: float, generator: np.random.Generator
    ) -> SideChainBatch:
        """Describe the residues of structures on backbones as inference builds them."""
        built = self.backbones.build(structures, drawn_share, generator)
        return concatenate(
            [
                self._describe(structure, chain, backbone)
                for structure, (chain, backbone) in zip(structures, built, strict=True)
            ]
        )

    def _describe(self, structure: Structure, chain: Chain, backbone: Tensor) -> SideChainBatch:
        atoms = torch.from_numpy(structure.coordinates).to(self.device)
        present = torch.from_numpy(structure.present).to(self.device)
        c_beta = self.c_beta(backbone, chain.types)
        sites = self.network.describe(backbone, c_beta, chain)
        torsions, exists = measure_chi(atoms, present, chain.types)
        trusted = torch.from_numpy(structure.trusted).to(self.device)
        rows = torch.nonzero(trusted & exists.any(dim=-1)).squeeze(-1)
        return take(SideChainBatch(sites, torsions, exists, chain.types), rows)

    def loss(self, batch: SideChainBatch) -> Tensor:
        """Mean over residues of the summed negative log-likelihoods of their torsions."""
        smoothing = self.loop.smoothing if self.network.training else 0.0
        classes = classify_angle(batch.torsions, self.network.config.classes)
        logits = self.network(batch.sites, batch.torsions)
        total = torch.zeros((), device=classes.device)
        for chi, values in enumerate(logits):
            losses = circular_cross_entropy(values, classes[:, chi], smoothing)
            total = total + (losses * batch.exists[:, chi]).sum()
        return total / len(classes)

    def validate(self, epoch: int) -> float:
        """Mean loss of the residues held out."""
        return mean_loss(self.held_out, self.loss)

    @torch.no_grad()
    def loss_by_type(self) -> dict[str, float]:
        """Validation loss of each residue type that has torsions."""
        self.network.eval()
        by_type = {}
        for kind, name in enumerate(RESIDUE_NAMES):
            rows = torch.nonzero(self.held_out.types == kind).squeeze(-1)
            if len(rows):
                by_type[name] = mean_loss(take(self.held_out, rows), self.loss)
        return by_type


def circular_cross_entropy(logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy (n,) of classes on a circle; the two beside the target share ``smoothing``."""
    log_probability = functional.log_softmax(logits, dim=-1)
    classes = logits.shape[-1]
    beside = torch.stack([target - 1, target, target + 1], dim=-1).remainder(classes)
    before, at, after = log_probability.gather(-1, beside).unbind(dim=-1)
    return -((1 - smoothing) * at + 0.5 * smoothing * (before + after))


class _Uniforms:
    """Uniform random numbers in [0, 1) on a device, from a numpy generator."""

    def __init__(self, generator: np.random.Generator, device: torch.device) -> None:
        self.generator, self.device = generator, device

    def __call__(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.generator.random(shape, dtype=np.float32)).to(self.device)


def _to_device(structure: Structure, device: torch.device) -> tuple[Chain, Tensor]:
    c_alpha = torch.from_numpy(structure.c_alpha).to(device).unsqueeze(0)
    return Chain.from_arrays(
        structure.residue_types, structure.chain_index, structure.linked, device
    ), c_alpha
