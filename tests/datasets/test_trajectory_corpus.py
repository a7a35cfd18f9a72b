"""Frames of trajectories as structures: which are taken, how they are parted and mixed, what is refused."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from backmap.chemistry import SLOT_CA
from backmap.datasets.corpus import load_corpus
from backmap.datasets.residue_environments import draw_structures
from backmap.datasets.trajectory_corpus import corpora_of_trajectories, join_corpora, mix_corpora
from backmap.errors import InputError

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def frame():
    """Two chains, 183 residues."""
    return mdtraj.load(str(EXAMPLES / "2bf5.pdb.gz"))


@pytest.fixture
def trajectory(frame, tmp_path):
    """Write frames, the n-th of which is moved by n nm, and return the files."""

    def write(n_frames, name="t", atoms=None):
        moved = mdtraj.join([frame] * n_frames)
        moved.xyz += np.arange(n_frames)[:, None, None]
        moved = moved if atoms is None else moved.atom_slice(frame.topology.select(atoms))
        moved.save_xtc(str(tmp_path / f"{name}.xtc"))
        moved[0].save_pdb(str(tmp_path / f"{name}.pdb"))
        return tmp_path / f"{name}.xtc", tmp_path / f"{name}.pdb"

    return write


def frames_of(corpus):
    """Numbers of the frames that are in a corpus."""
    first = corpus.coordinates[corpus.offsets[:-1], SLOT_CA, 0]
    return np.round(first - first_position()).astype(int).tolist()


def first_position():
    frame = mdtraj.load(str(EXAMPLES / "2bf5.pdb.gz"))
    return frame.xyz[0, frame.topology.select("name CA")[0], 0]


def test_frames_of_a_trajectory_are_structures(frame, trajectory):
    files, topologies = ([path] for path in trajectory(5))
    data, held_out = corpora_of_trajectories(files, topologies, train_share=0.6, gap_share=0.0)
    assert (frames_of(data), frames_of(held_out)) == ([0, 1, 2], [3, 4])
    residues = frame.n_residues
    for corpus, first in ((data, 0), (held_out, 3)):
        for number in range(corpus.n_structures):
            rows = slice(corpus.offsets[number], corpus.offsets[number + 1])
            present = corpus.present[rows]
            shift = corpus.coordinates[rows][present] - data.coordinates[:residues][present]
            np.testing.assert_allclose(shift, first + number, atol=2e-3)
    assert data.chain_index.max() == 3 * frame.n_chains - 1
    assert not data.linked[data.offsets[1:] - 1].any()
    assert data.data_hash == held_out.data_hash != ""


def test_a_gap_lies_between_the_parts_and_long_trajectories_are_thinned(trajectory):
    files, topologies = ([path] for path in trajectory(20))
    data, held_out = corpora_of_trajectories(files, topologies, train_share=0.5, gap_share=0.2)
    assert (frames_of(data), frames_of(held_out)) == (list(range(10)), list(range(14, 20)))
    data, held_out = corpora_of_trajectories(
        files, topologies, stride=2, most_frames=4, train_share=0.5, gap_share=0.0
    )
    assert (frames_of(data), frames_of(held_out)) == ([0, 6], [12, 18])


def test_each_trajectory_gives_to_both_parts(trajectory):
    whole, chain = trajectory(4), trajectory(8, "chain", "chainid 0")
    data, held_out = corpora_of_trajectories(*zip(whole, chain, strict=True), train_share=0.5)
    sizes = np.diff(data.offsets)
    assert (len(set(sizes[:2])), len(set(sizes[2:]))) == (1, 1) and sizes[0] > sizes[-1]
    assert (data.n_structures, held_out.n_structures) == (6, 6)
    assert np.unique(data.chain_index).tolist() == list(range(2 * 2 + 4))
    other, _ = corpora_of_trajectories([chain[0]], [chain[1]], train_share=0.5)
    assert other.data_hash != data.data_hash


def test_whole_trajectories_can_be_held_out(trajectory):
    (whole, names), (chain, other_names) = trajectory(4), trajectory(8, "chain", "chainid 0")
    data, held_out = corpora_of_trajectories([whole, chain], [names, other_names], held_out=[whole])
    assert (frames_of(data), frames_of(held_out)) == (list(range(8)), list(range(4)))
    assert np.diff(data.offsets).max() < np.diff(held_out.offsets).min()
    with pytest.raises(InputError, match="all trajectories are held out"):
        corpora_of_trajectories([whole], [names], held_out=[whole])
    with pytest.raises(InputError, match="is listed as held out, but is not one of the trajectories"):
        corpora_of_trajectories([whole], [names], held_out=[chain])


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_mixed_draws_have_the_share_of_residues_asked_for(trajectory, corpus_folder, tmp_path, share):
    frames, _ = corpora_of_trajectories(*([path] for path in trajectory(10)), train_share=0.5)
    structures = load_corpus(corpus_folder, "train", tmp_path / "cache")
    mixed = mix_corpora(frames, structures, share)
    assert mixed.n_structures == frames.n_structures + structures.n_structures
    assert len({frames.data_hash, structures.data_hash, mixed.data_hash}) == 3
    own = len(structures.residue_types) // structures.n_structures
    generator, shown = np.random.default_rng(0), {True: 0, False: 0}
    for _ in range(4000):
        (structure,) = draw_structures(mixed, 1, generator, 0.0, 0.0)
        shown[len(structure.residue_types) == own] += len(structure.residue_types)
    assert shown[True] / sum(shown.values()) == pytest.approx(share, abs=0.06)


def test_joined_corpora_keep_every_structure_as_it_was(corpus_folder, tmp_path):
    one, other = (load_corpus(corpus_folder, split, tmp_path / "cache") for split in ("train", "validation"))
    joined = join_corpora([one, other], "both")
    rows = slice(joined.offsets[one.n_structures], None)
    for name in ("coordinates", "present", "residue_types", "linked", "trusted"):
        assert np.array_equal(getattr(joined, name)[rows], getattr(other, name), equal_nan=True)
    assert joined.chain_index[rows].min() == one.chain_index.max() + 1
    assert np.array_equal(joined.weights, np.concatenate([one.weights, other.weights]))


@pytest.mark.parametrize("n_frames, words", [(1, "1 frame cannot"), (2, "2 frames cannot")])
def test_too_few_frames_are_refused(trajectory, n_frames, words):
    with pytest.raises(InputError, match=f"{words} be parted with train_share 0.8 and gap_share 0.05"):
        corpora_of_trajectories(*([path] for path in trajectory(n_frames)))


@pytest.mark.parametrize(
    "atoms, message",
    [
        ("name CA", "contains only C-alphas; training needs all heavy atoms"),
        ("backbone and not name O", "no two bonded residues .* have all their heavy atoms"),
    ],
)
def test_a_trajectory_without_atoms_is_refused(trajectory, atoms, message):
    with pytest.raises(InputError, match=message):
        corpora_of_trajectories(*([path] for path in trajectory(10, atoms=atoms)))


def test_modified_residues_teach_nothing(frame, trajectory, tmp_path):
    trajectory(10)
    text = (tmp_path / "t.pdb").read_text()
    number = next(r.resSeq for r in frame.topology.residues if r.name == "SER")
    (tmp_path / "t.pdb").write_text(text.replace(f"SER A{number:4d}", f"SEP A{number:4d}"))
    data, _ = corpora_of_trajectories([tmp_path / "t.xtc"], [tmp_path / "t.pdb"])
    own, _ = corpora_of_trajectories(*([path] for path in trajectory(10, "plain")))
    changed = np.flatnonzero(data.trusted != own.trusted)
    assert len(changed) == data.n_structures and not data.trusted[changed].any()


def test_topologies_that_do_not_fit_are_refused(trajectory):
    whole, chain = trajectory(10), trajectory(10, "chain", "chainid 0")
    with pytest.raises(InputError, match="3 topologies for 2 trajectories"):
        corpora_of_trajectories([whole[0], chain[0]], [whole[1]] * 3)
    with pytest.raises(InputError, match="atoms"):
        corpora_of_trajectories([whole[0]], [chain[1]])
