"""``backmap info``: versions, the build of the native library, and available devices."""

from __future__ import annotations

import argparse
import os

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
    try:
        from backmap import _native

        build = _native.build_description()
    except ImportError as error:
        return {"native": f"missing: {error}"}
    return {"native": ", ".join(f"{key} {value}" for key, value in build.items() if value)}


def _devices() -> dict[str, str]:
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "cuda": ", ".join(names) if names else "no device",
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} processors",
    }
