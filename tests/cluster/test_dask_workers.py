"""A real cluster of processes on this machine: one dies, one has another version, one is not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import mdtraj
import numpy as np
import psutil
import pytest

import backmap
from backmap.cli.main import main
from backmap.cluster import DaskWorkers, choose_device, open_client
from backmap.errors import InputError
from backmap.runs import temporal_frames

pytest.importorskip("distributed")

EXAMPLES = Path(__file__).parents[2] / "examples"
TOP = EXAMPLES / "ww_c_alpha.pdb"


class Squares:
    """A job whose pieces are numbers."""

    def open(self, device):
        return self

    def __call__(self, number: int) -> int:
        if number < 0:
            raise InputError(f"{number}: has no place here")
        return number**2


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Run a scheduler with two workers, and give its address."""
    with open_client(workers=2) as client:
        yield client.scheduler.address


def reconstruct(given: Path, output: Path, *more: object) -> int:
    arguments = ["reconstruct", given, "--top", TOP, "-o", output, "--device", "cpu", *more]
    return main(list(map(str, arguments)))


def test_results_come_back_and_errors_too(address):
    with open_client(address) as client:
        with DaskWorkers(client, Squares(), choose_device(client, "auto")) as workers:
            assert workers.window == 4
            assert [future.result() for future in [workers.submit(n) for n in range(20)]] == [
                n**2 for n in range(20)
            ]
            with pytest.raises(InputError, match="-3: has no place here"):
                workers.submit(-3).result()


def test_the_number_of_workers_does_not_change_the_result(address, tmp_path):
    given = EXAMPLES / "ww_c_alpha.xtc"
    asked = ["--batch", 5, "--samples", 2, "--end", 16]
    assert reconstruct(given, tmp_path / "one.xtc", *asked, "--threads", 1) == 0
    assert reconstruct(given, tmp_path / "two.xtc", *asked, "--scheduler", address) == 0
    for sample in (1, 2):
        one, two = (tmp_path / f"{name}_{sample}.xtc" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_temporal_models_share_trajectories(address, tmp_path, monkeypatch):
    monkeypatch.setitem(temporal_frames.ROWS_PER_GROUP, "cpu", 2)
    rng = np.random.default_rng(0)
    shape = mdtraj.load(str(EXAMPLES / "alanine_dipeptide" / "alanine_dipeptide.pdb"))
    inputs = []
    for number in range(4):
        frames = mdtraj.join([shape] * 12)
        frames.xyz += rng.normal(0, 0.002, frames.xyz.shape)
        inputs.append(tmp_path / f"cg{number}.h5")
        frames.save(str(inputs[-1]))
    asked = ["--model", "alanine-dipeptide", "--device", "cpu", "--quiet", "--batch", "5"]
    for name, more in (("alone", []), ("shared", ["--scheduler", address])):
        arguments = ["reconstruct", *inputs, "-o", tmp_path / name, *asked, *more]
        assert main(list(map(str, arguments))) == 0
    for given in inputs:
        one, two = (mdtraj.load(str(tmp_path / name / given.name)).xyz for name in ("alone", "shared"))
        np.testing.assert_array_equal(one, two)


def test_a_worker_that_dies_loses_nothing(tmp_path):
    frames = mdtraj.load(str(EXAMPLES / "ww_c_alpha.xtc"), top=str(TOP))
    many = tmp_path / "many.xtc"
    mdtraj.join([frames] * 8).save(str(many))
    assert reconstruct(many, tmp_path / "whole.xtc", "--batch", 4) == 0
    killed: list[int] = []
    killer = threading.Thread(target=_kill_a_worker, args=(tmp_path / "out.xtc.partial", killed))
    killer.start()
    assert reconstruct(many, tmp_path / "out.xtc", "--batch", 4, "--chunk", 4, "--workers", 2) == 0
    killer.join()
    assert len(killed) == 1
    assert (tmp_path / "out.xtc").read_bytes() == (tmp_path / "whole.xtc").read_bytes()


def _kill_a_worker(unfinished: Path, killed: list[int]) -> None:
    """Kill one of the processes of this one that build, as soon as something is built."""
    until = time.monotonic() + 120
    while not (unfinished / "progress.safetensors").exists() and time.monotonic() < until:
        time.sleep(0.01)
    children = psutil.Process().children(recursive=True)
    worker = max(children, key=lambda child: child.create_time())
    os.kill(worker.pid, signal.SIGKILL)
    killed.append(worker.pid)


def test_an_interrupt_from_the_terminal_ends_all_in_one_line(tmp_path):
    many = tmp_path / "many.xtc"
    frames = mdtraj.load(str(EXAMPLES / "ww_c_alpha.xtc"), top=str(TOP))
    mdtraj.join([frames] * 400).save(str(many))  # minutes of work, whatever the machine
    arguments = [
        "reconstruct",
        many,
        "--top",
        TOP,
        "-o",
        tmp_path / "out.xtc",
        "--workers",
        "1",
        "--batch",
        "4",
    ]
    command = [sys.executable, "-m", "backmap.cli.main", *map(str, arguments), "--chunk", "4"]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until = time.monotonic() + 120
    while not (tmp_path / "out.xtc.partial" / "progress.safetensors").exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)
    _, error = run.communicate(timeout=300)
    assert run.returncode == 130
    first, second = error.splitlines()
    assert "out.xtc.partial keeps " in first and second == "backmap: interrupted"


def _pretend(version: str) -> None:
    backmap.__version__ = version


def test_workers_of_another_version_are_refused(address, tmp_path, capsys):
    given = EXAMPLES / "ww_c_alpha.xtc"
    with open_client(address) as client:
        client.run(_pretend, "0.0.1")
        try:
            assert reconstruct(given, tmp_path / "out.xtc", "--scheduler", address) == 2
            late = client.submit(_do_late, backmap.__version__, pure=False)
            with pytest.raises(InputError, match="has backmap 0.0.1, but the run uses"):
                late.result()
        finally:
            client.run(_pretend, backmap.__version__)
    error = capsys.readouterr().err
    assert f"has backmap 0.0.1, but the run uses {backmap.__version__}; install the same version" in error
    assert not list(tmp_path.iterdir())


def _do_late(version: str) -> None:
    """Do a piece of work on a worker that came after the versions were looked at."""
    from backmap.cluster.dask_workers import do_piece

    do_piece("none", version)


def test_a_scheduler_that_is_not_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("backmap.cluster.dask_workers.CONNECT_SECONDS", 1)
    given = EXAMPLES / "ww_c_alpha.xtc"
    for address in ("tcp://127.0.0.1:1", "nonsense"):
        assert reconstruct(given, tmp_path / "out.xtc", "--scheduler", address) == 2
        assert f"scheduler {address}: cannot be reached; start one" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_scheduler_without_workers(tmp_path, capsys, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr("backmap.cluster.dask_workers.WORKERS_SECONDS", 1)
    with LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        given = EXAMPLES / "ww_c_alpha.xtc"
        assert reconstruct(given, tmp_path / "out.xtc", "--scheduler", cluster.scheduler_address) == 2
    assert "no worker connected within 1 s" in capsys.readouterr().err


def test_a_cuda_device_that_workers_lack(address):
    with open_client(address) as client:
        if all(client.run(_has_cuda).values()):
            pytest.skip("the workers have CUDA devices")
        with pytest.raises(InputError, match="device cuda: PyTorch finds no CUDA device on worker tcp"):
            choose_device(client, "cuda")


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.mark.parametrize(
    "text", ['{"a": 1}', "[1,2", "[]", '{"address": 5}', "[" * 100_000, "\xff"], ids=repr
)
def test_files_of_no_scheduler_are_refused(text, tmp_path):
    (tmp_path / "scheduler.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"scheduler.json: not a scheduler file"):
        with open_client(str(tmp_path / "scheduler.json")):
            pass


@pytest.mark.parametrize(
    "address", ["tls://127.0.0.1:1", "tcp://:x", "foo://bar:1", "tcp://[::1", "inproc://1/2"]
)
def test_addresses_of_no_scheduler_are_refused(address, monkeypatch):
    monkeypatch.setattr("backmap.cluster.dask_workers.CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match="cannot be reached"):
        with open_client(address):
            pass
