"""Pages of lists, as the client walks them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from airflow_provider_polars.dev_cluster.control_plane.answers import ApiError, page


def request(query: str) -> Request:
    return Request({"type": "http", "query_string": query.encode(), "headers": []})


def test_a_page_without_a_wish_is_the_first_of_a_thousand() -> None:
    assert page(request(""), [1, 2, 3]) == {
        "pagination": {"page": 1, "limit": 1000, "amount": 3, "total_pages": 1, "total_count": 3},
        "result": [1, 2, 3],
    }


def test_a_list_of_nothing_has_no_page() -> None:
    assert page(request("page=1&limit=1000&offset=0"), []) == {
        "pagination": {"page": 1, "limit": 1000, "amount": 0, "total_pages": 0, "total_count": 0},
        "result": [],
    }


def test_a_page_beyond_the_last_is_empty() -> None:
    assert page(request("page=3&limit=2"), [1, 2, 3]) == {
        "pagination": {"page": 3, "limit": 2, "amount": 0, "total_pages": 2, "total_count": 3},
        "result": [],
    }


def test_an_offset_leaves_out_the_first() -> None:
    assert page(request("page=1&limit=2&offset=1"), [1, 2, 3, 4])["result"] == [2, 3]


@given(items=st.lists(st.integers(), max_size=30), limit=st.integers(1, 12))
def test_all_pages_together_are_the_list(items: list[int], limit: int) -> None:
    first = page(request(f"limit={limit}"), items)
    pages = [page(request(f"page={number + 1}&limit={limit}"), items) for number in range(_pages(first))]

    assert [item for one in pages for item in one["result"]] == items
    assert [one["pagination"]["amount"] for one in pages] == [len(one["result"]) for one in pages]


@pytest.mark.parametrize(
    "query",
    ["page=0", "page=-1", "page=x", "page=", "limit=0", "limit=1001", "offset=1.5", "page=٣", "page=1234567890"],
)
def test_what_is_no_page_is_refused(query: str) -> None:
    with pytest.raises(ApiError, match=query.partition("=")[0]) as refused:
        page(request(query), [1, 2, 3])

    assert refused.value.status == 400


def _pages(first: dict[str, dict[str, int]]) -> int:
    return first["pagination"]["total_pages"]
