import math

import pytest
import torch

from backmap.models.diamondback.noise_schedule import NoiseSchedule


def test_follows_the_cosine():
    schedule = NoiseSchedule(50, 1.0)

    def level(time):
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    for step in (0, 10, 30, 47):
        assert schedule.kept[step].item() == pytest.approx(level((step + 1) / 50) / level(0), rel=1e-5)
    torch.testing.assert_close(schedule.signal.square() + schedule.noise.square(), torch.ones(50))


def test_the_published_scale_leaves_a_twelfth_of_a_nanometre_to_the_last_step():
    schedule = NoiseSchedule(50, 1.0)
    assert 2.0 * float(schedule.noise[0]) == pytest.approx(0.083, abs=0.001)


@pytest.mark.parametrize("steps", [2, 10, 50])
def test_true_noise_leads_back_to_the_clean_sample(steps):
    schedule = NoiseSchedule(50, 1.0)
    clean = 0.5 * torch.randn(100, 57).clamp(-1.9, 1.9)

    def true_noise(sample, step):
        return (sample - schedule.signal[step] * clean) / schedule.noise[step]

    sample = torch.randn(100, 57)
    for step in reversed(range(50)):
        sample = schedule.ancestral_step(sample, true_noise(sample, step), step, torch.randn(100, 57))
    torch.testing.assert_close(sample, clean, atol=1e-5, rtol=0)

    sample = torch.randn(100, 57)
    order = schedule.ddim_steps(steps)
    assert len(order) == steps and order[-1] == 0
    for step, earlier in zip(order, [*order[1:], -1], strict=True):
        sample = schedule.ddim_step(sample, true_noise(sample, step), step, earlier)
    torch.testing.assert_close(sample, clean, atol=1e-5, rtol=0)


@pytest.mark.parametrize("step", [1, 20, 49])
def test_ancestral_step_is_that_of_the_noise(step):
    """The mean written with the noise (Ho, Jain and Abbeel, eq. 11) instead of the clean sample (eq. 7)."""
    schedule = NoiseSchedule(50, 1e9)
    kept = schedule.kept.double()
    alpha = kept[step] / kept[step - 1]
    sample, noise, normals = torch.randn(3, 100, 57, dtype=torch.float64)
    mean = (sample - (1 - alpha) / (1 - kept[step]).sqrt() * noise) / alpha.sqrt()
    variance = (1 - kept[step - 1]) / (1 - kept[step]) * (1 - alpha)
    found = schedule.ancestral_step(sample, noise, step, normals)
    torch.testing.assert_close(found, mean + variance.sqrt() * normals, atol=2e-3, rtol=2e-3)


def test_clips():
    schedule = NoiseSchedule(50, 1.0)
    assert schedule.predict_clean(torch.full((1, 1), 9.0), torch.zeros(1, 1), 0).item() == 1.0
