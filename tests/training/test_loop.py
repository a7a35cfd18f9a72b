import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from backmap.errors import InputError
from backmap.training.loop import LoopConfig, Stage, TrainingLoop, train_stage


class Line(Stage[torch.Tensor]):
    """A line is learned from some of its points; one weight is never used."""

    def __init__(self, **settings) -> None:
        torch.manual_seed(0)
        self.network = torch.nn.Linear(1, 1)
        self.network.unused = torch.nn.Parameter(torch.ones(3))
        self.loop = LoopConfig(
            **{"epochs": 2, "warm_up_epochs": 0, "validate_every": 1, "learning_rate": 0.1} | settings
        )

    def batches(self, epoch: int) -> Iterator[tuple[torch.Tensor, int]]:
        for _ in range(3):
            yield torch.rand(4, 1), 4

    def loss(self, batch: torch.Tensor) -> torch.Tensor:
        return (self.network(batch) - 2 * batch).square().mean()

    def validate(self, epoch: int) -> float:
        return float(self.loss(torch.linspace(0, 1, 5)[:, None]))


def test_mean_weights_follow(tmp_path):
    loop = TrainingLoop(Line(ema_decay=0.5), tmp_path / "line.state")
    expected = loop.module.weight.detach().clone()
    for step in range(1, 12):
        with torch.no_grad():
            loop.module.weight += 1
        loop.mean.update_parameters(loop.module)
        expected.lerp_(loop.module.weight.detach(), 1 - min(0.5, (1 + step) / (10 + step)))
        assert loop.steps == step
        assert torch.equal(loop.mean.module.weight, expected)


def test_exponential_schedule_decays_at_every_step(tmp_path):
    stage = Line(learning_rate=1.0, schedule="exponential", decay_per_step=0.5)
    loop, rates = TrainingLoop(stage, tmp_path / "line.state"), []
    for step in range(3):
        loop._set_learning_rate(step / 3)
        rates.append(loop.optimizer.param_groups[0]["lr"])
        loop.mean.update_parameters(loop.module)
    assert rates == [1.0, 0.5, 0.25]


def test_a_stage_says_where_gradients_are_cut(tmp_path):
    class Still(Line):
        def gradient_clip(self, epoch: int) -> float:
            return 0.0 if epoch else 1.0

    weights = []
    for stage in (Still(epochs=1), Still(epochs=2, schedule="constant", weight_decay=0.0)):
        stage.loop = LoopConfig(**{**vars(stage.loop), "schedule": "constant", "weight_decay": 0.0})
        loop = TrainingLoop(stage, tmp_path / "line.state")
        loop.run()
        weights.append(loop.optimizer.state[stage.network.weight]["exp_avg"].abs().item())
    assert weights[1] == pytest.approx(weights[0] * 0.9**3)


class Told(Line):
    """A line whose validation losses are told: the first before training, then one per epoch."""

    def __init__(self, losses, **settings) -> None:
        super().__init__(**{"epochs": len(losses) - 1, "ema_decay": 0.5, **settings})
        self.losses, self.weights = losses, []

    def validate(self, epoch: int) -> float:
        self.weights.append(self.network.weight.item())
        return self.losses[epoch]


@pytest.mark.parametrize(
    "losses, epochs, best",
    [
        ([9.0, 3.0, 2.0, 5.0, 4.0, 1.0], 4, 2),
        ([1.0, 2.0, 3.0, 0.0], 2, 0),
        ([1.0, float("nan"), float("nan"), 0.0], 2, 0),
        ([9.0, 8.0, 8.5, 7.0], 3, 3),
    ],
)
def test_training_stops_when_patience_is_over_and_keeps_the_best(tmp_path, losses, epochs, best):
    stage = Told(losses, patience=2)
    history = train_stage(stage, tmp_path / "line.state", resume=False)
    assert len(history) == epochs
    assert history[0]["validation_loss_before"] == losses[0]
    assert stage.network.weight.item() == stage.weights[best]


def test_patience_survives_a_resumed_training(tmp_path):
    losses = [9.0, 3.0, 4.0, 5.0, 1.0]
    whole = Told(losses, patience=2, schedule="constant")
    train_stage(whole, tmp_path / "whole.state", resume=False)
    train_stage(
        Told(losses, patience=2, schedule="constant", epochs=2), tmp_path / "line.state", resume=False
    )
    rest = Told(losses, patience=2, schedule="constant")
    history = train_stage(rest, tmp_path / "line.state", resume=True)
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    assert rest.network.weight.item() == whole.network.weight.item() == whole.weights[1]
    again = Told(losses, patience=2, schedule="constant")
    train_stage(again, tmp_path / "line.state", resume=True)
    assert again.network.weight.item() == whole.weights[1] and not again.weights


def save_line(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Train a line, and give what its state holds."""
    train_stage(Line(), path, resume=False)
    return held_by(path)


def held_by(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a file."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def resume_line(path: Path) -> TrainingLoop:
    loop = TrainingLoop(Line(epochs=3), path)
    loop.resume()
    return loop


def test_a_state_comes_back_as_it_was(tmp_path):
    path = tmp_path / "line.state"
    tensors, metadata = save_line(path)
    resume_line(path).save()
    again, metadata_again = held_by(path)
    assert metadata_again == metadata
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())


WRONG_TENSORS = {
    "lacks": (lambda t: t.pop("weight/bias"), "the tensor 'weight/bias' is missing"),
    "lacks a moment": (lambda t: t.pop("exp_avg/bias"), "the tensor 'exp_avg/bias' is missing"),
    "foreign": (lambda t: t.update(other=torch.ones(1)), "the tensor 'other' is unexpected"),
    "shape": (
        lambda t: t.update({"ema/bias": torch.ones(2)}),
        "ema/bias is float32 (2,); it must",
    ),
    "type": (lambda t: t.update({"step/bias": torch.ones((), dtype=torch.int64)}), "step/bias is int64 ()"),
    "nan": (lambda t: t["weight/weight"].fill_(torch.nan), "weight/weight contains values that are not"),
}


@pytest.mark.parametrize("spoil, message", WRONG_TENSORS.values(), ids=WRONG_TENSORS)
def test_tensors_of_another_training_are_refused(tmp_path, spoil, message):
    path = tmp_path / "line.state"
    tensors, metadata = save_line(path)
    spoil(tensors)
    save_file(tensors, path, metadata)
    loop = TrainingLoop(Line(epochs=3), path)
    before = loop.module.weight.item()
    with pytest.raises(InputError) as caught:
        loop.resume()
    assert str(caught.value).startswith(f"{path} is not the state of this training: ")
    assert message in str(caught.value)
    assert (loop.epoch, loop.module.weight.item()) == (0, before)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"epoch": "two"}, "its number of epochs 'two' is not a whole number"),
        ({"epoch": "9" * 9000}, "its number of epochs '999"),
        ({"epoch": "-1"}, "its number of epochs '-1' is not a whole number"),
        ({"updates": ""}, "its number of steps '' is not a whole number"),
        ({"history": "{"}, "its history cannot be read as JSON"),
        ({"history": "[" * 100_000}, "its history cannot be read as JSON"),
        ({"history": "{}"}, "does not list numbers of 2 epochs"),
        ({"history": "[{}]"}, "does not list numbers of 2 epochs"),
        ({"history": '[{}, {"loss": "small"}]'}, "does not list numbers of 2 epochs"),
        ({"history": '[{}, {"loss": 1' + "0" * 400 + "}]"}, "does not list numbers of 2 epochs"),
        (None, "its number of epochs '' is not a whole number"),
    ],
)
def test_metadata_of_another_kind_are_refused(tmp_path, wrong, message):
    path = tmp_path / "line.state"
    tensors, metadata = save_line(path)
    save_file(tensors, path, None if wrong is None else metadata | wrong)
    with pytest.raises(InputError, match="is not the state of this training") as caught:
        resume_line(path)
    assert message in str(caught.value)


def test_damaged_states_are_refused_or_harmless(tmp_path):
    """Whatever the damage: one sentence, or a state whose numbers can be written again."""
    path, generator = tmp_path / "line.state", np.random.default_rng(0)
    save_line(path)
    whole = path.read_bytes()
    refused = 0
    for _ in range(300):
        data = bytearray(whole[: generator.integers(len(whole) + 1)] if generator.random() < 0.3 else whole)
        for place in generator.integers(0, max(len(data), 1), 4):
            data[place : place + 1] = bytes([generator.integers(256)])
        path.write_bytes(data)
        try:
            loop = resume_line(path)
        except InputError as error:
            refused += 1
            assert str(error).startswith(f"{path} is not the state of this training: ")
            continue
        loop._write_history()
        json.dumps(loop.history)
    assert refused > 200


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "line.state").mkdir()
    with pytest.raises(InputError, match="it is not a file"):
        resume_line(tmp_path / "line.state")
