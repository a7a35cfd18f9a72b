"""Networks, loss and sampling of DiAMoNDBack."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from backmap.chemistry import RESIDUE_INDEX
from backmap.errors import InputError
from backmap.models.checkpoint import load_checkpoint, load_model, save_checkpoint, to_checkpoint
from backmap.models.diamondback.config import DiamondbackConfig, UNetConfig
from backmap.models.diamondback.denoiser import UNetDenoiser
from backmap.models.diamondback.model import DiamondbackModel
from backmap.models.diamondback.noise_schedule import NoiseSchedule
from backmap.models.diamondback.representation import (
    Sites,
    describe,
    given_points,
    pass_kinds,
    point_exists,
)
from tests.models.diamondback.small import SMALL, make_model
from tests.models.diamondback.test_representation import make_chain, make_structure

SEQUENCE = ("ALA", "TRP", "GLY", "ARG", "PRO", "HIS", "SER", "VAL")


def make_sites(target: bool = True) -> Sites:
    chain, (atoms, present) = make_chain(SEQUENCE), make_structure(SEQUENCE)
    residue = torch.arange(len(SEQUENCE))
    copies = atoms.float().expand(len(SEQUENCE), -1, -1, -1)
    return describe(copies, present[None], chain, residue, pass_kinds(chain), target=target)[0]


def test_published_network_costs_what_is_published():
    network = UNetDenoiser(UNetConfig(), 2.0, NoiseSchedule(50, 1.0)).eval()
    sites = Sites(*(part[:1] for part in make_sites()))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.randn(1, 57), torch.zeros(1), sites)
    assert counter.get_total_flops() / 1e9 == pytest.approx(0.72, abs=0.01)


def test_weights_standardised_once_change_nothing():
    network = make_model("unet").denoiser
    sites, points, step = make_sites(), torch.randn(8, 57), torch.full((8,), 2)
    with torch.inference_mode():
        kept = network(points, step, sites)
        network.train()
        torch.testing.assert_close(network(points, step, sites), kept)


def test_weights_loaded_later_are_standardised_anew():
    network = make_model("unet").denoiser
    other = {name: torch.randn_like(value) for name, value in network.state_dict().items()}
    sites, points, step = make_sites(), torch.randn(8, 57), torch.full((8,), 2)
    network.load_state_dict(other)
    with torch.inference_mode():
        found = network(points, step, sites)
        network.train()
        torch.testing.assert_close(network(points, step, sites), found)


@pytest.mark.parametrize("network", SMALL)
def test_loss_sees_generated_numbers_that_the_data_hold(network):
    model, sites = make_model(network), make_sites()
    step, normals = torch.full((len(SEQUENCE),), 3), torch.randn(len(SEQUENCE), 57)
    loss = model.loss(sites, step, normals)
    elsewhere = normals.masked_fill(sites.generated.repeat_interleave(3, 1), 7.0)
    given = torch.where(sites.generated.repeat_interleave(3, 1), normals, elsewhere)
    torch.testing.assert_close(model.loss(sites, step, given), loss)
    # A missing atom counts no more; that its slot is noise may still change what the network says.
    missing = sites._replace(known=sites.known & False)
    nothing_known = model.loss(missing, step, normals)
    empty = ~point_exists(sites.types) & sites.generated
    assert nothing_known.isfinite() and bool(empty.any())


@pytest.mark.parametrize("network", SMALL)
def test_several_draws_are_the_mean_of_single_ones(network):
    model, sites = make_model(network), make_sites()
    count = len(SEQUENCE)
    step, normals = torch.randint(6, (2 * count,)), torch.randn(2 * count, 57)
    with torch.no_grad():
        both = model.loss(sites, step, normals)
        parts = [model.loss(sites, step[first::2], normals[first::2]) for first in (0, 1)]
    torch.testing.assert_close(both, (parts[0] + parts[1]) / 2)


@pytest.mark.parametrize("ddim_steps", [0, 3])
@pytest.mark.parametrize("network", SMALL)
def test_given_points_are_drawn_as_given(network, ddim_steps):
    model, sites = make_model(network), make_sites(target=False)
    with torch.inference_mode():
        normals = torch.randn(len(SEQUENCE), 1 if ddim_steps else 6, 57)
        drawn = model.draw(sites, normals, model.prepare(ddim_steps))
    fixed = sites.known & ~sites.generated
    torch.testing.assert_close(drawn[fixed], sites.points[fixed])
    assert drawn.isfinite().all() and drawn.abs().max() <= model.config.reach_nm + 1e-6
    assert (drawn[sites.generated] != 0).any()


@pytest.mark.parametrize("ddim_steps", [0, 3])
def test_the_operator_computes_what_the_trained_module_computes(ddim_steps):
    model, sites, scale = make_model("compact"), make_sites(target=False), SMALL["compact"].scale_nm
    network, schedule = model.denoiser, model.schedule
    network.fit(make_sites())
    torch.nn.init.normal_(network.gain, std=0.3)
    normals = torch.randn(len(SEQUENCE), 1 if ddim_steps else 6, 57)
    generated, given = sites.generated.repeat_interleave(3, 1), given_points(sites, scale)
    with torch.inference_mode():
        sample, context = torch.where(generated, normals[:, 0], given), network.encode(sites)
        steps = zip(schedule.steps_taken(ddim_steps), schedule.moves(ddim_steps), strict=True)
        for number, (step, move) in enumerate(steps):
            noise = network(sample, step.expand(len(SEQUENCE)), context)
            clean = schedule.predict_clean(sample, noise, step)
            fresh = normals[:, (number + 1) % normals.shape[1]]
            moved = move[0] * clean + move[1] * sample + move[2] * fresh
            sample = torch.where(generated, moved, given)
        found = model.draw(sites, normals, model.prepare(ddim_steps))
    assert sample.std() > 0.05
    torch.testing.assert_close(found.flatten(1), scale * sample, atol=1e-4, rtol=0)


def test_compact_network_leaves_empty_slots_empty():
    model, sites = make_model("compact"), make_sites(target=False)
    with torch.inference_mode():
        drawn = model.draw(sites, torch.randn(len(SEQUENCE), 6, 57), model.prepare())
    empty = sites.generated & ~point_exists(sites.types)
    assert drawn[empty].abs().max() < 1e-6


def test_compact_network_learns_distances_from_data():
    model, sites = make_model("compact"), make_sites()
    model.denoiser.fit(sites)
    kind = RESIDUE_INDEX["TRP"]
    row = sites.types == kind
    expected = (sites.points[row, 3] - sites.points[row, 4]).norm(dim=-1) / model.config.scale_nm
    pair = ((model.denoiser.edges[:, 3] != 0) & (model.denoiser.edges[:, 4] != 0)).nonzero().item()
    torch.testing.assert_close(model.denoiser.distance_mean[kind, pair], expected[0])


@pytest.mark.parametrize("network", SMALL)
def test_every_weight_learns(network):
    model = make_model(network).train()
    sites, step = make_sites(), torch.arange(len(SEQUENCE)) % 6
    model.loss(sites, step, torch.randn(len(SEQUENCE), 57)).backward()
    idle = [
        name
        for name, weight in model.named_parameters()
        if weight.requires_grad and (weight.grad is None or not weight.grad.abs().sum() > 0)
    ]
    assert not idle


def test_checkpoint_round_trip(tmp_path):
    model = make_model("compact")
    save_checkpoint(tmp_path / "m.safetensors", to_checkpoint("diamondback", model.config, model, {}))
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.config == model.config
    for (name, first), second in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(first, second), name


def test_weights_of_another_network_are_refused(tmp_path):
    model = make_model("compact")
    save_checkpoint(tmp_path / "m.safetensors", to_checkpoint("diamondback", SMALL["unet"], model, {}))
    with pytest.raises(InputError, match="weights do not match the configuration"):
        DiamondbackModel.from_checkpoint(load_checkpoint(tmp_path / "m.safetensors"))


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="network is 'transformer'; known: unet, compact"):
        DiamondbackConfig("transformer")
    with pytest.raises(ValueError, match="nearest_rule is 'random'"):
        DiamondbackConfig(nearest_rule="random")
    with pytest.raises(ValueError, match="steps is 1"):
        DiamondbackConfig(steps=1)
