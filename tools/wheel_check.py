"""Try the built distributions as a user would: ``wheel_check.py DIST_DIR CONSTRAINTS EXAMPLE_DAG``."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGE = "airflow_provider_polars"
TOOLS = Path(__file__).resolve().parent
WIRE_TEST = """
import polars as pl

def test_a_query_runs(polars_dev_cluster):
    assert pl.LazyFrame({"a": [1]}).remote(polars_dev_cluster.context()).single_node().collect().rows() == [(1,)]
"""


def check_contents(wheel: Path, sdist: Path) -> None:
    """The wheel holds the package alone, the sdist what is needed to test and document it."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    strangers = {name.split("/")[0] for name in names if not name.startswith((f"{PACKAGE}/", f"{PACKAGE}-"))}
    assert not strangers, f"{wheel.name} also holds {strangers}"
    assert f"{PACKAGE}/py.typed" in names, f"{wheel.name} lacks py.typed"
    with tarfile.open(sdist) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    missing = {PACKAGE, "tests", "dags", "docs", "LICENSE", "README.md", "constraints.txt"} - tops
    assert not missing, f"{sdist.name} lacks {missing}"


def check_installed(wheel: Path, constraints: Path, example: Path, home: Path) -> None:
    """Installed alone, Airflow reads the provider without a warning, an example runs, and so does the test fixture."""
    python = home / "venv" / "bin" / "python"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_", "PYTHONPATH"))}

    def run(*command: str | Path) -> str:
        print("+", *command, flush=True)
        done = subprocess.run(
            [python, *command],
            cwd=home,  # not the source tree, which would shadow what is installed
            env=environment | {"AIRFLOW_HOME": str(home)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        print(done.stdout, flush=True)
        assert done.returncode == 0, f"ended with {done.returncode}"
        return done.stdout

    venv.create(home / "venv", with_pip=True)
    run("-m", "pip", "install", "--quiet", "--compile", "--constraint", constraints, wheel)
    for listing in (["get", "airflow-provider-polars"], ["hooks"], ["links"], ["triggers"]):
        shown = run("-m", "airflow", "providers", *listing)
        assert "warn" not in shown.lower(), f"Airflow warns about the provider: {shown}"
    run(TOOLS / "run_example.py", example)
    run("-m", "pip", "install", "--quiet", "--constraint", constraints, f"{wheel}[dev-cluster]", "pytest")
    (home / "test_installed.py").write_text(WIRE_TEST)
    run("-m", "pytest", "--quiet", "-p", "airflow_provider_polars.testing", "test_installed.py")


if __name__ == "__main__":
    dist, constraints, example = (Path(argument).resolve() for argument in sys.argv[1:])
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    check_contents(wheel, sdist)
    with TemporaryDirectory() as home:
        check_installed(wheel, constraints, example, Path(home))
    print(f"{wheel.name} and {sdist.name} are good")
