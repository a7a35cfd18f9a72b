"""Timing and comparison of implementations of one thing, for all benchmarks."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


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


def arguments(description: str) -> argparse.Namespace:
    """The options that every benchmark has; sets the number of threads."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--seconds", type=float, default=1.0, help="time to spend on each measurement")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}/<machine>.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    return options


def measure(name: str, call: Callable[[], object], items: int, options: argparse.Namespace) -> Timing:
    """Time `call` after a warm-up, again and again for `options.seconds`, three times at least."""
    _timed(call, options.device)
    seconds = [_timed(call, options.device)]
    while len(seconds) < 3 or sum(seconds) < options.seconds:
        seconds.append(_timed(call, options.device))
    lower, median, upper = statistics.quantiles(seconds, n=4)
    return Timing(name, median, lower, upper, items)


def report(title: str, timings: list[Timing], unit: str, options: argparse.Namespace) -> None:
    """Print rates and how many times faster the first timing is than each; save them if asked."""
    print(f"\n{title} ({options.device}, {options.threads} thread{'s' * (options.threads > 1)})")
    for t in timings:
        middle = f"{t.lower * 1e3:.2f}-{t.upper * 1e3:.2f} ms"
        ratio = t.seconds / timings[0].seconds
        print(f"  {t.name:34s} {t.rate:14,.0f} {unit}/s   {middle:>22s}   {ratio:8.1f} x")
    if options.save:
        _save(title, timings, unit, options)


def _timed(call: Callable[[], object], device: str) -> float:
    _synchronize(device)
    start = time.perf_counter()
    call()
    _synchronize(device)
    return time.perf_counter() - start


def _synchronize(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _save(title: str, timings: list[Timing], unit: str, options: argparse.Namespace) -> None:
    on_gpu = torch.device(options.device).type == "cuda"
    machine = torch.cuda.get_device_name(options.device) if on_gpu else _processor()
    path = RESULTS / f"{'-'.join(machine.split())}.json"
    path.parent.mkdir(exist_ok=True)
    results = json.loads(path.read_text()) if path.exists() else {}
    results[f"{title}, {options.threads} threads"] = {
        "unit": unit,
        "torch": torch.__version__,
        "timings": [asdict(t) for t in timings],
    }
    path.write_text(json.dumps(results, indent=1) + "\n")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
