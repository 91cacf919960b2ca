"""Tables of any content, as hypothesis makes them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from airflow_provider_polars.onprem import keys
from tests.unit.onprem.clusters import put

TOP = {path.split(".")[0] for path in keys.KEYS}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), TEXTS, st.lists(TEXTS, max_size=3), st.dictionaries(TEXTS, TEXTS)
)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Configurations of known keys and unknown ones, with values of any kind that TOML has."""
    data: dict[str, Any] = draw(st.dictionaries(TEXTS, VALUES, max_size=3).filter(lambda t: not t.keys() & TOP))
    for path in draw(st.lists(st.sampled_from(sorted(keys.KEYS)), max_size=12, unique=True)):
        put(data, path, draw(VALUES))
    return data
