#!/bin/sh
# Makes the secrets of docker-compose.yaml, each a file in .compose/secrets; those that are there are kept.
# Their folder is for its owner alone. The files are not: the users of the containers read them, one by one.
set -eu
cd "$(dirname "$0")/.."
umask 077
mkdir -p .compose/secrets
cd .compose/secrets

hex() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }
uuid() { hex 16 | sed -E 's/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/\1-\2-4\3-8\4-\5/'; }

secret() { # NAME TEXT: without a line end, which Airflow would take for a part of it
    [ -s "$1" ] || printf '%s' "$2" >"$1"
    chmod 644 "$1"
}

secret postgres_password "$(hex 24)"
secret database_url "postgresql+psycopg2://airflow:$(cat postgres_password)@postgres:5432/airflow"
secret fernet_key "$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')"
secret api_secret_key "$(hex 32)"
secret jwt_secret "$(hex 32)"
secret admin_password "$(hex 8)"
secret aws_credentials "[default]
aws_access_key_id = $(hex 10)
aws_secret_access_key = $(hex 20)"
secret dev_cluster_token "$(hex 24)"
secret dev_cloud_account "$(uuid):$(hex 24)"

echo "Secrets are in .compose/secrets; the login is admin, with the password in .compose/secrets/admin_password"
