"""Figures: written from JSON alone, not blank, and only where there are numbers."""

import json

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="no matplotlib")

from backmap import evaluate_trajectory
from backmap.report.figures import FIGURES, draw_all, drawable

from ..evaluation import dipeptide


@pytest.fixture(scope="module")
def scores():
    reference, sample = (dipeptide.trajectory(1500, seed=seed) for seed in (1, 2))
    energy = lambda positions: 100.0 * positions.std(axis=(1, 2))  # noqa: E731
    codes = energy(sample.xyz)[:, None] * np.array([[1.0, 0.2]])
    scorecard = evaluate_trajectory(
        reference, sample, energy=energy, codes=codes, one_frame=sample[:20],
        states=10, lag_times=[1, 5], metastable=2,
    )  # fmt: skip
    return json.loads(scorecard.to_json())


@pytest.fixture(scope="module")
def written(scores, tmp_path_factory):
    return draw_all(scores, tmp_path_factory.mktemp("figures"))


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_written_and_not_blank(name, written):
    from matplotlib.image import imread

    pdf, png = (
        next(path for path in written if path.name == f"{name}{suffix}") for suffix in (".pdf", ".png")
    )
    assert pdf.read_bytes().startswith(b"%PDF")
    image = imread(png)[..., :3]
    assert min(image.shape[:2]) > 400
    inked = (image < 0.95).any(axis=-1)
    assert 0.005 < inked.mean() < 0.9
    assert len(np.unique((image[inked] * 8).astype(int), axis=0)) > 5


def test_what_was_not_measured_is_not_drawn(scores):
    bare = {**scores, "energies": None, "latent": None, "code_diversity": None}
    assert set(FIGURES) - set(drawable(bare)) == {"energy", "latent_component", "code_diversity"}
