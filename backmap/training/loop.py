"""The training loop: epochs of batches, EMA, validation, and a state that survives a kill."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from backmap.limits import Real, Whole
from backmap.models.configuration import Count, Factor, Share
from backmap.training.ema import ExponentialMovingAverage

Number = Annotated[int, Whole(1, 10**9)]
"""How many epochs, frames or the like."""
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
    weight_decay, gradient_clip, ema_decay : float
        As usual.
    smoothing : float
        Probability given to the two classes beside the true one.
    validate_every : int
        Epochs between validations and saved states.
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

    def __post_init__(self) -> None:
        known = ("cosine", "constant", "exponential")
        if self.schedule not in known:
            raise ValueError(f"schedule is {self.schedule!r}; known: {', '.join(known)}")


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
        self.gradient_clip = config.gradient_clip
        self.epoch = 0
        self.history: list[dict[str, float]] = []

    def run(
        self,
        draw_epoch: Callable[[int], Any],
        batches: Callable[[Any, int], Iterable[Any]],
        loss: Callable[[Any], Tensor],
        validate: Callable[[], float],
        describe: Callable[[], dict[str, float]] = dict,
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
            Loss on data held out, with the module's mean weights.
        describe : callable
            What else to note about the epoch that ended, such as the terms of its loss.
        """
        progress = tqdm(total=self.config.epochs, initial=self.epoch, desc=self.name, unit="epoch")
        while self.epoch < self.config.epochs:
            mean_loss, rate = self._train_epoch(batches(draw_epoch(self.epoch), self.epoch), loss)
            self.epoch += 1
            entry = {"epoch": self.epoch, "loss": mean_loss, "samples_per_s": rate, **describe()}
            if self.epoch % self.config.validate_every == 0 or self.epoch == self.config.epochs:
                entry["validation_loss"] = self._with_mean_weights(validate)
                tqdm.write(f"{self.name} " + " ".join(f"{k}={v:.5g}" for k, v in entry.items()))
            self.history.append(entry)
            self._write_history()
            if "validation_loss" in entry:
                self.save()
            progress.set_postfix({name: f"{value:.4g}" for name, value in entry.items() if name != "epoch"})
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
            nn.utils.clip_grad_norm_(self.module.parameters(), self.gradient_clip)
            self.optimizer.step()
            self.ema.update(self.module)
            total, steps, sites = total + float(value.detach()), steps + 1, sites + size
        return total / max(steps, 1), sites / (time.perf_counter() - start)

    def _set_learning_rate(self, progress: float) -> None:
        config = self.config
        rise = min(1.0, (progress + 0.01) / max(config.warm_up_epochs, 0.01))
        if config.schedule == "cosine":
            fall = 0.5 * (1 + math.cos(math.pi * progress / config.epochs))
        else:
            fall = config.decay_per_step**self.ema.updates if config.schedule == "exponential" else 1.0
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
