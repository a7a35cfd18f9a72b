"""Training structures for residue-wise models: weighted draws, and realistic noise on C-alphas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from backmap.chemistry import ATOM_SLOTS, SLOT_CA
from backmap.datasets.corpus import Corpus


class Structure(NamedTuple):
    """One structure of a corpus; arrays as in :class:`Corpus`, and C-alphas that may carry noise.

    ``c_alpha`` (residues, 3) is what a model is shown, nm; ``coordinates`` are the deposited atoms.
    """

    coordinates: np.ndarray
    present: np.ndarray
    residue_types: np.ndarray
    chain_index: np.ndarray
    linked: np.ndarray
    trusted: np.ndarray
    c_alpha: np.ndarray


def iterate_structures(corpus: Corpus) -> Iterator[Structure]:
    """Give every structure of a corpus once, without noise."""
    for index in range(corpus.n_structures):
        yield _structure(corpus, index)


def draw_structures(
    corpus: Corpus, count: int, generator: np.random.Generator, noise_share: float, max_noise_nm: float
) -> Iterator[Structure]:
    """Draw structures without replacement, by sequence-cluster weight.

    Parameters
    ----------
    corpus : Corpus
        Where from.
    count : int
        How many structures (at most all).
    generator : numpy.random.Generator
        Decides everything random.
    noise_share : float
        Share of structures whose C-alphas are shown with Gaussian noise, as coarse-grained models have it.
    max_noise_nm : float
        The standard deviation is drawn uniformly up to this.
    """
    weights = corpus.weights / corpus.weights.sum()
    for index in generator.choice(corpus.n_structures, min(count, corpus.n_structures), False, weights):
        structure = _structure(corpus, int(index))
        noisy = generator.random() < noise_share
        deviation = generator.uniform(0, max_noise_nm) if noisy else 0.0
        noise = generator.normal(0, 1, structure.c_alpha.shape) * deviation
        yield structure._replace(c_alpha=(structure.c_alpha + noise).astype(np.float32))


def _structure(corpus: Corpus, index: int) -> Structure:
    rows = slice(corpus.offsets[index], corpus.offsets[index + 1])
    coordinates = corpus.coordinates[rows]
    assert coordinates.shape[1:] == (ATOM_SLOTS, 3)
    return Structure(
        coordinates,
        corpus.present[rows],
        corpus.residue_types[rows],
        corpus.chain_index[rows],
        corpus.linked[rows],
        corpus.trusted[rows],
        coordinates[:, SLOT_CA],
    )
