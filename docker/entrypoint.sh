#!/bin/sh
# Hands on what stands in files to programs that cannot read them, then becomes the command.
set -eu

# Airflow's simple auth manager opens the file of passwords for writing, which a mounted secret is not.
if [ -n "${ADMIN_PASSWORD_FILE:-}" ]; then
    (umask 077 && printf '{"admin": "%s"}\n' "$(cat "$ADMIN_PASSWORD_FILE")" >"$AIRFLOW_HOME/passwords.json")
fi
if [ -n "${DEV_CLUSTER_TOKEN_FILE:-}" ]; then
    POLARS_DEV_CLUSTER_TOKEN=$(cat "$DEV_CLUSTER_TOKEN_FILE")
    export POLARS_DEV_CLUSTER_TOKEN
fi
if [ -n "${DEV_CLOUD_ACCOUNT_FILE:-}" ]; then
    POLARS_DEV_CLUSTER_ACCOUNT=$(cat "$DEV_CLOUD_ACCOUNT_FILE")
    export POLARS_DEV_CLUSTER_ACCOUNT
fi
exec "$@"
