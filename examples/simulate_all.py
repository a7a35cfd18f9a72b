"""Simulate the proteins of a table: the data that a model learns from and is judged by.

    python simulate_all.py coherence/simulations.csv ../../shared/data --jobs 2 -o simulations

Each row names a structure under the data folder, the frame to start from (the first where the table has no
such column), a temperature and a length. Structures are completed by backmap first: from their C-alphas where
the file has nothing else. Finished simulations are kept, so the command can be repeated until all are there.
"""

import argparse
import csv
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
BACKMAP = Path(sys.executable).with_name("backmap")


def read_rows(table: Path) -> list[dict[str, str]]:
    """The simulations to run."""
    with table.open() as file:
        return list(csv.DictReader(file))


def start_structure(row: dict[str, str], data: Path, folder: Path) -> Path:
    """Write all heavy atoms of the frame that a row starts from and return the path."""
    if row["structure"] == "chignolin":
        return HERE / "chignolin" / "chignolin.pdb.gz"
    start = folder / f"{row['name']}_start.pdb"
    if not start.exists():
        atoms = ["--hydrogens", "--minimise", "200"] if "_ca_" in row["structure"] else ["--keep-given"]
        frame = row.get("frame", "1")
        command = [BACKMAP, "reconstruct", data / row["structure"], "-o", start, *atoms]
        command += ["--begin", frame, "--end", frame]
        subprocess.run([*map(str, command), "--quiet"], check=True)
    return start


def simulate(row: dict[str, str], data: Path, folder: Path) -> None:
    """Run one simulation unless it is finished."""
    output = folder / f"{row['name']}.dcd"
    if output.exists():
        return
    command = [
        *(sys.executable, HERE / "simulate.py", start_structure(row, data, folder)),
        *("--platform", "CPU", "--threads", 1, "--heavy-hydrogens", "--equilibration", 20),
        *("--temperature", row["temperature"], "--nanoseconds", int(row["picoseconds"]) / 1000),
        *("-o", output),
    ]
    print(row["name"], flush=True)
    subprocess.run([str(word) for word in command], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="CSV file: name, structure, temperature, picoseconds")
    parser.add_argument("data", type=Path, help="folder of the structures")
    parser.add_argument("--jobs", type=int, default=1, help="simulations at the same time (%(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=Path("simulations"), help="folder (%(default)s)")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        rows = read_rows(arguments.table)
        for _ in pool.map(lambda row: simulate(row, arguments.data, arguments.output), rows):
            pass
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
