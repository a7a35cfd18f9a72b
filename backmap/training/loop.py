"""The training loop: epochs of batches, mean weights, validation, and a state that survives a kill."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from backmap.errors import InputError
from backmap.limits import Real, Whole
from backmap.models.checkpoint import misfit
from backmap.models.configuration import Count, Factor, Number, Share
from backmap.training.state_file import TrainingState, read_state, write_state

Tensors = tuple[Tensor, ...] | list[Tensor]
Batch = TypeVar("Batch")

Seed = Annotated[int, Whole(0, 2**63 - 1)]


@dataclass(frozen=True)
class LoopConfig:
    """How one network is trained.

    Attributes
    ----------
    epochs : int
        Draws of structures, or of frames.
    drawn_per_epoch : int
        Structures or frames in each draw.
    passes : int
        Times an epoch goes through what it drew.
    batch : int
        Sites or frames in a batch.
    learning_rate : float
        At the top.
    schedule : str
        ``cosine``: the learning rate falls to zero along a cosine; ``constant``: it stays; ``exponential``:
        it is multiplied by ``decay_per_step`` at every step.
    decay_per_step : float
        Of the exponential schedule.
    warm_up_epochs : int
        Epochs over which the learning rate first rises linearly.
    weight_decay, gradient_clip : float
        As usual.
    ema_decay : float
        Weight of the past in the mean weights at each step; it rises to this over the first steps.
    smoothing : float
        Probability given to the two classes beside the true one.
    validate_every : int
        Epochs between validations and saved states.
    patience : int
        Validations in a row that may fail to improve on the best one before training stops. The mean weights
        of the best one are the result, or the weights that training began with if none improves on them.
        0: train to the end, with the last mean weights as the result.
    """

    epochs: Number
    drawn_per_epoch: Number = 256
    passes: Number = 1
    batch: Number = 1024
    learning_rate: Factor = 1e-3
    schedule: str = "cosine"
    decay_per_step: Share = 1.0
    warm_up_epochs: Count = 2
    weight_decay: Factor = 0.05
    gradient_clip: Annotated[float, Real(1e-12, 1e12)] = 1.0
    ema_decay: Share = 0.999
    smoothing: Share = 0.0
    validate_every: Number = 5
    patience: Count = 0

    def __post_init__(self) -> None:
        known = ("cosine", "constant", "exponential")
        if self.schedule not in known:
            raise ValueError(f"schedule is {self.schedule!r}; known: {', '.join(known)}")


class Stage(Protocol[Batch]):
    """What one network learns from, and how well it does.

    Attributes
    ----------
    network : nn.Module
        What to train.
    loop : LoopConfig
        How.
    """

    network: nn.Module
    loop: LoopConfig

    def batches(self, epoch: int) -> Iterable[tuple[Batch, int]]:
        """Draw the batches of an epoch, with their sizes; they depend only on its number."""

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of a batch."""

    def validate(self, epoch: int) -> float:
        """Loss on held-out data after some epochs; the network has its mean weights."""

    def gradient_clip(self, epoch: int) -> float:
        """Largest norm of the gradient in an epoch."""
        return self.loop.gradient_clip

    def describe(self) -> dict[str, float]:
        """What else to note about the epoch that ended, such as the terms of its loss."""
        return {}


class TrainingLoop:
    """Trains the network of one stage and keeps its state in one file.

    Parameters
    ----------
    stage : Stage
        What to train, and how.
    state_path : Path
        Where the state is kept; its name is that of the progress bar.
    """

    def __init__(self, stage: Stage, state_path: Path) -> None:
        self.stage, self.module, self.config = stage, stage.network, stage.loop
        self.state_path = state_path
        self.name = state_path.stem.replace("_", " ")
        self.optimizer = torch.optim.AdamW(
            self.module.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            foreach=True,
        )
        self.mean = AveragedModel(self.module, multi_avg_fn=_rising_average(self.config.ema_decay))
        self._set_steps(0)
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        self.best = self._copy_mean_weights() if self.config.patience else {}

    def run(self) -> None:
        """Train from the present epoch until the last, or until patience is over."""
        progress = tqdm(total=self.config.epochs, initial=self.epoch, desc=self.name, unit="epoch")
        before = {}
        if self.config.patience and self.epoch == 0:
            before = {"validation_loss_before": self._validate()}
        while self.epoch < self.config.epochs and not self._out_of_patience():
            mean_loss, rate = self._train_epoch()
            self.epoch += 1
            entry = {"epoch": self.epoch, "loss": mean_loss, "samples_per_s": rate, **self.stage.describe()}
            entry |= before
            before = {}
            if self.epoch % self.config.validate_every == 0 or self.epoch == self.config.epochs:
                entry["validation_loss"] = self._validate()
                tqdm.write(f"{self.name} " + " ".join(f"{k}={v:.5g}" for k, v in entry.items()))
            self.history.append(entry)
            if self.config.patience and _best(self._validation_losses()) == entry.get("validation_loss"):
                self.best = self._copy_mean_weights()
            self._write_history()
            if "validation_loss" in entry:
                self.save()
            progress.set_postfix({name: f"{value:.4g}" for name, value in entry.items() if name != "epoch"})
            progress.update()
        progress.close()
        self._take_mean_weights()
        if self.best:
            self.module.load_state_dict(self.best, strict=False)

    def _validation_losses(self) -> list[float]:
        """Validation losses so far, that before training first."""
        names = ("validation_loss_before", "validation_loss")
        return [entry[name] for entry in self.history for name in names if name in entry]

    def _out_of_patience(self) -> bool:
        losses = self._validation_losses()
        if not self.config.patience or not losses:
            return False
        return len(losses) - 1 - losses.index(_best(losses)) >= self.config.patience

    def _train_epoch(self) -> tuple[float, float]:
        """Give the mean loss of an epoch, and samples a second."""
        # Dropout belongs to the epoch's number, so that a resumed run is the same as an uninterrupted one.
        torch.manual_seed(self.epoch)
        batches = list(self.stage.batches(self.epoch))
        clip, total, start = self.stage.gradient_clip(self.epoch), 0.0, time.perf_counter()
        self.module.train()
        for step, (batch, _) in enumerate(batches):
            self._set_learning_rate(self.epoch + step / len(batches))
            value = self.stage.loss(batch)
            self.optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(self.module.parameters(), clip)
            self.optimizer.step()
            self.mean.update_parameters(self.module)
            total += float(value.detach())
        seconds = time.perf_counter() - start
        return total / max(len(batches), 1), sum(size for _, size in batches) / seconds

    def _set_learning_rate(self, progress: float) -> None:
        config = self.config
        rise = min(1.0, (progress + 0.01) / max(config.warm_up_epochs, 0.01))
        if config.schedule == "cosine":
            fall = 0.5 * (1 + math.cos(math.pi * progress / config.epochs))
        else:
            fall = config.decay_per_step**self.steps if config.schedule == "exponential" else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * rise * fall

    @property
    def steps(self) -> int:
        """Steps taken so far."""
        return int(self.mean.n_averaged) - 1

    def _set_steps(self, steps: int) -> None:
        self.mean.n_averaged.fill_(steps + 1)  # the initial weights are the first of the mean

    def _copy_mean_weights(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.mean.module.named_parameters()}

    def _take_mean_weights(self) -> None:
        self.module.load_state_dict(dict(self.mean.module.named_parameters()), strict=False)

    def _validate(self) -> float:
        present = {name: p.detach().clone() for name, p in self.module.named_parameters()}
        self._take_mean_weights()
        self.module.eval()
        with torch.no_grad():
            result = self.stage.validate(self.epoch)
        self.module.load_state_dict(present, strict=False)
        return result

    def _write_history(self) -> None:
        """Write what is known of each epoch as a table, for a person or a plot to follow."""
        columns = list(dict.fromkeys(name for entry in self.history for name in entry))
        lines = [",".join(columns)]
        lines += [
            ",".join(f"{entry[c]:.8g}" if c in entry else "" for c in columns) for entry in self.history
        ]
        temporary = self.state_path.with_suffix(".csv.partial")
        temporary.write_text("\n".join(lines) + "\n")
        os.replace(temporary, self.state_path.with_suffix(".csv"))

    def save(self) -> None:
        """Write weights, mean weights, optimiser moments and history whole or not at all."""
        tensors = self._weights()
        for name, parameter in self.module.named_parameters():
            for moment, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"{moment}/{name}"] = value
        write_state(self.state_path, TrainingState(self.epoch, self.steps, self.history, tensors))

    def _weights(self) -> dict[str, Tensor]:
        weights = {f"weight/{name}": p.detach() for name, p in self.module.named_parameters()}
        weights |= {f"ema/{name}": p.detach() for name, p in self.mean.module.named_parameters()}
        return weights | {f"best/{name}": weight for name, weight in self.best.items()}

    def resume(self) -> None:
        """Go on from the saved state, if there is one.

        Raises
        ------
        InputError
            If the file does not hold a state of this training.
        """
        if not self.state_path.exists():
            return
        try:
            state = read_state(self.state_path)
            if problem := misfit(state.tensors, self._wanted(state)):
                raise InputError(problem)
        except InputError as error:
            raise InputError(
                f"{self.state_path} is not the state of this training: {error}; remove it or train into "
                "another folder"
            ) from None
        self._restore(state)

    def _wanted(self, state: TrainingState) -> dict[str, Tensor]:
        """Tensors like those a state should hold: a parameter without gradients has no moments."""
        wanted = self._weights()
        for name, parameter in self.module.named_parameters():
            moments = {"step": torch.tensor(0.0), "exp_avg": parameter, "exp_avg_sq": parameter}
            named = {f"{moment}/{name}": value for moment, value in moments.items()}
            wanted |= named if named.keys() & state.tensors.keys() else {}
        return wanted

    def _restore(self, state: TrainingState) -> None:
        self.epoch, self.history = state.epoch, state.history
        self._set_steps(state.steps)
        for name, weight in self._weights().items():
            weight.copy_(state.tensors[name])
        for name, parameter in self.module.named_parameters():
            self.optimizer.state[parameter] = {
                moment: state.tensors[f"{moment}/{name}"].to("cpu" if moment == "step" else parameter.device)
                for moment in ("step", "exp_avg", "exp_avg_sq")
                if f"{moment}/{name}" in state.tensors
            }


def train_stage(stage: Stage, state_path: Path, resume: bool) -> list[dict[str, float]]:
    """Train the network of a stage to its mean weights, and give what is known of each epoch.

    Parameters
    ----------
    stage : Stage
        What to train, and how.
    state_path : Path
        Where the state is kept.
    resume : bool
        Go on from that state, if there is one.
    """
    loop = TrainingLoop(stage, state_path)
    if resume:
        loop.resume()
    loop.run()
    return loop.history


def _best(losses: list[float]) -> float:
    """The lowest loss; one that is not a number counts as the highest."""
    return min(losses, key=lambda loss: math.inf if math.isnan(loss) else loss)


def _rising_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """A running mean with a decay that grows to the given one from zero over the first steps."""

    def update(mean: Tensors, present: Tensors, counted: Tensor | int) -> None:
        number = int(counted)
        get_ema_multi_avg_fn(min(decay, (1 + number) / (10 + number)))(mean, present, counted)

    return update
