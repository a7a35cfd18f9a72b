"""``backmap reconstruct`` with a temporal model, from files to files, and what is left when it is killed."""

from __future__ import annotations

import json
import os
import re
import resource
import time
import weakref
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap.api
from backmap.cli.main import main
from backmap.errors import InputError, InputWarning
from backmap.inference.temporal_job import Roller
from backmap.io import AtomList, GrowingOutput, to_mdtraj
from backmap.runs import temporal_frames
from backmap.runs.recorder import Recorder
from tests.toy_temporal import BEAD_ATOMS, DIPEPTIDE, SHAPE_NM, ToyFile, ToyTemporal, beads, install

pytestmark = pytest.mark.filterwarnings("ignore:.*netCDF4")


def save(path: Path, frames: int, seed: int = 0, *, cell: bool = False) -> Path:
    """Write beads with a topology of the beads beside them."""
    atoms = np.zeros((frames, 22, 3))
    atoms[:, BEAD_ATOMS] = beads(frames, seed)
    trajectory = to_mdtraj(AtomList.of_molecule(DIPEPTIDE), atoms, time=10.0 + np.arange(frames))
    trajectory = trajectory.atom_slice(BEAD_ATOMS)
    if cell:
        trajectory.unitcell_vectors = np.broadcast_to(3 * np.eye(3), (frames, 3, 3))
    trajectory.save(str(path))
    trajectory[0].save_pdb(str(path.with_suffix(".pdb")))
    return path


@pytest.fixture
def given(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    return save(tmp_path / "in" / "cg.xtc", 40, cell=True)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Put a toy in the place of the trained model, the one given or a well-behaved one."""

    def use(model: ToyTemporal | None = None) -> ToyTemporal:
        return install(tmp_path / "toy.safetensors", model, monkeypatch.setattr)

    use()
    return use


def run(given: Path | list[Path], output: Path, *more: str) -> int:
    inputs = given if isinstance(given, list) else [given]
    top = inputs[0].with_suffix(".pdb")
    return main(
        ["reconstruct", *map(str, inputs), "--top", str(top), "--model", "toy", "-o", str(output), *more]
    )


def load(path: Path) -> mdtraj.Trajectory:
    beside = path.with_suffix(".pdb")
    named = path.suffix not in (".xtc", ".trr", ".dcd", ".nc")
    return mdtraj.load(str(path)) if named else mdtraj.load(str(path), top=str(beside))


def assert_same(one: Path, other: Path) -> None:
    """Compare coordinates byte by byte; a DCD file also says when it was made."""
    assert load(one).xyz.tobytes() == load(other).xyz.tobytes()


@pytest.mark.parametrize("suffix", [".pdb", ".cif", ".xtc", ".trr", ".dcd", ".nc", ".h5"])
def test_all_atoms_of_all_frames(toy, given, tmp_path, suffix, capsys):
    if suffix == ".h5":
        pytest.importorskip("tables")
    output = tmp_path / f"out{suffix}"
    assert run(given, output) == 0
    built, source = load(output), mdtraj.load(str(given), top=str(given.with_suffix(".pdb")))
    assert [atom.name for atom in built.topology.atoms] == list(DIPEPTIDE.atom_names)
    assert [atom.element.symbol for atom in built.topology.atoms] == list(DIPEPTIDE.elements)
    assert [residue.name for residue in built.topology.residues] == ["ACE", "ALA", "NME"]
    assert built.n_frames == 40
    np.testing.assert_allclose(built.xyz[:, BEAD_ATOMS], source.xyz, atol=2e-3)
    np.testing.assert_allclose(built.unitcell_lengths, 3.0, atol=1e-3)
    if suffix not in (".pdb", ".cif", ".dcd"):
        np.testing.assert_allclose(built.time, source.time)
    assert not list(tmp_path.glob("*.partial"))
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("reconstructed 40 frames x 1 sample in ")
    pattern = (
        r"frames/s\); 0 repeated draws, 0 restarts, 0 unphysical frames; "
        r"distance of beads from the input 0\.000\d+ nm, at most 0\.000\d+ nm -> "
    )
    assert re.search(pattern, line) and line.endswith(str(output))


def test_manifest_holds_what_the_monitor_counted(toy, given, tmp_path):
    toy(ToyTemporal(lambda c_g, uniform: uniform[:, 3] < 0.2))
    assert run(given, tmp_path / "out.dcd", "--samples", "3", "--seed", "4", "--quiet") == 0
    manifest = json.loads((tmp_path / "out.dcd.backmap.json").read_text())
    assert (manifest["seed"], manifest["samples"], manifest["stride"]) == (4, 3, 1)
    (counted,) = manifest["rollout"]
    assert counted["trajectory"] == str(given)
    assert counted["frames"] == 120
    assert 5 < counted["redraws"] < 80
    assert counted["unphysical"] == 0
    assert 0 < counted["mean_residual_nm"] < counted["largest_residual_nm"] < 1e-3
    assert [path.name for path in sorted(tmp_path.glob("out*.dcd"))] == [f"out_{n}.dcd" for n in (1, 2, 3)]


def test_a_bad_molecule_is_reported(toy, given, tmp_path, capsys):
    toy(ToyTemporal(lambda c_g, uniform: uniform[:, 0] >= 0))
    assert run(given, tmp_path / "out.dcd") == 0
    error = capsys.readouterr().err
    assert "cg.xtc: 40 frames remained unphysical after repeated draws (see out.dcd.backmap.json)" in error
    assert "40 restarts, 40 unphysical frames" in error


def test_several_trajectories_in_one_batch(toy, given, tmp_path, capsys, monkeypatch):
    inputs = [given, save(tmp_path / "in" / "short.xtc", 7, seed=1), save(tmp_path / "in" / "mid.dcd", 20, 2)]
    model = toy()
    assert run(inputs, tmp_path / "out", "--samples", "2") == 0
    assert max(model.batches) == 6
    lengths = {path.name: load(path).n_frames for path in (tmp_path / "out").glob("*.[xd][tc][cd]")}
    assert lengths == {
        "cg_1.xtc": 40, "cg_2.xtc": 40, "short_1.xtc": 7, "short_2.xtc": 7, "mid_1.dcd": 20, "mid_2.dcd": 20
    }  # fmt: skip
    manifest = json.loads((tmp_path / "out" / "rollout.backmap.json").read_text())
    assert [entry["frames"] for entry in manifest["rollout"]] == [80, 14, 40]
    assert not list((tmp_path / "out").glob("*.partial"))
    assert "reconstructed 3 trajectories with 67 frames in total x 2 samples" in capsys.readouterr().err
    assert run(given, tmp_path / "alone.xtc", "--samples", "2") == 0
    np.testing.assert_allclose(
        load(tmp_path / "alone_2.xtc").xyz, load(tmp_path / "out" / "cg_2.xtc").xyz, atol=1.1e-3
    )


def test_more_inputs_than_files_may_be_open(toy, tmp_path, monkeypatch):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(temporal_frames, "_OTHER_FILES", 50)
    (tmp_path / "in").mkdir()
    inputs = [save(tmp_path / "in" / f"{number}.dcd", 2, number) for number in range(40)]
    used = len(os.listdir("/proc/self/fd"))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, limit[1]))
        assert run(inputs, tmp_path / "out", "--quiet") == 0
        monkeypatch.setattr(temporal_frames, "_OTHER_FILES", 10**9)
        with pytest.raises(InputError, match="40 inputs at once need .* open files, but the system allows"):
            temporal_frames.allow_open_files(40)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert len(list((tmp_path / "out").glob("*.dcd"))) == 40


def test_chunks_do_not_change_the_result(toy, given, tmp_path, monkeypatch):
    assert run(given, tmp_path / "whole.dcd") == 0
    monkeypatch.setattr("backmap.inference.temporal.POSITIONS_PER_CHUNK", 22 * 7)
    assert run(given, tmp_path / "pieces.dcd") == 0
    assert_same(tmp_path / "whole.dcd", tmp_path / "pieces.dcd")


def test_stride_and_interval(toy, given, tmp_path, capsys):
    assert run(given, tmp_path / "out.xtc", "--stride", "3") == 0
    assert load(tmp_path / "out.xtc").time.tolist() == [10.0 + 3 * frame for frame in range(14)]
    assert (
        "cg.xtc: frames are 3 ps apart after a stride of 3, but the model was trained on frames 1 ps apart"
    ) in capsys.readouterr().err
    dcd = save(tmp_path / "in" / "untimed.dcd", 6)
    assert run(dcd, tmp_path / "untimed.dcd", "--stride", "2") == 0
    assert (
        "contains no times; with a stride of 2 its frames must be 0.5 ps apart for this model"
    ) in capsys.readouterr().err


def test_python_api(toy, given):
    trajectory = mdtraj.load(str(given), top=str(given.with_suffix(".pdb")))
    built = backmap.api.reconstruct(trajectory, model="toy")
    assert (built.n_frames, built.n_atoms) == (40, 22)
    np.testing.assert_allclose(built.time, trajectory.time)
    np.testing.assert_allclose(built.unitcell_lengths, 3.0, atol=1e-3)
    several = backmap.api.reconstruct(given, top=given.with_suffix(".pdb"), model="toy", samples=2, seed=1)
    assert len(several) == 2 and (several[0].xyz != several[1].xyz).any()


def test_far_from_the_origin_nothing_is_lost(toy, given):
    trajectory = mdtraj.load(str(given), top=str(given.with_suffix(".pdb")))
    here = backmap.api.reconstruct(trajectory, model="toy")
    trajectory.xyz = trajectory.xyz + np.float32(512)
    there = backmap.api.reconstruct(trajectory, model="toy")
    np.testing.assert_allclose(there.xyz - 512, here.xyz, atol=1e-3)  # what the input was rounded by


def test_angstrom_are_refused(toy, given):
    trajectory = mdtraj.load(str(given), top=str(given.with_suffix(".pdb")))
    trajectory.xyz *= 10
    with pytest.raises(InputError, match="10 times too long: Angstrom were taken for nm; divide"):
        backmap.api.reconstruct(trajectory, model="toy")


def test_beads_outside_the_grid_are_refused(toy, given):
    trajectory = mdtraj.load(str(given), top=str(given.with_suffix(".pdb")))
    centre = trajectory.xyz[30].mean(axis=0)
    trajectory.xyz[30] = centre + 2 * (trajectory.xyz[30] - centre)
    with pytest.raises(InputError) as refusal:
        backmap.api.reconstruct(trajectory, model="toy")
    assert re.fullmatch(
        r"the trajectory: frame 31: its beads reach 0\.\d+ nm from their centre, outside the model's grid of "
        "0.8 nm; train a model with a larger grid",
        str(refusal.value),
    )


def test_a_molecule_broken_across_the_box_is_made_whole_or_refused(toy, given):
    trajectory = mdtraj.load(str(given), top=str(given.with_suffix(".pdb")))
    whole = backmap.api.reconstruct(trajectory, model="toy")
    trajectory.xyz[23, 4:, 1] += 3.0
    trajectory.unitcell_vectors = np.broadcast_to(3 * np.eye(3), (trajectory.n_frames, 3, 3))
    np.testing.assert_allclose(backmap.api.reconstruct(trajectory, model="toy").xyz, whole.xyz, atol=1e-5)
    trajectory.unitcell_vectors = None
    with pytest.raises(InputError) as refusal:
        backmap.api.reconstruct(trajectory, model="toy")
    assert re.fullmatch(
        r"the trajectory: frame 24: its beads lie 1\.\d+ nm from their centre instead of about 0\.17\d nm; "
        "if the molecule is broken across the periodic box, make it whole first",
        str(refusal.value),
    )
    trajectory.xyz[0, 4:, 1] += 3.0  # the unit is judged by this frame
    with pytest.raises(InputError, match="frame 1: its beads lie 1"):
        backmap.api.reconstruct(trajectory, model="toy")


def test_seeds_of_another_trajectory(toy, given, tmp_path, capsys):
    shape = to_mdtraj(AtomList.of_molecule(DIPEPTIDE), np.repeat(SHAPE_NM[None], 9, 0))
    shape.xyz += 0.001 * np.arange(9)[:, None, None]
    shape.save_pdb(str(tmp_path / "seeds.pdb"))
    shape.save_dcd(str(tmp_path / "seeds.dcd"))
    for name in ("seeds.pdb", "seeds.dcd"):
        model = toy()
        library = temporal_frames.read_library(model, tmp_path / name)
        assert library.shape == (7, 3, 22, 3)
        np.testing.assert_allclose(library[3, 2], shape.xyz[5], atol=1e-4)
        assert run(given, tmp_path / f"{name}.out.dcd", "--seed-from", str(tmp_path / name)) == 0
        manifest = json.loads((tmp_path / f"{name}.out.dcd.backmap.json").read_text())
        assert manifest["seed_from"]["path"] == str(tmp_path / name)
    shape[:2].save_dcd(str(tmp_path / "two.dcd"))
    assert run(given, tmp_path / "out.dcd", "--seed-from", str(tmp_path / "two.dcd")) == 2
    assert "two.dcd: has 2 frames, but the model needs 3 successive frames" in capsys.readouterr().err
    assert run(given, tmp_path / "out.dcd", "--seed-from", str(given.with_suffix(".pdb"))) == 2
    assert (
        "residue 1 ACE has no atom H1, or more than one; give a file with all 22 atoms"
        in capsys.readouterr().err
    )


BAD_REQUESTS = {
    "skip": (
        ["--skip-unknown"],
        "--skip-unknown: applies only to protein and diamondback models; toy is a temporal model",
    ),
    "format": (["-o", "x.docx"], "x.docx: cannot tell the output format from the extension .docx"),
    "format that can only be read": (["-o", "x.xyz"], "x.xyz: .xyz files can only be read; use one of .pdb"),
    "refine": (["--refine", "5"], "toy: contains no force field to refine frames with; train the model with"),
    "temperature": (["--temperature", "350"], "a temperature (350 K) applies to refined frames only"),
    "folder": (["-o", "none/x.dcd"], "none/x.dcd: the folder none does not exist; create it first"),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_bad_requests(toy, given, tmp_path, capsys, case, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD_REQUESTS[case]
    before = sorted(tmp_path.rglob("*"))
    assert run(given, tmp_path / "out.dcd", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_options_of_the_other_family(toy, given, tmp_path, capsys, monkeypatch):
    weights = tmp_path / "toy.safetensors"
    monkeypatch.setattr(
        backmap.models.shipped, "read_model", lambda name: ToyFile(str(name), weights, "protein")
    )
    assert run(given, tmp_path / "out.dcd", "--refine", "3") == 2
    assert "--refine: applies only to temporal models; toy is a protein model" in capsys.readouterr().err
    assert run([given, given], tmp_path / "out.dcd") == 2
    assert "cg.xtc: protein models take one input; run once per input" in capsys.readouterr().err


def test_inputs_of_one_name(toy, given, tmp_path, capsys):
    assert run([given, given], tmp_path / "out") == 2
    assert "cg.xtc: two inputs would be written to this file; rename one of them" in capsys.readouterr().err


def test_output_that_exists_is_refused_before_anything_is_built(toy, given, tmp_path, capsys):
    assert run(given, tmp_path / "out.dcd") == 0
    before = load(tmp_path / "out.dcd").xyz
    model = toy()
    assert run(given, tmp_path / "out.dcd", "--seed", "1") == 2
    assert "already exists; give --overwrite" in capsys.readouterr().err
    assert not model.batches and not list(tmp_path.glob("*.partial"))
    assert run(given, tmp_path / "out.dcd", "--seed", "1", "--overwrite") == 0
    assert (load(tmp_path / "out.dcd").xyz != before).any()
    assert run(given, given, "--overwrite") == 2
    assert "is an input of this run" in capsys.readouterr().err


class Stops(ToyTemporal):
    """Is interrupted at a frame."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def step(self, c_g, previous, uniform):
        if len(self.batches) == self.at:
            raise KeyboardInterrupt
        return super().step(c_g, previous, uniform)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr("backmap.inference.temporal.POSITIONS_PER_CHUNK", 22 * 7)


def test_interrupted_and_resumed(toy, given, tmp_path, capsys, small_chunks):
    assert run(given, tmp_path / "whole.dcd") == 0
    capsys.readouterr()
    toy(Stops(at=17))
    assert run(given, tmp_path / "out.dcd") == 130
    kept = r" keeps (\d+) of 40 frames; continue with --resume\nbackmap: interrupted\n"
    message = re.fullmatch(re.escape(f"backmap: {tmp_path}/out.dcd.partial") + kept, capsys.readouterr().err)
    assert message and message[1] in ("7", "14")  # the second chunk may still be on its way to the file
    model = toy()
    assert run(given, tmp_path / "out.dcd") == 2
    assert capsys.readouterr().err == (
        f"backmap: error: {tmp_path}/out.dcd.partial: contains an unfinished run; "
        "give --resume to continue it, or --overwrite to start anew\n"
    )
    assert run(given, tmp_path / "out.dcd", "--resume") == 0
    assert len(model.batches) == 40 - int(message[1])
    assert_same(tmp_path / "out.dcd", tmp_path / "whole.dcd")
    manifests = [json.loads((tmp_path / f"{name}.dcd.backmap.json").read_text()) for name in ("out", "whole")]
    assert manifests[0]["rollout"] == manifests[1]["rollout"]
    assert not list(tmp_path.glob("*.partial"))


def test_interrupted_before_anything_was_done_leaves_nothing(toy, given, tmp_path, small_chunks):
    toy(Stops(at=3))
    before = sorted(tmp_path.iterdir())
    assert run(given, tmp_path / "out.dcd") == 130
    assert sorted(tmp_path.iterdir()) == before


CHANGES = {
    "seed": (["--seed", "3"], "the unfinished run there differs in seed (0, now 3); give the same again"),
    "samples": (["--samples", "2"], "the unfinished run there differs in samples (1, now 2)"),
    "stride": (["--stride", "2"], "the unfinished run there differs in stride (1, now 2)"),
}


@pytest.mark.parametrize("case", [*CHANGES, "input", "model", "version"])
def test_resume_of_another_run_is_refused(toy, given, tmp_path, capsys, small_chunks, case, monkeypatch):
    toy(Stops(at=17))
    assert run(given, tmp_path / "out.dcd") == 130
    toy()
    arguments, message = CHANGES.get(case, ([], f"the unfinished run there differs in {case}"))
    if case == "input":
        save(given, 41)
    elif case == "model":
        (tmp_path / "toy.safetensors").write_text("other weights")
    elif case == "version":
        monkeypatch.setattr("backmap.io.durable.manifest.versions", lambda: {"numpy": "0.1"})
    assert run(given, tmp_path / "out.dcd", "--resume", *arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.glob("*.partial"))
    assert run(given, tmp_path / "out.dcd", "--overwrite", *arguments) == 0
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("moment", ["writing", "publishing", "published"])
def test_stopped_after_the_last_frame(toy, given, tmp_path, monkeypatch, moment):
    """The output is being written, given its name, or has it already."""
    assert run(given, tmp_path / "whole.dcd") == 0

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    where = {
        "writing": "backmap.io.formats.frame_encoders.DcdEncoder.finish",
        "publishing": "backmap.io.durable.staging.os.replace",
        "published": "backmap.io.Journal.remove",
    }[moment]
    with monkeypatch.context() as patch:
        if moment == "publishing":
            replace = os.replace
            patch.setattr(where, lambda one, two: die() if "out" in Path(two).name else replace(one, two))
        else:
            patch.setattr(where, die)
        with pytest.raises(Killed):
            run(given, tmp_path / "out.dcd")
    model = toy()
    assert run(given, tmp_path / "out.dcd", "--resume") == 0
    assert not model.batches
    assert_same(tmp_path / "out.dcd", tmp_path / "whole.dcd")
    assert sorted(path.name for path in tmp_path.glob("out*")) == [
        "out.dcd",
        "out.dcd.backmap.json",
        "out.pdb",
    ]


def test_memory_does_not_grow_with_frames(toy, tmp_path, monkeypatch):
    """Few chunks of atoms live at once, however slowly they are written."""
    monkeypatch.setattr("backmap.inference.temporal.POSITIONS_PER_CHUNK", 22 * 20)
    roll, add, append = Roller.__call__, Recorder.add, GrowingOutput.append
    born, alive_at_once = [], []

    def note(atoms):
        born.append(weakref.ref(_owner(atoms)))
        alive_at_once.append(sum(atoms() is not None for atoms in born))

    def watch_building(roller, *given):
        rolled, state = roll(roller, *given)
        note(rolled[0].coordinates)
        return rolled, state

    def watch_recording(recorder, step):
        for _, frames in step.written:
            note(frames.coordinates)
        add(recorder, step)

    def append_slowly(output, frames):
        time.sleep(0.1)
        append(output, frames)

    monkeypatch.setattr(Roller, "__call__", watch_building)
    monkeypatch.setattr(Recorder, "add", watch_recording)
    monkeypatch.setattr(GrowingOutput, "append", append_slowly)
    assert run(save(tmp_path / "cg.dcd", 500), tmp_path / "out.dcd", "--quiet") == 0
    assert len(born) == 2 * 25
    assert max(alive_at_once) <= 8  # of 25 chunks: three being built or waiting, four being written


def _owner(values: np.ndarray) -> object:
    """Give the object whose memory an array looks into."""
    owner: object = values
    while getattr(owner, "base", None) is not None:
        owner = owner.base
    return owner


def test_warnings_are_ours(toy, given, tmp_path):
    nameless = save(tmp_path / "in" / "nameless.dcd", 3)
    with pytest.warns(
        InputWarning, match="contains no names; assumed to be the model's 6 beads C N CA CB C N"
    ):
        backmap.api.reconstruct(nameless, model="toy")
