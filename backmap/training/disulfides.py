"""Measure disulfides in a structure corpus: how often two cysteines are bonded, and the geometry of bonds.

``python -m backmap.training.disulfides CORPUS WEIGHTS`` writes ``backmap/models/protein/disulfides.json``.

The odds are a logistic regression on what the model knows when it needs them: C-alphas, and C-betas of
backbones that it has drawn.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path

import numpy as np
import torch

from backmap.chemistry import HEAVY_ATOMS, RESIDUE_INDEX, SLOT_C, SLOT_CA, SLOT_CB, SLOT_N
from backmap.chemistry.topology import MAX_DISULFIDE_CA_DISTANCE_NM
from backmap.datasets.corpus import Corpus, load_corpus
from backmap.models.chain import Chain
from backmap.models.checkpoint import load_model
from backmap.models.counter_random import stream_keys
from backmap.models.protein.disulfide_closure import RESOURCE
from backmap.models.protein.disulfides import NEAR_RESIDUES, pair_features
from backmap.models.protein.model import ProteinModel

_SLOT_SG = HEAVY_ATOMS["CYS"].index("SG")
_DRAWS = 2
_DEVIATION_PER_MEDIAN = 1.4826
"""Standard deviation of normal numbers, by the median of their absolute deviations."""


def read_disulfides(corpus: Corpus, folder: Path, split: str) -> set[tuple[int, int]]:
    """Read which residues of a corpus are bonded, the lower number first."""
    with open(folder / "manifest.csv", newline="") as file:
        names = [row["id"] for row in csv.DictReader(file) if row["split"] == split]
    with gzip.open(folder / "masks.jsonl.gz", "rt") as file:
        masks = {entry["id"]: entry for entry in map(json.loads, file)}
    bonds = set()
    for begin, name in zip(corpus.offsets, names, strict=False):
        lengths = [len(chain["seq"]) for chain in masks[name]["chains"]]
        starts = begin + np.cumsum([0, *lengths])
        for chain, residue, other, partner in masks[name]["disulfides"]:
            first, second = sorted((int(starts[chain]) + residue, int(starts[other]) + partner))
            bonds.add((first, second))
    return bonds


def near_pairs(corpus: Corpus, structure: int) -> np.ndarray:
    """(pairs, 2) trusted cysteines of one structure whose C-alphas allow a bond; no neighbours in a chain."""
    begin, end = corpus.offsets[structure : structure + 2]
    usable = corpus.trusted[begin:end] & (corpus.residue_types[begin:end] == RESIDUE_INDEX["CYS"])
    rows = begin + np.flatnonzero(usable)
    first, second = (rows[index] for index in np.triu_indices(len(rows), 1))
    c_alpha = corpus.coordinates[:, SLOT_CA]
    near = np.linalg.norm(c_alpha[first] - c_alpha[second], axis=-1) < MAX_DISULFIDE_CA_DISTANCE_NM
    near &= ~((second - first == 1) & corpus.linked[first])
    return np.stack([first, second], axis=1)[near]


@torch.inference_mode()
def describe_pairs(model: ProteinModel, corpus: Corpus, structure: int, pairs: np.ndarray) -> np.ndarray:
    """Features (draws, pairs, features) of pairs of one structure, in backbones that the model draws."""
    part = slice(*corpus.offsets[structure : structure + 2])
    chain = Chain.from_arrays(
        corpus.residue_types[part], corpus.chain_index[part], corpus.linked[part], "cpu"
    )
    c_alpha = torch.from_numpy(corpus.coordinates[part, SLOT_CA])[None]
    keys = stream_keys(0, _DRAWS, torch.zeros(1, dtype=torch.int64))
    backbone = model.draw_backbone(c_alpha - c_alpha[:, :1], chain, keys).atoms
    first, second = own = torch.from_numpy(pairs - part.start).T
    near = (chain.chain_index[first] == chain.chain_index[second]) & (second - first <= NEAR_RESIDUES)
    c_beta = model.c_beta(backbone, chain.types)
    return pair_features(backbone[:, own.T, SLOT_CA], c_beta[:, own.T], near).numpy()


def fit_odds(model: ProteinModel, corpus: Corpus, bonds: set[tuple[int, int]]) -> list[float]:
    """Fit the coefficients of the features of pairs; structures weigh as in training."""
    from sklearn.linear_model import LogisticRegression

    features, bonded, weights = [], [], []
    for structure in range(corpus.n_structures):
        pairs = near_pairs(corpus, structure)
        if len(pairs):
            features.append(describe_pairs(model, corpus, structure, pairs))
            bonded += [tuple(pair) in bonds for pair in pairs.tolist()]
            weights += [corpus.weights[structure]] * len(pairs)
    described = np.concatenate(features, axis=1)
    regression = LogisticRegression(C=100.0, fit_intercept=False, max_iter=10_000)
    regression.fit(
        described.reshape(-1, described.shape[-1]),
        np.tile(bonded, _DRAWS),
        sample_weight=np.tile(weights, _DRAWS),
    )
    return [round(float(value), 4) for value in regression.coef_[0]]


def measure_springs(corpus: Corpus, bonds: set[tuple[int, int]]) -> dict[str, list[float]]:
    """Median and spread in nm of the distances that hold a disulfide; a prime marks the other residue."""
    rows = np.array([bond for bond in sorted(bonds) if corpus.trusted[list(bond)].all()])
    slots = {"N": SLOT_N, "CA": SLOT_CA, "C": SLOT_C, "CB": SLOT_CB, "SG": _SLOT_SG}
    ours = {name: corpus.coordinates[rows.ravel(), slot] for name, slot in slots.items()}
    theirs = {name: corpus.coordinates[rows[:, ::-1].ravel(), slot] for name, slot in slots.items()}
    springs = {}
    for name in ("CA-CB", "N-CB", "C-CB", "CB-SG", "CA-SG", "SG-SG'", "CB-SG'", "CB-CB'"):
        first, second = name.rstrip("'").split("-")
        length = np.linalg.norm(ours[first] - (theirs if name.endswith("'") else ours)[second], axis=-1)
        median = np.median(length)
        spread = _DEVIATION_PER_MEDIAN * np.median(np.abs(length - median))
        springs[name] = [round(float(value), 5) for value in (median, spread)]
    return springs


def main() -> None:
    """Write the resource that :mod:`backmap.models.protein.disulfide_closure` reads."""
    folder, weights = map(Path, sys.argv[1:])
    corpus, model = load_corpus(folder, "train"), load_model(weights)
    if not isinstance(model, ProteinModel):
        raise SystemExit(f"{weights}: not a protein model")
    bonds = read_disulfides(corpus, folder, "train")
    measured = {
        "data": corpus.data_hash,
        "log odds": fit_odds(model, corpus, bonds),
        "springs": measure_springs(corpus, bonds),
    }
    RESOURCE.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
