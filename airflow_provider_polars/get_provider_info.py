"""Provider metadata. Loaded in every Airflow process: it imports nothing."""


def get_provider_info():  # type: ignore[no-untyped-def]
    """Return the metadata that Airflow reads from the ``apache_airflow_provider`` entry point."""
    package = "airflow_provider_polars"
    return {
        "package-name": "airflow-provider-polars",
        "name": "Polars",
        "description": "Run `Polars <https://pola.rs/>`__ queries from Airflow.",
        "integrations": [
            {"integration-name": "Polars", "external-doc-url": "https://docs.pola.rs/", "tags": ["software"]}
        ],
        "hooks": [
            {
                "integration-name": "Polars",
                "python-modules": [f"{package}.hooks.polars", f"{package}.hooks.cluster", f"{package}.hooks.cloud"],
            }
        ],
        "operators": [
            {
                "integration-name": "Polars",
                "python-modules": [
                    f"{package}.operators.{name}"
                    for name in ("remote", "start_compute", "stop_compute", "sweep_computes", "clean_results")
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": "Polars",
                "python-modules": [f"{package}.sensors.{name}" for name in ("query", "cluster")],
            }
        ],
        "triggers": [
            {
                "integration-name": "Polars",
                "python-modules": [f"{package}.triggers.{name}" for name in ("query", "cluster", "compute")],
            }
        ],
        "extra-links": [
            f"{package}.links.observatory.PolarsObservatoryLink",
            f"{package}.links.portal.PolarsComputeLink",
        ],
        "cli": [f"{package}.cli.definition.get_polars_cli_commands"],
        "task-decorators": [{"name": "polars", "class-name": f"{package}.decorators.task.polars_task"}],
        "connection-types": [
            {
                "connection-type": "polars",
                "hook-class-name": f"{package}.hooks.polars.PolarsHook",
                "hook-name": "Polars",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "login", "password", "schema"],
                    "relabeling": {"port": "Port, for the Test button"},
                    "placeholders": {
                        "port": "any number, such as 1; without one, the Test button of Airflow 3.3.2 answers 400"
                    },
                },
                "conn-fields": {
                    "default_compute": {
                        "label": "Default compute",
                        "description": "What the tasks that name this connection run on, as a JSON object, "
                        'such as {"kind": "local", "threads": 4}. Empty means the worker itself.',
                        "schema": {"type": ["object", "null"]},
                    }
                },
            },
            {
                "connection-type": "polars_cluster",
                "hook-class-name": f"{package}.hooks.cluster.PolarsClusterHook",
                "hook-name": "Polars Cluster",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema"],
                    "relabeling": {"host": "Scheduler", "login": "User name", "password": "Token"},
                    "placeholders": {
                        "host": "scheduler.example.com, or https://scheduler.example.com",
                        "port": "5051; without a number here, the Test button of Airflow 3.3.2 answers 400",
                        "login": "who is shown as the user of queries",
                        "password": "bearer token, if the cluster asks for one",
                    },
                },
                "conn-fields": {
                    "tls": {
                        "label": "TLS",
                        "description": "Speak TLS with the scheduler, as a host with https:// does. Fill in the port "
                        "too: the Test button of Airflow 3.3.2 answers 400 for a connection without one.",
                        "schema": {"type": ["boolean", "null"]},
                    },
                    "ca_cert": {
                        "label": "CA certificate",
                        "description": "Text (PEM) of the certificate to trust. Empty: what the system trusts.",
                        "schema": {"type": ["string", "null"], "format": "multiline"},
                    },
                    "domain_name": {
                        "label": "Domain name",
                        "description": "Name that the certificate of the cluster bears, if it is not the host.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "insecure": {
                        "label": "Insecure",
                        "description": "Do not verify the certificate: whoever is in between reads token and queries.",
                        "schema": {"type": ["boolean", "null"]},
                    },
                    "observatory": {
                        "label": "Observatory",
                        "description": "Address of the observatory. Empty: the host of the scheduler, port 3001.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "scaling": {
                        "label": "Scaling",
                        "description": "How queries run that do not say so themselves. Empty is auto: distributed, "
                        "unless POLARS_CLOUD_SINGLE_NODE=1 is set on the worker.",
                        "schema": {"type": ["string", "null"], "enum": ["auto", "distributed", "single-node"]},
                    },
                    "headers": {
                        "label": "Headers",
                        "description": 'Further headers of each call, as a JSON object such as {"x-team": "sales"}. '
                        "Airflow shows them: nothing secret belongs here.",
                        "schema": {"type": ["object", "null"]},
                    },
                },
            },
            {
                "connection-type": "polars_cloud",
                "hook-class-name": f"{package}.hooks.cloud.PolarsCloudHook",
                "hook-name": "Polars Cloud",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema"],
                    "relabeling": {
                        "login": "Client id",
                        "password": "Client secret",
                        "port": "Port, for the Test button",
                    },
                    "placeholders": {
                        "login": "of a service account; empty where a vault, Variables or the environment have it",
                        "password": "of the same service account; empty where a vault has it",
                        "port": "443; without a number here, the Test button of Airflow 3.3.2 answers 400",
                    },
                },
                "conn-fields": {
                    "workspace": {
                        "label": "Workspace",
                        "description": "Name or id. Empty: the default workspace of the service account.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "organization": {
                        "label": "Organization",
                        "description": "Name or id of the organization that the workspace belongs to.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "connection_mode": {
                        "label": "Connection mode",
                        "description": "How queries reach a cluster: direct, or proxy through Polars Cloud. Empty: "
                        "direct. Fill in the port too: the Test button of Airflow 3.3.2 answers 400 without one.",
                        "schema": {"type": ["string", "null"], "enum": ["direct", "proxy"]},
                    },
                    "default_compute": {
                        "label": "Default compute",
                        "description": "What the tasks that name this connection run on, as a JSON object.",
                        "schema": {"type": ["object", "null"]},
                    },
                    "vault": {
                        "label": "Vault",
                        "description": "Where the secrets are kept that the next two fields name. Empty: aws, that is "
                        "AWS Secrets Manager.",
                        "schema": {"type": ["string", "null"], "enum": ["aws"]},
                    },
                    "client_secret_id": {
                        "label": "Client secret in the vault",
                        "description": "Name or ARN of a secret: a JSON object with client_id and client_secret, or "
                        "the client secret alone. It is read in the running task. Leave the password empty.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "client_id_secret_id": {
                        "label": "Client id in the vault",
                        "description": "Name or ARN of a secret with the client id alone. Empty: it is in the JSON "
                        "object, or in the field for the client id above.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "vault_conn_id": {
                        "label": "Connection of the vault",
                        "description": "Airflow connection, of type aws, to read the vault with. Empty: the worker's "
                        "own AWS identity.",
                        "schema": {"type": ["string", "null"]},
                    },
                },
            },
        ],
        "config": {
            "polars": {
                "description": "Settings of airflow-provider-polars.",
                "options": {
                    "results_path": {
                        "description": "Folder or URL of the results of tasks without a sink. All workers must share "
                        "it. Empty means polars_results below AIRFLOW_HOME.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://lake/airflow-results",
                        "default": "",
                    },
                    "results_conn_id": {
                        "description": "Airflow connection for a results_path that is a URL.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "aws_default",
                        "default": "",
                    },
                    "results_retention_days": {
                        "description": "Age in days at which PolarsCleanResultsOperator removes results without a "
                        "sink.",
                        "version_added": "0.1.0",
                        "type": "integer",
                        "example": None,
                        "default": "30",
                    },
                    "allowed_prefixes": {
                        "description": "Comma-separated folders and URLs. If set, a task reads upstream results only "
                        "from below them and from results_path.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/data/lake,s3://lake/",
                        "default": "",
                    },
                    "client_id_variable": {
                        "description": "Name of the Airflow Variable with the client id for Polars Cloud.",
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "polars_etl_client_id",
                        "default": "POLARS_CLOUD_CLIENT_ID",
                    },
                    "client_secret_variable": {
                        "description": "Name of the Airflow Variable with the client secret for Polars Cloud.",
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "polars_etl_client_secret",
                        "default": "POLARS_CLOUD_CLIENT_SECRET",
                    },
                    "deployment_id": {
                        "description": "Name of this Airflow, 1 to 12 small letters and digits, that no other Airflow "
                        "with the same workspaces has. It marks the computes that are started, and nothing without "
                        "that mark is ever stopped. Needed before a compute is started.",
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "prod",
                        "default": "",
                    },
                    "max_vcpus": {
                        "description": "vCPUs, all nodes together, above which a compute is not started. Empty means "
                        "any number.",
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "64",
                        "default": "",
                    },
                    "unreachable_seconds": {
                        "description": "How long a cluster or an instance may be out of reach before the tasks that "
                        "wait for its queries fail, and leave the queries to their next try.",
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "1800",
                        "default": "300",
                    },
                    "vcpu_hour_price": {
                        "description": "What a vCPU costs for an hour, in whatever money. If set, tasks that stop a "
                        "compute say what it has cost.",
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "0.05",
                        "default": "",
                    },
                },
            }
        },
    }
