"""Make certificates for the token endpoint, then become the development control plane: ``stand_in_cloud.py OPTION...``.

``TRUST_FOLDER`` gets what its clients must trust, as bundle.pem. The key stays at home, in this container alone;
workers see ``TMPDIR``, where the control plane keeps the results of queries without a sink.
"""

import os
import sys
import tempfile
from pathlib import Path

from airflow_provider_polars.dev_cluster.certificates import make_certificates, write_bundle

certificates = Path(tempfile.mkdtemp(dir=Path.home()))
authority, _, _ = make_certificates(certificates, "127.0.0.1")
trust = Path(os.environ["TRUST_FOLDER"])
with tempfile.TemporaryDirectory(dir=trust) as unfinished:
    write_bundle(authority, Path(unfinished)).replace(trust / "bundle.pem")

# It prints the secret of its account, which is not for the log of a container.
os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
command = ["polars-dev-cluster", "up", "--control-plane", "--certificates", str(certificates), *sys.argv[1:]]
os.execvp(command[0], command)
