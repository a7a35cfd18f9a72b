"""Timing and comparison of implementations of one thing, for all benchmarks."""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

RESULTS = Path(__file__).parent / "results"

COPIED_BYTES = {"cpu": 1 << 29, "cuda": 1 << 32}
"""Size of the array whose copy measures the bandwidth: far beyond any cache."""

MATRIX_SIZE = {"cpu": 2048, "cuda": 8192}
"""Rows of the square matrices whose product measures the arithmetic rate."""

BATCH_SECONDS = 0.01
"""On a GPU calls are timed in batches of about this length, so that launches overlap with work."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: median, and the middle half of the repeats."""

    name: str
    seconds: float
    lower: float
    upper: float
    items: int

    @property
    def rate(self) -> float:
        """Items per second."""
        return self.items / self.seconds

    def scaled(self, factor: int) -> "Timing":
        """What `factor` such calls take."""
        parts = self.seconds * factor, self.lower * factor, self.upper * factor
        return Timing(self.name, *parts, items=self.items * factor)


@dataclass(frozen=True)
class Work:
    """What one call must do at least: bytes read and written once each, and float32 operations."""

    bytes_moved: float
    operations: float


@dataclass(frozen=True)
class Roofline:
    """Seconds below which no call can go, and whether memory or arithmetic sets them."""

    seconds: float
    limit: str


def arguments(description: str) -> argparse.Namespace:
    """The options that every benchmark has; `every` makes use of them."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1], help="CPU threads, in turn (default 1)"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="time to spend on each measurement")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}/<machine>.json")
    return parser.parse_args()


def every(options: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """The options for each number of threads, set in torch, with the same random numbers each time."""
    for threads in options.threads:
        torch.set_num_threads(threads)
        torch.compiler.reset()  # compiled code may hold on to the number of threads
        torch.manual_seed(0)
        yield argparse.Namespace(**{**vars(options), "threads": threads})


def measure(name: str, call: Callable[[], object], items: int, options: argparse.Namespace) -> Timing:
    """Time `call` after a warm-up, again and again for `options.seconds`, three times at least.

    What takes ten times as long as that is timed once, with no warm-up.
    """
    first = _timed(call, options.device)
    if first > 10 * options.seconds:
        return Timing(name, first, first, first, items)
    second = _timed(call, options.device)
    calls = max(1, round(BATCH_SECONDS / second)) if _kind(options.device) == "cuda" else 1
    seconds: list[float] = []
    while len(seconds) < 3 or calls * sum(seconds) < options.seconds:
        seconds.append(_timed(call, options.device, calls))
    lower, median, upper = statistics.quantiles(seconds, n=4)
    return Timing(name, median, lower, upper, items)


def compiled(call: Callable[[], object]) -> Callable[[], object] | None:
    """`torch.compile` of a call without arguments; None, with the reason printed, where it does not work."""
    faster = torch.compile(call)
    try:
        faster()
    except Exception as error:  # whatever a compiler may raise
        reason, *_ = f"{type(error).__name__}: {error}".splitlines()
        print(f"  torch.compile: {reason}")
        return None
    return faster


def with_gradient(forward: Callable[[], Tensor], variable: Tensor, grad: Tensor) -> Callable[[], object]:
    """A call that computes a result and, from `grad` of it, the gradient of the variable."""
    return lambda: torch.autograd.grad(forward(), variable, grad)


def without_gradient(forward: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """A call that computes a result alone."""
    return torch.no_grad()(forward)


def bandwidth(options: argparse.Namespace) -> float:
    """Bytes per second, read and written, of a copy between arrays far beyond the cache."""
    return _bandwidth(options.device, options.threads)


def arithmetic_rate(options: argparse.Namespace) -> float:
    """Float32 operations per second of a large matrix product (a multiply-add is two)."""
    return _arithmetic_rate(options.device, options.threads)


def roofline(work: Work, options: argparse.Namespace) -> Roofline:
    """The larger of bytes over measured bandwidth and operations over measured rate."""
    moving, computing = work.bytes_moved / bandwidth(options), work.operations / arithmetic_rate(options)
    return Roofline(moving, "memory") if moving > computing else Roofline(computing, "arithmetic")


def report(
    title: str, timings: list[Timing], unit: str, options: argparse.Namespace, work: Work | None = None
) -> None:
    """Print rates and how many times faster the first timing is than each; save them if asked.

    With the `work` of one call, say also what share of the possible speed the first timing reaches.
    """
    print(f"\n{title} ({options.device}, {options.threads} thread{'s' * (options.threads > 1)})")
    for t in timings:
        middle = f"{t.lower * 1e3:.2f}-{t.upper * 1e3:.2f} ms"
        ratio = t.seconds / timings[0].seconds
        print(f"  {t.name:34s} {t.rate:14,.0f} {unit}/s   {middle:>22s}   {ratio:8.1f} x")
    bound = roofline(work, options) if work else None
    if bound:
        rate, share = timings[0].items / bound.seconds, bound.seconds / timings[0].seconds
        name = f"roofline ({bound.limit})"
        print(f"  {name:34s} {rate:14,.0f} {unit}/s   {bound.seconds * 1e3:19.2f} ms   {share:8.0%} reached")
    if options.save:
        _save(title, timings, unit, options, bound)


@cache
def _bandwidth(device: str, threads: int) -> float:
    size = COPIED_BYTES[_kind(device)]
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)  # written once, so that its pages are mapped
    if _kind(device) == "cuda":
        return 2 * size / _fastest(lambda: target.copy_(source), device)
    # numpy copies large arrays past the cache, which torch does not: only so does memory show what it can do.
    parts = np.array_split(target.numpy(), threads), np.array_split(source.numpy(), threads)
    with ThreadPoolExecutor(threads) as pool:
        return 2 * size / _fastest(lambda: list(pool.map(np.copyto, *parts)), device)


@cache
def _arithmetic_rate(device: str, threads: int) -> float:
    size = MATRIX_SIZE[_kind(device)]
    a, b = torch.rand(2, size, size, device=device)
    out = torch.empty_like(a)
    return 2 * size**3 / _fastest(lambda: torch.mm(a, b, out=out), device)


def _fastest(call: Callable[[], object], device: str) -> float:
    """Seconds of the fastest of some calls: what the machine can do if nothing disturbs it."""
    return min(_timed(call, device) for _ in range(10))


def _timed(call: Callable[[], object], device: str, calls: int = 1) -> float:
    """Seconds of one of some calls in a row."""
    _synchronize(device)
    start = time.perf_counter()
    for _ in range(calls):
        call()
    _synchronize(device)
    return (time.perf_counter() - start) / calls


def _kind(device: str) -> str:
    return torch.device(device).type


def _synchronize(device: str) -> None:
    if _kind(device) == "cuda":
        torch.cuda.synchronize(device)


def _save(
    title: str, timings: list[Timing], unit: str, options: argparse.Namespace, bound: Roofline | None
) -> None:
    path = results_path(options.device)
    results = json.loads(path.read_text()) if path.exists() else {}
    results["torch"] = torch.__version__
    benchmark = results.setdefault("benchmarks", {}).setdefault(Path(sys.argv[0]).stem, {})
    benchmark[f"{title} ({options.threads} thread{'s' * (options.threads > 1)})"] = {
        "unit": unit,
        "timings": [asdict(t) for t in timings],
        "roofline": asdict(bound) if bound else None,
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def results_path(device: str) -> Path:
    """Where results are saved: named after the processor, or the GPU, that a device stands for."""
    machine = torch.cuda.get_device_name(device) if _kind(device) == "cuda" else _processor()
    return RESULTS / f"{'-'.join(machine.split())}.json"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
