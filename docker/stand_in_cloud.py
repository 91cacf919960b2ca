"""Make certificates for the token endpoint, then become the development control plane: ``stand_in_cloud.py OPTION...``.

``TRUST_FOLDER`` gets what its clients must trust, as bundle.pem. The key stays in a folder of this container's own.
``KEPT_FOLDER``, which workers see too, gets the results of queries without a sink.
"""

import os
import sys
import tempfile
from pathlib import Path

from airflow_provider_polars.dev_cluster.certificates import make_certificates, write_bundle

certificates = Path(tempfile.mkdtemp())
authority, _, _ = make_certificates(certificates, "127.0.0.1")
trust = Path(os.environ["TRUST_FOLDER"])
with tempfile.TemporaryDirectory(dir=trust) as unfinished:
    write_bundle(authority, Path(unfinished)).replace(trust / "bundle.pem")

# It prints the secret of its account, which is not for the log of a container.
os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
os.environ["TMPDIR"] = os.environ["KEPT_FOLDER"]
command = ["polars-dev-cluster", "up", "--control-plane", "--certificates", str(certificates), *sys.argv[1:]]
os.execvp(command[0], command)
