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
        "hooks": [{"integration-name": "Polars", "python-modules": [f"{package}.hooks.polars"]}],
        "operators": [
            {
                "integration-name": "Polars",
                "python-modules": [f"{package}.operators.remote", f"{package}.operators.clean_results"],
            }
        ],
        "task-decorators": [{"name": "polars", "class-name": f"{package}.decorators.task.polars_task"}],
        "connection-types": [
            {
                "connection-type": "polars",
                "hook-class-name": f"{package}.hooks.polars.PolarsHook",
                "hook-name": "Polars",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "port", "login", "password", "schema"],
                    "relabeling": {},
                    "placeholders": {},
                },
                "conn-fields": {
                    "default_compute": {
                        "label": "Default compute",
                        "description": "What the tasks that name this connection run on, as a JSON object, "
                        'such as {"kind": "local", "threads": 4}. Empty means the worker itself.',
                        "schema": {"type": ["object", "null"]},
                    }
                },
            }
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
                },
            }
        },
    }
