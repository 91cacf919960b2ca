"""``python .../worker``: make this folder importable as a package, without the one around it, and work.

The exit code is ``EX_CONFIG`` where this interpreter lacks what a worker needs.
"""

import importlib.util
import os
import sys
from pathlib import Path

folder = Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location(
    "polars_worker", folder / "__init__.py", submodule_search_locations=[str(folder)]
)
assert spec is not None
assert spec.loader is not None
sys.path.remove(str(folder))
sys.modules["polars_worker"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
try:
    process = importlib.import_module("polars_worker.process")
except ImportError as error:
    sys.stderr.write(f"{sys.executable}: {error}\n")  # at once: print() would let other workers write within the line
    sys.exit(os.EX_CONFIG)
process.main()
