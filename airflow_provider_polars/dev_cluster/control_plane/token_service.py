"""The token endpoint: a service account's id and secret for an access token."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_polars.dev_cluster.control_plane.accounts import Directory
from airflow_provider_polars.dev_cluster.control_plane.answers import ApiError, content
from airflow_provider_polars.dev_cluster.control_plane.tokens import Tokens
from airflow_provider_polars.dev_cluster.recorder import Recorder

CALL = "POST token"
PATH = "/realms/Polars/protocol/openid-connect/token"
NAME_ENDING = "@sa.cloud.pola.rs"
LONGEST_FORM = 10_000


def application(directory: Directory, tokens: Tokens, recorder: Recorder) -> Starlette:
    """Return the application that answers the client's ``authenticate``."""

    async def token(request: Request) -> Response:
        try:
            data = await content(request, LONGEST_FORM)
            fields = parse_qs(data.decode("ascii"), max_num_fields=20)
        except ApiError as error:
            recorder.add(CALL, request.headers.items(), refused="invalid_request")
            return _refusal(HTTPStatus(error.status), "invalid_request", str(error))
        except ValueError:
            recorder.add(CALL, request.headers.items(), refused="invalid_request")
            return _refusal(HTTPStatus.BAD_REQUEST, "invalid_request", "the body is no form")
        given = {name: values[0] for name, values in fields.items()}
        account_id = given.get("username", "").removesuffix(NAME_ENDING)
        if given.get("grant_type") != "password":
            recorder.add(CALL, request.headers.items(), refused="unsupported_grant_type")
            return _refusal(HTTPStatus.BAD_REQUEST, "unsupported_grant_type", "only grant_type=password is known here")
        account = directory.sign_in(account_id, given.get("password", ""))
        if account is None:
            recorder.add(CALL, request.headers.items(), refused="invalid_grant")
            return _refusal(HTTPStatus.UNAUTHORIZED, "invalid_grant", "Invalid user credentials")
        recorder.add(CALL, request.headers.items(), account_id=account.id)
        seconds = int(tokens.seconds)
        return JSONResponse({"access_token": tokens.issue(account.id), "expires_in": seconds, "token_type": "Bearer"})

    return Starlette(routes=[Route(PATH, token, methods=["POST"])])


def _refusal(status: HTTPStatus, error: str, description: str) -> Response:
    return JSONResponse({"error": error, "error_description": description}, status)
