from airflow_provider_polars.protocol import compute_plane_pb2 as _compute_plane_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ComputeId(_message.Message):
    __slots__ = ("compute_id",)
    COMPUTE_ID_FIELD_NUMBER: _ClassVar[int]
    compute_id: str
    def __init__(self, compute_id: _Optional[str] = ...) -> None: ...

class SubmitQueryRequest(_message.Message):
    __slots__ = ("compute_id", "settings", "plan", "query_info")
    COMPUTE_ID_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    QUERY_INFO_FIELD_NUMBER: _ClassVar[int]
    compute_id: ComputeId
    settings: _compute_plane_pb2.QuerySettings
    plan: bytes
    query_info: QueryInfo
    def __init__(self, compute_id: _Optional[_Union[ComputeId, _Mapping]] = ..., settings: _Optional[_Union[_compute_plane_pb2.QuerySettings, _Mapping]] = ..., plan: _Optional[bytes] = ..., query_info: _Optional[_Union[QueryInfo, _Mapping]] = ...) -> None: ...

class QueryInfo(_message.Message):
    __slots__ = ("labels", "lineage")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedCompositeFieldContainer[_compute_plane_pb2.Label]
    lineage: _compute_plane_pb2.Lineage
    def __init__(self, labels: _Optional[_Iterable[_Union[_compute_plane_pb2.Label, _Mapping]]] = ..., lineage: _Optional[_Union[_compute_plane_pb2.Lineage, _Mapping]] = ...) -> None: ...

class SubmitQueryResponse(_message.Message):
    __slots__ = ("query_id",)
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: _compute_plane_pb2.QueryId
    def __init__(self, query_id: _Optional[_Union[_compute_plane_pb2.QueryId, _Mapping]] = ...) -> None: ...

class GetQueryResultResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: _compute_plane_pb2.QueryResult
    def __init__(self, result: _Optional[_Union[_compute_plane_pb2.QueryResult, _Mapping]] = ...) -> None: ...
