"""``ProxyPlane.statuses``: many queries are found in the list of the workspace, few are asked for one by one."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_polars.clients import control_plane
from airflow_provider_polars.clients.control_plane import ControlPlane
from airflow_provider_polars.clients.proxy_plane import ASKED_ONE_BY_ONE, LISTED_PAGES, ProxyPlane
from airflow_provider_polars.clients.workspaces import Workspace
from airflow_provider_polars.exceptions import ClusterUnreachableError
from tests.harness.identity import answer
from tests.unit.clients.api_stand_in import ApiStandIn, Call, Reply

LIST = "GET workspace/w/query"
IN_PROGRESS, SUCCESS = 2, 3
PAGE = 10


@pytest.fixture
def proxy(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> ProxyPlane:
    """Return a client whose pages have ten rows."""
    monkeypatch.setattr(control_plane, "PAGE_ROWS", PAGE)
    return ProxyPlane(plane, Workspace("w", "o"))


def row(query_id: str, word: str = "Success") -> dict[str, Any]:
    return {"id": query_id, "status_code": word}


def listing(api: ApiStandIn, *query_ids: str) -> None:
    """Have the workspace list queries, the newest first."""

    def page(call: Call) -> Reply:
        assert call.query["order"] == "request_time,desc"
        first = (int(call.query["page"]) - 1) * PAGE
        return answer(200, {"pagination": {}, "result": [row(each) for each in query_ids[first : first + PAGE]]})

    api.by_call[LIST] = page


def names(number: int) -> list[str]:
    return [f"query-{index}" for index in range(number)]


def test_a_few_are_asked_for_one_by_one(api: ApiStandIn, proxy: ProxyPlane) -> None:
    api.reply("workspace/w/query/a", answer(200, row("a", "InProgress")))
    api.reply("workspace/w/query/b", answer(200, row("b")))

    assert proxy.statuses(["a", "b", "unknown"]) == {"a": IN_PROGRESS, "b": SUCCESS, "unknown": None}
    assert LIST not in api.asked


def test_many_are_found_with_one_request(api: ApiStandIn, proxy: ProxyPlane) -> None:
    wanted = names(PAGE - 1)
    listing(api, *wanted)

    assert proxy.statuses(wanted) == dict.fromkeys(wanted, SUCCESS)
    assert api.asked == [LIST]


def test_pages_are_turned_until_a_few_are_left(api: ApiStandIn, proxy: ProxyPlane) -> None:
    listed = names(3 * PAGE)
    listing(api, *listed)
    wanted = [*listed[:5], *listed[PAGE : PAGE + 5], listed[-1]]
    api.reply(f"workspace/w/query/{listed[-1]}", answer(200, row(listed[-1])))

    assert proxy.statuses(wanted) == dict.fromkeys(wanted, SUCCESS)
    assert api.asked == [LIST, LIST, f"{LIST}/{listed[-1]}"]


def test_old_queries_are_looked_for_on_a_few_pages_alone(api: ApiStandIn, proxy: ProxyPlane) -> None:
    listing(api, *names(100 * PAGE))
    wanted = [f"old-{index}" for index in range(ASKED_ONE_BY_ONE + 1)]

    assert proxy.statuses(wanted) == dict.fromkeys(wanted, None)
    assert api.asked.count(LIST) == LISTED_PAGES


def test_a_list_that_is_refused_is_done_without(api: ApiStandIn, proxy: ProxyPlane) -> None:
    wanted = names(ASKED_ONE_BY_ONE + 1)
    api.reply("workspace/w/query", answer(403, {"message": "not yours"}))
    for query_id in wanted:
        api.reply(f"workspace/w/query/{query_id}", answer(200, row(query_id)))

    assert proxy.statuses(wanted) == dict.fromkeys(wanted, SUCCESS)


def test_a_query_that_may_not_be_asked_about_holds_up_no_other(api: ApiStandIn, proxy: ProxyPlane) -> None:
    api.reply("workspace/w/query/secret", answer(403, {"message": "not yours"}))
    api.reply("workspace/w/query/a", answer(200, row("a")))

    assert proxy.statuses(["secret", "a"]) == {"a": SUCCESS}
    with pytest.raises(ClusterUnreachableError, match="tells nothing of query secret: not yours"):
        proxy.statuses(["secret"])


@pytest.mark.parametrize("number", [2, ASKED_ONE_BY_ONE + 1])
def test_a_service_that_is_asked_too_much_is_asked_no_further(api: ApiStandIn, proxy: ProxyPlane, number: int) -> None:
    too_many = answer(429, {"message": "slow down"}, **{"retry-after": "7"})
    api.reply("workspace/w/query", too_many)
    for query_id in names(number):
        api.reply(f"workspace/w/query/{query_id}", too_many)

    with pytest.raises(ClusterUnreachableError, match="slow down") as caught:
        proxy.statuses(names(number))
    assert caught.value.retry_after == 7.0
    assert len(api.asked) == 1
