"""The benchmark of quality: what tools get, and what they are judged against."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "2bf5.pdb.gz"


@pytest.fixture
def quality(benchmark_module):
    """The script as a module."""
    return benchmark_module("quality")


def test_noise_is_on_what_the_tools_get_alone_and_always_the_same(quality):
    clean, noisy, again = (quality.Structure.read(EXAMPLE, noise_nm) for noise_nm in (0.0, 0.0124, 0.0124))
    assert np.array_equal(clean.c_alpha, clean.atoms[:, :, 1])
    assert np.array_equal(noisy.atoms, clean.atoms, equal_nan=True)
    assert np.array_equal(noisy.c_alpha, again.c_alpha)
    assert np.std(noisy.c_alpha - clean.c_alpha) == pytest.approx(0.0124, rel=0.1)


def test_how_far_c_alphas_moved_is_measured_from_those_given(quality):
    structure = quality.Structure.read(EXAMPLE, 0.0124)

    def keep(given):
        atoms = given.atoms.copy()
        atoms[:, :, 1] = given.c_alpha
        return atoms[None], given.present

    tool = quality.Tool("keep", quality.one_by_one(keep))
    tool.run([structure], samples=1)
    measures = tool.cards[0].measures
    assert measures["consistency"]["all"].value == pytest.approx(0, abs=1e-5)
    assert measures["rmsd_backbone"]["all"].value > 0.05


def test_noise_and_given_atoms_exclude_each_other(quality):
    with pytest.raises(SystemExit):
        quality.parse(["--noise", "0.01", "--given", "backbone"])


def test_a_command_gets_c_alphas_and_given_atoms_and_is_judged_like_any_tool(quality, tmp_path):
    structure = quality.Structure.read(EXAMPLE, 0.0)
    name, command = quality.named_command("copy=cp {input} {output}")
    tool = quality.Tool(name, command.rebuild(partial(quality.sites_of_atoms, given="backbone")))
    tool.run([structure], samples=1)
    measures = tool.cards[0].measures
    assert not tool.failed
    assert measures["rmsd_backbone"]["all"].value == pytest.approx(0, abs=1e-3)
    assert measures["completeness"]["all"].value < 60


def test_a_command_that_fails_is_named(quality):
    structure = quality.Structure.read(EXAMPLE, 0.0)
    command = quality.named_command("false=false {input} {output}")[1]
    tool = quality.Tool("false", command.rebuild(partial(quality.sites_of_atoms, given=None)))
    tool.run([structure], samples=1)
    assert tool.failed == [f"{structure.name}: wrote nothing"] and not tool.cards


def test_a_command_gets_the_beads_of_a_mapping(quality):
    structure = quality.Structure.read(EXAMPLE, 0.0)
    sites = quality.given_sites(quality.parse(["--beads", "c-alpha+side-chain-centre"]))(structure, 0)
    assert [name for name, _ in sites[0]][:1] == ["CA"] and len(sites) == structure.topology.n_residues
    c_alphas = np.array([own[0][1] for own in sites])
    np.testing.assert_allclose(c_alphas, structure.c_alpha[0], atol=1e-6)
    assert {name for own in sites for name, _ in own} == {"CA", "SC"}


def test_start_up_and_speed_of_a_command_are_told_apart(quality):
    tool = quality.Tool("line", iter, sizes=[100, 200, 400], seconds=[2.1, 2.2, 2.4])
    assert tool.speed == pytest.approx((1000.0, 2.0))


@pytest.mark.parametrize("text", ["cp {input} {output}", "cp=cp {input}"])
def test_a_command_without_name_or_files_is_refused(quality, text):
    with pytest.raises(SystemExit):
        quality.parse(["--command", text])


def test_frames_of_a_trajectory_are_spread_over_it(quality):
    path = EXAMPLE.with_name("ww_c_alpha.xtc")
    every, some = (quality.Structure.read(path, 0.0, n_frames) for n_frames in (32, 4))
    assert np.array_equal(some.c_alpha, every.c_alpha[::8])
    assert len(quality.read_structures([EXAMPLE.parent / "corpus" / "train", path], None, None)) == 3


def test_a_command_builds_frame_after_frame(quality):
    structure = quality.Structure.read(EXAMPLE.with_name("ww_c_alpha.xtc"), 0.0, n_frames=2)
    _, command = quality.named_command("copy=cp {input} {output}")
    ((atoms, present),) = command.rebuild(partial(quality.sites_of_atoms, given=None))([structure])
    assert present[:, 1].all() and present.sum() == len(present)
    np.testing.assert_allclose(atoms[0][:, :, 1], structure.c_alpha, atol=1e-4)


def test_c_alphas_without_atoms_are_judged_by_what_needs_none(quality, capsys):
    path = str(EXAMPLE.with_name("ww_c_alpha.xtc"))
    arguments = ["--structures", path, "--frames", "2", "--samples", "2", "--tools", "protein"]
    assert quality.run(quality.parse(arguments)) == 0
    printed = capsys.readouterr().out
    assert "1 structures, 2 frames, 34 residues" in printed
    assert "| spread of samples, A |" in printed and "| chi1 within 40" not in printed
