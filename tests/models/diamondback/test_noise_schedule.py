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


@pytest.mark.parametrize("ddim_steps", [0, 2, 10, 50])
def test_true_noise_leads_back_to_the_clean_sample(ddim_steps):
    schedule = NoiseSchedule(50, 1.0)
    clean, sample = 0.5 * torch.randn(100, 57).clamp(-1.9, 1.9), torch.randn(100, 57)
    steps, moves = schedule.steps_taken(ddim_steps), schedule.moves(ddim_steps)
    assert len(steps) == len(moves) == (ddim_steps or 50) and steps[-1] == 0
    for step, (of_clean, of_noisy, of_normals) in zip(steps, moves, strict=True):
        noise = (sample - schedule.signal[step] * clean) / schedule.noise[step]
        predicted = schedule.predict_clean(sample, noise, step)
        sample = of_clean * predicted + of_noisy * sample + of_normals * torch.randn(100, 57)
    torch.testing.assert_close(sample, clean, atol=1e-5, rtol=0)
    assert moves[-1].tolist() == [1, 0, 0]


@pytest.mark.parametrize("step", [1, 20, 49])
def test_ancestral_step_is_that_of_the_noise(step):
    """The mean written with the noise (Ho, Jain and Abbeel, eq. 11) instead of the clean sample (eq. 7)."""
    schedule = NoiseSchedule(50, 1e9)
    kept = schedule.kept.double()
    alpha = kept[step] / kept[step - 1]
    sample, noise, normals = torch.randn(3, 100, 57, dtype=torch.float64)
    mean = (sample - (1 - alpha) / (1 - kept[step]).sqrt() * noise) / alpha.sqrt()
    variance = (1 - kept[step - 1]) / (1 - kept[step]) * (1 - alpha)
    of_clean, of_noisy, of_normals = schedule.moves()[49 - step]
    clean = schedule.predict_clean(sample, noise, torch.tensor(step))
    found = of_clean * clean + of_noisy * sample + of_normals * normals
    torch.testing.assert_close(found, mean + variance.sqrt() * normals, atol=2e-3, rtol=2e-3)


def test_a_ddim_step_keeps_the_noise():
    """Both samples have the same clean one and the same noise (Song, Meng and Ermon, eq. 12, sigma 0)."""
    schedule = NoiseSchedule(50, 1e9)
    clean, noise = torch.randn(2, 100, 57)
    steps, moves = schedule.steps_taken(10), schedule.moves(10)
    for (step, earlier), (of_clean, of_noisy, of_normals) in zip(
        zip(steps[:-1], steps[1:], strict=True), moves[:-1], strict=True
    ):
        sample = schedule.signal[step] * clean + schedule.noise[step] * noise
        expected = schedule.signal[earlier] * clean + schedule.noise[earlier] * noise
        torch.testing.assert_close(of_clean * clean + of_noisy * sample, expected, atol=1e-4, rtol=1e-4)
        assert of_normals == 0


def test_clips():
    schedule = NoiseSchedule(50, 1.0)
    clean = schedule.predict_clean(torch.full((1, 1), 9.0), torch.zeros(1, 1), torch.tensor(0))
    assert clean.item() == 1.0
