import math

import pytest
import torch

from backmap.models.protein.basins import (
    DRAWS,
    basin_masses,
    find_basins,
    share_leaving,
    step_angle,
)
from backmap.models.protein.geometry import classify_angle

BINS = 36


def wells(*centres: tuple[float, float, float]) -> torch.Tensor:
    """A distribution (36,) with a peak per (degrees, width in degrees, share)."""
    middles = (torch.arange(BINS, dtype=torch.float64) + 0.5) * 10 - 180
    total = torch.zeros(BINS, dtype=torch.float64)
    for place, width, share in centres:
        apart = torch.remainder(middles - place + 180, 360) - 180
        peak = torch.exp(-0.5 * (apart / width) ** 2)
        total += share * peak / peak.sum()
    return (total / total.sum()).float()


ROTAMERS = wells((-65, 12, 0.6), (180, 14, 0.37), (60, 10, 0.03))
ONE = wells((-170, 25, 1.0))
BROAD = wells((0, 90, 1.0), (150, 20, 0.2))


def sample(distribution: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    uniforms = torch.rand(count, DRAWS, generator=generator)
    none = torch.zeros(count)
    return step_angle(distribution, none, torch.full((count,), 1e9), none, uniforms)[0]


def chi_squared(angles: torch.Tensor, distribution: torch.Tensor) -> float:
    """Chi-squared per degree of freedom of the bins that expect enough angles."""
    expected = distribution * len(angles)
    found = torch.bincount(classify_angle(angles, BINS), minlength=BINS)
    enough = expected > 10
    return float(((found - expected).square() / expected)[enough].sum() / enough.sum())


def test_basins_surround_maxima_also_across_the_end_of_the_turn():
    basins = find_basins(ROTAMERS)
    assert len(basins.unique()) == 3
    assert basins[classify_angle(torch.tensor(math.radians(175)), BINS)] == basins[0]
    assert len(find_basins(ONE).unique()) == 1


@pytest.mark.parametrize("rate", [1e-3, 0.1, 5.0])
@pytest.mark.parametrize("distribution", [ROTAMERS, BROAD])
def test_flows_between_basins_are_balanced(distribution, rate):
    mass = basin_masses(distribution, find_basins(distribution))
    out = share_leaving(mass, mass.sqrt().sum(), torch.tensor(rate))
    landing = mass * out / (mass * out).sum()
    flow = (mass * out)[:, None] * landing
    assert torch.allclose(flow, flow.T, atol=1e-7)
    assert torch.allclose(flow.sum(dim=0), mass * out)  # as many come as go


@pytest.mark.parametrize("rate", [0.003, 0.3, 100.0])
@pytest.mark.parametrize("distribution", [ROTAMERS, ONE, BROAD])
def test_the_distribution_is_stationary(distribution, rate):
    generator = torch.Generator().manual_seed(1)
    count = 40_000
    angles = sample(distribution, count, generator)
    assert chi_squared(angles, distribution) < 1.6
    for _ in range(10):
        angles, _ = step_angle(
            distribution,
            angles,
            torch.full((count,), rate),
            torch.full((count,), 0.3),
            torch.rand(count, DRAWS, generator=generator),
        )
    assert chi_squared(angles, distribution) < 1.6


def test_both_parts_of_a_step_are_balanced_together():
    """Torsions cross between basins of unequal rates of leaving in the second part of a step."""
    generator = torch.Generator().manual_seed(6)
    count = 500_000
    angles = sample(BROAD, count, generator)
    for _ in range(5):
        rate, window = torch.full((count,), 0.3), torch.full((count,), 0.8)
        angles, _ = step_angle(BROAD, angles, rate, window, torch.rand(count, DRAWS, generator=generator))
    assert chi_squared(angles, BROAD) < 1.8  # 4.6 if only torsions that stay are moved


def test_any_beginning_is_forgotten():
    generator = torch.Generator().manual_seed(2)
    count = 100_000
    angles = torch.full((count,), math.radians(60.0))
    for _ in range(60):
        angles, _ = step_angle(
            ROTAMERS,
            angles,
            torch.full((count,), 0.1),
            torch.full((count,), 0.3),
            torch.rand(count, DRAWS, generator=generator),
        )
    assert chi_squared(angles, ROTAMERS) < 1.6


def test_a_short_step_stays_in_its_basin_and_a_long_one_draws_anew():
    generator = torch.Generator().manual_seed(3)
    before = sample(ROTAMERS, 20_000, generator)
    uniforms = torch.rand(20_000, DRAWS, generator=generator)
    short, left = step_angle(
        ROTAMERS, before, torch.full_like(before, 1e-6), torch.full_like(before, 0.05), uniforms
    )
    turned = torch.remainder(short - before + math.pi, 2 * math.pi) - math.pi
    assert not left.any() and turned.abs().max() < 0.5
    long, left = step_angle(
        ROTAMERS, before, torch.full_like(before, 1e9), torch.full_like(before, 1e3), uniforms
    )
    assert left.all()
    both = torch.stack([before.cos(), long.cos()])
    assert torch.corrcoef(both)[0, 1].abs() < 0.03


def test_improbable_basins_are_left_at_once():
    """A basin that has vanished under a torsion does not hold it."""
    only = wells((-65, 12, 1 - 1e-7), (60, 12, 1e-7))
    before = torch.full((5_000,), math.radians(60.0))
    uniforms = torch.rand(5_000, DRAWS, generator=torch.Generator().manual_seed(4))
    rate, window = torch.full_like(before, 0.01), torch.full_like(before, 0.1)
    after, _ = step_angle(only, before, rate, window, uniforms)
    assert (after < 0).float().mean() > 0.9


def test_leading_dimensions_broadcast():
    generator = torch.Generator().manual_seed(7)
    before = sample(ROTAMERS, 12, generator).view(3, 4)
    uniforms = torch.rand(3, 4, DRAWS, generator=generator)
    rate, window = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor(0.3)
    angle, left = step_angle(ROTAMERS, before, rate, window, uniforms)
    for row in range(3):
        for column in range(4):
            here = before[row, column], rate[column], window, uniforms[row, column]
            assert step_angle(ROTAMERS, *here) == (angle[row, column], left[row, column])


def test_drawing_near_an_angle_keeps_the_distribution_and_the_distance():
    generator = torch.Generator().manual_seed(5)
    before = sample(ROTAMERS, 50_000, generator)
    window, uniforms = torch.tensor(math.radians(40)), torch.rand(50_000, DRAWS, generator=generator)
    after, left = step_angle(ROTAMERS, before, torch.tensor(0.0), window, uniforms)
    assert not left.any()
    moved = torch.remainder(after - before + math.pi, 2 * math.pi) - math.pi
    assert moved.abs().max() <= math.radians(40.001)
    assert moved.square().mean().sqrt() > math.radians(8)
    assert chi_squared(after, ROTAMERS) < 1.6
