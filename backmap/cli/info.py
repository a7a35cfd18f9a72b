"""``backmap info``: versions, the build of the native library, and available devices.

PyTorch is not imported, which would take a second: its files and the driver of the GPU say as much.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import importlib.util
import os
import runpy
from pathlib import Path

from .console import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb, which has none."""


def run(arguments: argparse.Namespace) -> int:
    """Print the details that a bug report needs."""
    found = {**_versions(), **_native_library(), **_devices()}
    show("\n".join(f"{name:<12} {value}" for name, value in found.items()))
    return 0


def _versions() -> dict[str, str]:
    from backmap.io.durable.manifest import versions

    return versions()


def _native_library() -> dict[str, str]:
    from backmap import _native

    try:
        _native.check(importlib.metadata.version("torch"))
        build = _native.build_description()
    except importlib.metadata.PackageNotFoundError:
        return {"native": "not usable without PyTorch: install it with `pip install torch`"}
    except ImportError as error:
        return {"native": f"missing: {error}"}
    return {"native": ", ".join(f"{key} {value}" for key, value in build.items() if value)}


def _devices() -> dict[str, str]:
    names = _gpu_names()
    cuda = ", ".join(names) if names else "no device"
    if names and not _torch_uses_cuda():
        cuda += " (this PyTorch was built without CUDA and does not use it)"
    allowed = os.environ.get("OMP_NUM_THREADS")
    processors = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}"
    return {"cuda": cuda, "processors": processors + (f", OMP_NUM_THREADS {allowed}" if allowed else "")}


def _gpu_names() -> list[str]:
    """Return the names of the GPUs that the driver of CUDA offers to this process."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return []
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    names = []
    for index in range(count.value):
        name = ctypes.create_string_buffer(256)
        known = driver.cuDeviceGetName(name, len(name), index) == 0  # devices are numbered from zero
        names.append(name.value.decode(errors="replace") if known else "unknown")
    return names


def _torch_uses_cuda() -> bool:
    """Return whether the installed PyTorch was built with CUDA, as its own file says."""
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        return False
    try:
        return bool(runpy.run_path(str(Path(torch.origin).with_name("version.py"))).get("cuda"))
    except OSError:
        return False
