"""What is measured of the disulfides of a corpus: a made-up one, of one bond and one free pair."""

import csv
import gzip
import json

import numpy as np
import pytest

from backmap.chemistry import RESIDUE_INDEX, SLOT_CB
from backmap.datasets.corpus import Corpus
from backmap.models.protein.disulfide_closure import RESOURCE
from backmap.training.disulfides import measure_springs, near_pairs, read_disulfides

SLOT_SG = 5


@pytest.fixture
def corpus() -> Corpus:
    """Two structures of six residues: cysteines 1, 2 and 4 of both, of which 1 and 4 are near each other."""
    coordinates = np.zeros((12, 15, 3), dtype=np.float32)
    coordinates[:, :, 0] = np.tile(np.arange(6), 2)[:, None]
    for first in (1, 7):
        coordinates[first + 3, :, 0] = first % 6
        coordinates[first + 3, :, 1] = 0.5
        coordinates[[first, first + 3], SLOT_CB, 1] += [0.15, -0.15]
        coordinates[[first, first + 3], SLOT_SG, 1] += [0.15, -0.146]
    types = np.full(12, RESIDUE_INDEX["ALA"])
    types[[1, 2, 4, 7, 8, 10]] = RESIDUE_INDEX["CYS"]
    return Corpus(
        coordinates=coordinates,
        present=np.ones((12, 15), dtype=bool),
        residue_types=types,
        chain_index=np.repeat([0, 1], 6),
        linked=np.tile(np.arange(6) < 5, 2),
        trusted=np.arange(12) != 10,
        offsets=np.array([0, 6, 12]),
        weights=np.ones(2),
        data_hash="",
    )


def test_bonds_are_read_by_structure_and_chain(corpus, tmp_path):
    with open(tmp_path / "manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows([["id", "split"], ["x", "test-dev"], ["a", "train"], ["b", "train"]])
    chains = [{"seq": "ACCA"}, {"seq": "CA"}]
    masks = [{"id": name, "chains": chains, "disulfides": bonds} for name, bonds in (
        ("b", [[1, 0, 0, 1]]), ("a", []), ("x", [[0, 1, 0, 2]])
    )]  # fmt: skip
    with gzip.open(tmp_path / "masks.jsonl.gz", "wt") as file:
        file.write("\n".join(json.dumps(mask) for mask in masks))
    assert read_disulfides(corpus, tmp_path, "train") == {(7, 10)}


def test_pairs_are_trusted_and_in_reach(corpus):
    assert near_pairs(corpus, 0).tolist() == [[1, 4]]
    assert near_pairs(corpus, 1).tolist() == []
    corpus.coordinates[2] = corpus.coordinates[1]
    assert near_pairs(corpus, 0).tolist() == [[1, 4], [2, 4]]


def test_springs_are_medians_over_trusted_bonds(corpus):
    springs = measure_springs(corpus, {(1, 4), (7, 10)})
    lengths = {name: length for name, (length, _) in springs.items()}
    assert lengths["SG-SG'"] == pytest.approx(0.204) and lengths["CB-CB'"] == pytest.approx(0.2)
    assert lengths["CA-CB"] == pytest.approx(0.15) and lengths["CA-SG"] == pytest.approx(0.148, abs=0.003)


def test_the_shipped_odds_are_those_of_the_features():
    shipped = json.loads(RESOURCE.read_text())
    assert len(shipped["log odds"]) == 10
    assert shipped["springs"]["SG-SG'"][0] == pytest.approx(0.204, abs=0.002)
    assert (np.array(list(shipped["springs"].values()))[:, 1] > 0).all()
