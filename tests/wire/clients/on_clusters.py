"""What a client can do with a cluster that it reaches by ``ClusterContext``."""

from __future__ import annotations

import inspect
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.wire.clients.capabilities import Capabilities, check_is_cancelled, check_raises, get, held, need

CAPABILITIES = capability = Capabilities()


@dataclass
class Clusters:
    """Development clusters: one with the client's Polars, and one with another."""

    port: int
    observatory_port: int
    other_port: int
    folder: Path

    @cached_property
    def context(self) -> Any:
        """A context for the cluster with the client's Polars."""
        return self.connect(self.port)

    def connect(self, port: int, **options: Any) -> Any:
        """Return a context for the cluster at a port."""
        import polars_cloud as pc

        if takes(pc.ClusterContext, "uri"):
            observatory = pc.ClientOptions(uri=f"http://127.0.0.1:{self.observatory_port}")
            return pc.ClusterContext(uri=f"http://127.0.0.1:{port}", observatory=observatory, **options)
        return pc.ClusterContext(
            "127.0.0.1",
            scheduler_port=port,
            observatory_port=self.observatory_port,
            insecure=True,
            allow_filesystem_scans=True,
        )

    @property
    def client(self) -> Any:
        """The calls of the scheduler that have no public method."""
        return self.context._get_direct_client()

    def single(self, frame: Any = None, **options: Any) -> Any:
        """Return a query on one worker; the rows are 1, 2, 3."""
        return (rows() if frame is None else frame).remote(self.context, **options).single_node()

    def received(self, query: Any) -> dict[str, Any]:
        """Return what the cluster was asked for with a query."""
        (record,) = [
            record
            for record in get(f"http://127.0.0.1:{self.observatory_port}/_dev/records")
            if record["call"] == "SubmitQuery" and record["query_id"] == str(query._query_id)
        ]
        return dict(record)


def takes(function: Any, parameter: str) -> bool:
    """Return whether a function of Python or of the client's compiled part has a parameter."""
    if text := getattr(function, "__text_signature__", None):
        return parameter in text
    return parameter in inspect.signature(function).parameters


def rows() -> Any:
    """Return a frame."""
    import polars as pl

    return pl.LazyFrame({"a": [1, 2, 3]})


@capability("connect")
def _(site: Clusters) -> None:
    assert site.context._get_direct_client() is not None


@capability("versions of the cluster")
def _(site: Clusters) -> None:
    import polars as pl

    call = site.client.get_compute_versions
    assert call(*([None] if takes(call, "token") else [])).polars_python_version == pl.__version__


@capability("query on one worker")
def _(site: Clusters) -> None:
    assert site.single().execute().head.rows() == [(1,), (2,), (3,)]


@capability("distributed query")
def _(site: Clusters) -> None:
    assert rows().remote(site.context).distributed().execute().n_rows_total == 3


@capability("functions of Python")
def _(site: Clusters) -> None:
    import polars as pl

    frame = rows().select(pl.col("a").map_batches(lambda column: column + 1, return_dtype=pl.Int64))
    assert site.single(frame).execute().head.rows() == [(2,), (3,), (4,)]


@capability("scans of local files")
def _(site: Clusters) -> None:
    import polars as pl

    rows().collect().write_parquet(site.folder / "in.parquet")
    assert site.single(pl.scan_parquet(site.folder / "in.parquet")).execute().n_rows_total == 3


@capability("`sink_parquet`")
def _(site: Clusters) -> None:
    import polars as pl

    site.single().sink_parquet(str(site.folder / "a.parquet")).await_result()
    assert pl.read_parquet(site.folder / "a.parquet")["a"].to_list() == [1, 2, 3]


@capability("`sink_csv`")
def _(site: Clusters) -> None:
    site.single().sink_csv(str(site.folder / "a.csv")).await_result()
    assert (site.folder / "a.csv").read_text().split() == ["a", "1", "2", "3"]


@capability("`sink_ipc`, distributed, to a directory")
def _(site: Clusters) -> None:
    import polars as pl

    rows().remote(site.context).distributed().sink_ipc(f"{site.folder}/parts/").await_result()
    assert pl.read_ipc(site.folder / "parts" / "*.arrow")["a"].to_list() == [1, 2, 3]


@capability("`sink_iceberg`")
def _(site: Clusters) -> None:
    import polars_cloud as pc

    need(hasattr(pc.LazyFrameRemote, "sink_iceberg"))
    from pyiceberg.catalog.sql import SqlCatalog

    place = {"uri": f"sqlite:///{site.folder}/catalog.db", "warehouse": f"file://{site.folder}/lake"}
    catalog = SqlCatalog("lake", **place)
    catalog.create_namespace("sales")
    table = catalog.create_table("sales.orders", schema=rows().collect().to_arrow().schema)
    site.single().sink_iceberg(table, mode="append").await_result()
    assert table.refresh().scan().to_arrow().num_rows == 3


@capability("`sink_batches`")
def _(site: Clusters) -> None:
    import polars_cloud as pc

    need(hasattr(pc.LazyFrameRemote, "sink_batches"))
    place = str(site.folder / "batches.txt")

    def write(batch: Any) -> None:
        with open(place, "a") as file:
            file.writelines(f"{row[0]}\n" for row in batch.rows())

    site.single().sink_batches(write).await_result()
    assert Path(place).read_text().split() == ["1", "2", "3"]


@capability("`collect`, `collect_batches`")
def _(site: Clusters) -> None:
    import polars as pl
    import polars_cloud as pc

    need(hasattr(pc.LazyFrameRemote, "collect"))
    assert site.single().collect()["a"].to_list() == [1, 2, 3]
    batches = [pl.DataFrame(batch) for batch in site.single().collect_batches()]
    assert pl.concat(batches)["a"].to_list() == [1, 2, 3]


@capability("`await_and_scan`, `show`")
def _(site: Clusters) -> None:
    assert site.single().await_and_scan().collect().rows() == [(1,), (2,), (3,)]
    assert site.single().show(2).rows() == [(1,), (2,)]


@capability("labels")
def _(site: Clusters) -> None:
    query = rows().remote(site.context).labels(["nightly"]).single_node().execute(blocking=False)
    query.await_result()
    assert site.received(query)["labels"] == ["nightly"], "the client sends none"


@capability("`with_lineage`")
def _(site: Clusters) -> None:
    remote = rows().remote(site.context).with_lineage(job_namespace="a", job_name="b")
    query = remote.single_node().execute(blocking=False)
    query.await_result()
    assert site.received(query)["lineage"] == {"job_namespace": "a", "job_name": "b"}


@capability("`priority`")
def _(site: Clusters) -> None:
    need(takes(type(rows()).remote, "priority") or takes(_remote_class(), "priority"))
    query = site.single(priority=5).execute(blocking=False)
    query.await_result()
    assert site.received(query)["priority"] == 5


@capability("`n_retries`")
def _(site: Clusters) -> None:
    query = site.single(n_retries=2).execute(blocking=False)
    query.await_result()
    assert site.received(query)["n_retries"] == 2


@capability("`distributed(shuffle_compression=…)`")
def _(site: Clusters) -> None:
    query = rows().remote(site.context).distributed(shuffle_compression="zstd").execute(blocking=False)
    query.await_result()
    assert site.received(query)["settings"]["shuffle_options"]["compression"] == 3


@capability("`distributed(min_workers=…, max_workers=…)`")
def _(site: Clusters) -> None:
    need(takes(_remote_class().distributed, "min_workers"))
    query = rows().remote(site.context).distributed(min_workers=1, max_workers=2).execute(blocking=False)
    query.await_result()
    received = site.received(query)
    assert (received["min_workers"], received["max_workers"]) == (1, 2)


@capability("`plan`")
def _(site: Clusters) -> None:
    query = site.single(plan_type="plain").execute(blocking=False)
    query.await_result()
    assert query.plan("ir")
    assert query.plan("physical")


@capability("`graph`")
def _(site: Clusters) -> None:
    query = site.single(plan_type="dot").execute(blocking=False)
    query.await_result()
    for kind in ("ir", "physical"):
        assert "label" in query.graph(kind, show=False, raw_output=True)


@capability("`explain`")
def _(site: Clusters) -> None:
    need(hasattr(_remote_class(), "explain"))
    for stage in ("ir", "physical"):
        assert site.single().explain(plan_stage=stage)


@capability("pick a query up by its id")
def _(site: Clusters) -> None:
    import polars_cloud as pc

    query_id = uuid.UUID(str(site.single().execute(blocking=False)._query_id))
    assert pc.DirectQuery(query_id, site.client, site.context).await_result().n_rows_total == 3


@capability("`cancel`")
def _(site: Clusters) -> None:
    check_is_cancelled(held(site.single, site.folder))


@capability("`delete` a result")
def _(site: Clusters) -> None:
    import polars_cloud as pc

    need(hasattr(pc.QueryResult, "delete"))
    result = site.single().execute()
    (file,) = result.location
    assert Path(file).exists()
    result.delete()
    assert not Path(file).exists()


@capability("details of a query from the observatory")
def _(site: Clusters) -> None:
    import polars_cloud as pc

    query = site.single().execute(blocking=False)
    query.await_result()
    call = site.client.get_query_details
    details = pc.QueryDetail._from_inner(call(query._query_id, *([None] if takes(call, "token") else [])))
    assert details.status == "Success"


@capability("headers of your own")
def _(site: Clusters) -> None:
    import polars_cloud as pc

    need(takes(pc.ClusterContext, "extra_headers"))
    context = site.connect(site.port, extra_headers={"x-team": "sales"})
    query = rows().remote(context).single_node().execute(blocking=False)
    query.await_result()
    assert site.received(query)["headers"]["x-team"] == "sales"


@capability("a plan that cannot run raises its class")
def _(site: Clusters) -> None:
    import polars as pl

    check_raises(lambda: site.single(rows().select("b")).execute(), pl.exceptions.ColumnNotFoundError, '"b"')


@capability("a query that fails raises its class")
def _(site: Clusters) -> None:
    import polars as pl

    frame = rows().select(pl.col("a").map_batches(lambda _: 1 // 0, return_dtype=pl.Int64))
    check_raises(lambda: site.single(frame).execute(), ZeroDivisionError, "division")


@capability("a cluster with another Polars says so")
def _(site: Clusters) -> None:
    import polars as pl

    query = rows().remote(site.connect(site.other_port)).single_node()
    check_raises(query.execute, pl.exceptions.ComputeError, f"the client has Polars {pl.__version__} and this cluster")


def _remote_class() -> Any:
    import polars_cloud as pc

    return pc.LazyFrameRemote
