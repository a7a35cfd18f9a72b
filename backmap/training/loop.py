"""The training loop: epochs of batches, EMA, validation, and a state that survives a kill."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from backmap.training.ema import ExponentialMovingAverage


@dataclass(frozen=True)
class LoopConfig:
    """How one network is trained.

    Attributes
    ----------
    epochs : int
        Draws of structures.
    structures_per_epoch : int
        Structures in each draw.
    passes : int
        Times an epoch goes through its structures.
    batch : int
        Sites in a batch.
    learning_rate : float
        At the top; rises linearly over the first epochs and falls to zero along a cosine.
    warm_up_epochs : int
        Epochs of the rise.
    weight_decay, gradient_clip, ema_decay : float
        As usual.
    smoothing : float
        Probability given to the two classes beside the true one.
    validate_every : int
        Epochs between validations and saved states.
    """

    epochs: int
    structures_per_epoch: int = 256
    passes: int = 1
    batch: int = 1024
    learning_rate: float = 1e-3
    warm_up_epochs: int = 2
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    smoothing: float = 0.0
    validate_every: int = 5


class TrainingLoop:
    """Trains one module and keeps its state in one file.

    Parameters
    ----------
    module : nn.Module
        What to train.
    config : LoopConfig
        How.
    state_path : Path
        Where the state is kept; written under another name first, then renamed.
    name : str
        For the progress bar.
    """

    def __init__(self, module: nn.Module, config: LoopConfig, state_path: Path, name: str) -> None:
        self.module = module
        self.config = config
        self.state_path = state_path
        self.name = name
        self.optimizer = torch.optim.AdamW(
            module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, foreach=True
        )
        self.ema = ExponentialMovingAverage(module, config.ema_decay)
        self.epoch = 0
        self.history: list[dict[str, float]] = []

    def run(
        self,
        draw_epoch: Callable[[int], Any],
        batches: Callable[[Any, int], Iterable[Any]],
        loss: Callable[[Any], Tensor],
        validate: Callable[[], float],
    ) -> None:
        """Train from the present epoch to the last.

        Parameters
        ----------
        draw_epoch : callable
            Gives the data of an epoch, from its number alone.
        batches : callable
            Cuts the data of an epoch into batches, in an order that depends on the epoch's number alone.
        loss : callable
            Mean loss of a batch.
        validate : callable
            Loss on data held out, with the module's present weights.
        """
        progress = tqdm(total=self.config.epochs, initial=self.epoch, desc=self.name, unit="epoch")
        while self.epoch < self.config.epochs:
            mean_loss, rate = self._train_epoch(batches(draw_epoch(self.epoch), self.epoch), loss)
            self.epoch += 1
            entry = {"epoch": self.epoch, "loss": mean_loss, "samples_per_s": rate}
            if self.epoch % self.config.validate_every == 0 or self.epoch == self.config.epochs:
                entry["validation_loss"] = self._with_mean_weights(validate)
                tqdm.write(f"{self.name} " + " ".join(f"{k}={v:.5g}" for k, v in entry.items()))
            self.history.append(entry)
            if "validation_loss" in entry:
                self.save()
            progress.set_postfix(loss=f"{mean_loss:.4f}", samples_per_s=f"{rate:.0f}")
            progress.update()
        progress.close()
        self.ema.copy_to(self.module)

    def _train_epoch(self, batches: Iterator[Any], loss: Callable[[Any], Tensor]) -> tuple[float, float]:
        total, steps, sites, start = 0.0, 0, 0, time.perf_counter()
        # Dropout belongs to the epoch's number, so that a resumed run is the same as an uninterrupted one.
        torch.manual_seed(self.epoch)
        self.module.train()
        batches = list(batches)
        for step, (batch, size) in enumerate(batches):
            self._set_learning_rate(self.epoch + step / len(batches))
            value = loss(batch)
            self.optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(self.module.parameters(), self.config.gradient_clip)
            self.optimizer.step()
            self.ema.update(self.module)
            total, steps, sites = total + float(value.detach()), steps + 1, sites + size
        return total / max(steps, 1), sites / (time.perf_counter() - start)

    def _set_learning_rate(self, progress: float) -> None:
        config = self.config
        rise = min(1.0, (progress + 0.01) / max(config.warm_up_epochs, 0.01))
        fall = 0.5 * (1 + math.cos(math.pi * progress / config.epochs))
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * rise * fall

    def _with_mean_weights(self, validate: Callable[[], float]) -> float:
        present = {name: p.detach().clone() for name, p in self.module.named_parameters()}
        self.ema.copy_to(self.module)
        self.module.eval()
        with torch.no_grad():
            result = validate()
        self.module.load_state_dict(present, strict=False)
        return result

    def save(self) -> None:
        """Write weights, mean weights, optimiser moments and history whole or not at all."""
        tensors = {f"weight/{name}": p.detach() for name, p in self.module.named_parameters()}
        tensors |= {f"ema/{name}": p for name, p in self.ema.state().items()}
        for name, parameter in self.module.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"{key}/{name}"] = value
        metadata = {
            "epoch": str(self.epoch),
            "updates": str(self.ema.updates),
            "history": json.dumps(self.history),
        }
        temporary = self.state_path.with_suffix(".partial")
        save_file({name: t.contiguous().cpu() for name, t in tensors.items()}, temporary, metadata)
        os.replace(temporary, self.state_path)

    def resume(self) -> bool:
        """Go on from the saved state, if there is one."""
        if not self.state_path.is_file():
            return False
        with safe_open(self.state_path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        self.epoch, self.ema.updates = int(metadata["epoch"]), int(metadata["updates"])
        self.history = json.loads(metadata["history"])
        for name, parameter in self.module.named_parameters():
            parameter.data.copy_(tensors[f"weight/{name}"])
            self.ema.parameters[name].copy_(tensors[f"ema/{name}"])
            self.optimizer.state[parameter] = {
                key: tensors[f"{key}/{name}"].to(parameter.device if key != "step" else "cpu")
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"{key}/{name}" in tensors
            }
        return True
