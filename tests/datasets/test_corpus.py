import gzip
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from backmap.chemistry import SLOT_CA
from backmap.datasets.corpus import load_corpus
from backmap.datasets.residue_environments import draw_structures, iterate_structures
from backmap.errors import InputError


def test_structures_are_read_with_masks(corpus_folder, tmp_path):
    corpus = load_corpus(corpus_folder, "train", tmp_path / "cache")
    assert corpus.n_structures == 4 and len(corpus.present) == 4 * 15
    assert not corpus.present[13, 13] and not corpus.trusted[13]
    assert corpus.trusted.sum() == 4 * 15 - 1
    assert corpus.linked[:15].tolist() == [True] * 11 + [False, True, True, False]
    assert np.allclose(corpus.coordinates[1, SLOT_CA], [0.38, 0, 0], atol=1e-4)
    assert len(np.unique(corpus.chain_index)) == 8


def test_clusters_share_their_weight(corpus_folder, tmp_path):
    corpus = load_corpus(corpus_folder, "train", tmp_path)
    assert np.allclose(corpus.weights, [3**-0.5] * 3 + [1.0])


def test_cache_gives_the_same_and_notices_a_change(corpus_folder, tmp_path):
    first = load_corpus(corpus_folder, "train", tmp_path / "cache")
    second = load_corpus(corpus_folder, "train", tmp_path / "cache")
    assert first.data_hash == second.data_hash
    assert np.array_equal(first.coordinates, second.coordinates)
    (corpus_folder / "train" / "s1.pdb.gz").write_bytes((corpus_folder / "train" / "s0.pdb.gz").read_bytes())
    assert load_corpus_hash(corpus_folder, tmp_path) != first.data_hash


def load_corpus_hash(folder, tmp_path):
    try:
        return load_corpus(folder, "train", tmp_path / "cache").data_hash
    except (ValueError, KeyError):
        return "the changed file was read and does not fit its mask"


def test_not_a_corpus(tmp_path, corpus_folder):
    with pytest.raises(InputError, match="contains no manifest.csv"):
        load_corpus(tmp_path, "train")
    with pytest.raises(InputError, match="no structure of split 'test'"):
        load_corpus(corpus_folder, "test")


def test_draws_are_deterministic_and_noise_is_as_asked(corpus_folder, tmp_path):
    corpus = load_corpus(corpus_folder, "train", tmp_path)

    def draw(seed, noise):
        return list(draw_structures(corpus, 3, np.random.default_rng(seed), noise, 0.03))

    for one, two in zip(draw(1, 1.0), draw(1, 1.0), strict=True):
        assert np.array_equal(one.c_alpha, two.c_alpha)
    for structure in draw(1, 0.0):
        assert np.array_equal(structure.c_alpha, structure.coordinates[:, SLOT_CA])
    for structure in draw(2, 1.0):
        moved = structure.c_alpha - structure.coordinates[:, SLOT_CA]
        assert 0 < moved.std() < 0.04
    assert len(list(iterate_structures(corpus))) == 4


def spoil_manifest(folder: Path) -> None:
    path = folder / "manifest.csv"
    path.write_text(path.read_text().replace("cluster", "group"))


def spoil_masks(folder: Path) -> None:
    with gzip.open(folder / "masks.jsonl.gz", "wt") as file:
        file.write('{"id": "s0", "chains": [{"seq": "GG", "mask": "1"}]}')


def spoil_residue(folder: Path) -> None:
    path = folder / "train" / "s1.pdb.gz"
    text = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(text.replace(b"TRP", b"UNK")))


def make_pipe(folder: Path) -> None:
    (folder / "train" / "s1.pdb.gz").unlink()
    os.mkfifo(folder / "train" / "s1.pdb.gz")


SPOILT = {
    "no column": (
        spoil_manifest,
        "manifest.csv: cannot be used in a structure corpus (KeyError('cluster",
    ),
    "mask": (spoil_masks, "masks.jsonl.gz: cannot be used in a structure corpus (sequence and mask of s0"),
    "residue": (spoil_residue, "s1.pdb.gz: cannot be used in a structure corpus (KeyError('UNK'))"),
    "pipe": (make_pipe, "s1.pdb.gz: is not a regular file"),
    "missing": (lambda folder: (folder / "train" / "s1.pdb.gz").unlink(), "s1.pdb.gz: no such file"),
}


@pytest.mark.parametrize("spoil, message", SPOILT.values(), ids=SPOILT)
def test_a_corpus_that_is_not_one_is_refused(corpus_folder, tmp_path, spoil, message):
    spoil(corpus_folder)
    with pytest.raises(InputError) as caught:
        load_corpus(corpus_folder, "train", tmp_path / "cache")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["manifest.csv", "masks.jsonl.gz", "train/s1.pdb.gz"])
def test_damaged_files_of_a_corpus_are_refused(corpus_folder, tmp_path, name):
    path, generator = corpus_folder / name, np.random.default_rng(0)
    whole = path.read_bytes()
    for number in range(20):
        data = bytearray(whole[: generator.integers(len(whole))] if number % 3 == 0 else whole)
        for place in generator.integers(0, max(len(data), 1), 3):
            data[place : place + 1] = bytes([generator.integers(256)])
        path.write_bytes(data)
        with suppress(InputError):
            load_corpus(corpus_folder, "train", tmp_path / "cache")
