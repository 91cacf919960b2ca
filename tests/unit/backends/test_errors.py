"""Which error of ours stands for what the runner describes; real queries show the others in ``test_failures``."""

from __future__ import annotations

import errno
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars import exceptions, runner
from airflow_provider_polars.backends.errors import translate, translate_exception
from airflow_provider_polars.exceptions import PolarsProviderError


def described(error: BaseException) -> dict[str, Any]:
    return runner.described_error(error)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (OSError(errno.ENOSPC, "full"), "SinkWriteError", "Cannot write /data/a: No space left on device"),
        (OSError("disk quota (os error 122)"), "SinkWriteError", "Cannot write /data/a: .*free space"),
        (pl.exceptions.ComputeError("failed: (os error 28)"), "SinkWriteError", "The disk is full"),
        (PermissionError(errno.EACCES, "no"), "SinkWriteError", r"refused by the file system: .*Target: /data/a"),
        (OSError("read-only (os error 30)"), "SinkWriteError", "sales was refused by the file system"),
        (ModuleNotFoundError("No module named 'deltalake'"), "ConfigurationError", "Install the extra delta or"),
        (ModuleNotFoundError("No module named 'sales'"), "QueryFailedError", "ModuleNotFoundError: No module"),
        (pl.exceptions.SchemaFieldNotFoundError("price"), "SchemaError", "sales does not fit its input: price"),
        (pl.exceptions.DuplicateError("price"), "SchemaError", "does not fit its input"),
        (pl.exceptions.PanicException(""), "QueryFailedError", "panicked while it ran the query sales: no message"),
        (RuntimeError("why"), "QueryFailedError", "The query sales failed with RuntimeError: why"),
    ],
    ids=repr,
)
def test_an_error_says_what_went_wrong_with_which_query_or_target(
    error: BaseException, kind: str, message: str
) -> None:
    translated = translate(described(error), query="sales", target="/data/a")

    assert type(translated) is getattr(exceptions, kind)
    with pytest.raises(PolarsProviderError, match=message):
        raise translated


def test_only_a_gpu_query_is_told_about_the_gpu() -> None:
    error = described(pl.exceptions.ComputeError("CUDA is not here."))

    assert type(translate(error, query="q", engine="gpu")) is exceptions.GpuUnavailableError
    assert "CUDA is not here. Nothing was run" in str(translate(error, query="q", engine="gpu"))
    assert type(translate(error, query="q", engine="auto")) is exceptions.QueryFailedError


@pytest.mark.parametrize("error", [KeyError("x"), OSError(28, "full"), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_an_exception_of_the_authors_own_code_is_not_ours(error: BaseException) -> None:
    assert translate_exception(error, query="q") is None


def test_an_error_of_ours_stays_itself() -> None:
    error = exceptions.MemoryLimitError("too much")

    assert translate_exception(error, query="q") is error


def test_secrets_of_urls_are_hidden_in_all_that_led_to_an_error() -> None:
    url = "https://lake.invalid/a?sig=secret"
    opened = FileNotFoundError(errno.ENOENT, "gone", url)
    error = pl.exceptions.ComputeError(f"cannot read {url}")
    error.__context__ = ValueError(url, 7)
    error.__cause__ = opened
    opened.__context__ = error

    translated = translate_exception(error, query="sales")

    everything = [str(translated), str(error), str(opened), str(error.__context__)]
    assert all("https://lake.invalid/a" in text for text in everything)
    assert "secret" not in "".join(everything)
