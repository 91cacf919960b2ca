import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Engine(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENGINE_UNSPECIFIED: _ClassVar[Engine]
    ENGINE_AUTO: _ClassVar[Engine]
    ENGINE_STREAMING: _ClassVar[Engine]
    ENGINE_IN_MEMORY: _ClassVar[Engine]
    ENGINE_GPU: _ClassVar[Engine]

class GraphFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GRAPH_FORMAT_UNSPECIFIED: _ClassVar[GraphFormat]
    GRAPH_FORMAT_OLD_PLAIN: _ClassVar[GraphFormat]
    GRAPH_FORMAT_DOT: _ClassVar[GraphFormat]
    GRAPH_FORMAT_PLAIN: _ClassVar[GraphFormat]

class ExecuteUntil(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXECUTE_UNTIL_UNSPECIFIED: _ClassVar[ExecuteUntil]
    EXECUTE_UNTIL_IR: _ClassVar[ExecuteUntil]
    EXECUTE_UNTIL_PHYSICAL: _ClassVar[ExecuteUntil]
    EXECUTE_UNTIL_END: _ClassVar[ExecuteUntil]

class QueryStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUERY_STATUS_UNSPECIFIED: _ClassVar[QueryStatus]
    QUERY_STATUS_SCHEDULED: _ClassVar[QueryStatus]
    QUERY_STATUS_IN_PROGRESS: _ClassVar[QueryStatus]
    QUERY_STATUS_SUCCESS: _ClassVar[QueryStatus]
    QUERY_STATUS_FAILED: _ClassVar[QueryStatus]
    QUERY_STATUS_CANCELED: _ClassVar[QueryStatus]
    QUERY_STATUS_6: _ClassVar[QueryStatus]

class FileType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILE_TYPE_UNSPECIFIED: _ClassVar[FileType]
    FILE_TYPE_PARQUET: _ClassVar[FileType]
    FILE_TYPE_IPC: _ClassVar[FileType]
    FILE_TYPE_CSV: _ClassVar[FileType]
    FILE_TYPE_NDJSON: _ClassVar[FileType]
    FILE_TYPE_JSON: _ClassVar[FileType]

class PlanFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLAN_FORMAT_UNSPECIFIED: _ClassVar[PlanFormat]
    PLAN_FORMAT_DOT: _ClassVar[PlanFormat]
    PLAN_FORMAT_EXPLAIN: _ClassVar[PlanFormat]
ENGINE_UNSPECIFIED: Engine
ENGINE_AUTO: Engine
ENGINE_STREAMING: Engine
ENGINE_IN_MEMORY: Engine
ENGINE_GPU: Engine
GRAPH_FORMAT_UNSPECIFIED: GraphFormat
GRAPH_FORMAT_OLD_PLAIN: GraphFormat
GRAPH_FORMAT_DOT: GraphFormat
GRAPH_FORMAT_PLAIN: GraphFormat
EXECUTE_UNTIL_UNSPECIFIED: ExecuteUntil
EXECUTE_UNTIL_IR: ExecuteUntil
EXECUTE_UNTIL_PHYSICAL: ExecuteUntil
EXECUTE_UNTIL_END: ExecuteUntil
QUERY_STATUS_UNSPECIFIED: QueryStatus
QUERY_STATUS_SCHEDULED: QueryStatus
QUERY_STATUS_IN_PROGRESS: QueryStatus
QUERY_STATUS_SUCCESS: QueryStatus
QUERY_STATUS_FAILED: QueryStatus
QUERY_STATUS_CANCELED: QueryStatus
QUERY_STATUS_6: QueryStatus
FILE_TYPE_UNSPECIFIED: FileType
FILE_TYPE_PARQUET: FileType
FILE_TYPE_IPC: FileType
FILE_TYPE_CSV: FileType
FILE_TYPE_NDJSON: FileType
FILE_TYPE_JSON: FileType
PLAN_FORMAT_UNSPECIFIED: PlanFormat
PLAN_FORMAT_DOT: PlanFormat
PLAN_FORMAT_EXPLAIN: PlanFormat

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class QueryId(_message.Message):
    __slots__ = ("query_id",)
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    def __init__(self, query_id: _Optional[str] = ...) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ("query_id",)
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: QueryId
    def __init__(self, query_id: _Optional[_Union[QueryId, _Mapping]] = ...) -> None: ...

class SubmitQueryRequest(_message.Message):
    __slots__ = ("settings", "plan", "query_info")
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    QUERY_INFO_FIELD_NUMBER: _ClassVar[int]
    settings: QuerySettings
    plan: bytes
    query_info: QueryInfo
    def __init__(self, settings: _Optional[_Union[QuerySettings, _Mapping]] = ..., plan: _Optional[bytes] = ..., query_info: _Optional[_Union[QueryInfo, _Mapping]] = ...) -> None: ...

class SubmitQueryResponse(_message.Message):
    __slots__ = ("query_id",)
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: QueryId
    def __init__(self, query_id: _Optional[_Union[QueryId, _Mapping]] = ...) -> None: ...

class QuerySettings(_message.Message):
    __slots__ = ("engine", "single", "distributed", "graph_format", "n_retries", "optimization_flags", "n_workers_old", "n_workers", "flight", "priority", "execute_until")
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    SINGLE_FIELD_NUMBER: _ClassVar[int]
    DISTRIBUTED_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FORMAT_FIELD_NUMBER: _ClassVar[int]
    N_RETRIES_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZATION_FLAGS_FIELD_NUMBER: _ClassVar[int]
    N_WORKERS_OLD_FIELD_NUMBER: _ClassVar[int]
    N_WORKERS_FIELD_NUMBER: _ClassVar[int]
    FLIGHT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    EXECUTE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    engine: Engine
    single: SingleOptions
    distributed: DistributedOptions
    graph_format: GraphFormat
    n_retries: int
    optimization_flags: int
    n_workers_old: int
    n_workers: NumWorkers
    flight: FlightOptions
    priority: int
    execute_until: ExecuteUntil
    def __init__(self, engine: _Optional[_Union[Engine, str]] = ..., single: _Optional[_Union[SingleOptions, _Mapping]] = ..., distributed: _Optional[_Union[DistributedOptions, _Mapping]] = ..., graph_format: _Optional[_Union[GraphFormat, str]] = ..., n_retries: _Optional[int] = ..., optimization_flags: _Optional[int] = ..., n_workers_old: _Optional[int] = ..., n_workers: _Optional[_Union[NumWorkers, _Mapping]] = ..., flight: _Optional[_Union[FlightOptions, _Mapping]] = ..., priority: _Optional[int] = ..., execute_until: _Optional[_Union[ExecuteUntil, str]] = ...) -> None: ...

class SingleOptions(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DistributedOptions(_message.Message):
    __slots__ = ("shuffle_options", "pre_aggregation", "sort_partitioned", "equi_join_broadcast_limit", "partitions_per_worker", "single_worker_ops", "expression_lowering", "planner")
    SHUFFLE_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    PRE_AGGREGATION_FIELD_NUMBER: _ClassVar[int]
    SORT_PARTITIONED_FIELD_NUMBER: _ClassVar[int]
    EQUI_JOIN_BROADCAST_LIMIT_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_PER_WORKER_FIELD_NUMBER: _ClassVar[int]
    SINGLE_WORKER_OPS_FIELD_NUMBER: _ClassVar[int]
    EXPRESSION_LOWERING_FIELD_NUMBER: _ClassVar[int]
    PLANNER_FIELD_NUMBER: _ClassVar[int]
    shuffle_options: ShuffleOptions
    pre_aggregation: bool
    sort_partitioned: bool
    equi_join_broadcast_limit: int
    partitions_per_worker: int
    single_worker_ops: int
    expression_lowering: bool
    planner: int
    def __init__(self, shuffle_options: _Optional[_Union[ShuffleOptions, _Mapping]] = ..., pre_aggregation: bool = ..., sort_partitioned: bool = ..., equi_join_broadcast_limit: _Optional[int] = ..., partitions_per_worker: _Optional[int] = ..., single_worker_ops: _Optional[int] = ..., expression_lowering: bool = ..., planner: _Optional[int] = ...) -> None: ...

class ShuffleOptions(_message.Message):
    __slots__ = ("format", "compression", "level")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    format: int
    compression: int
    level: int
    def __init__(self, format: _Optional[int] = ..., compression: _Optional[int] = ..., level: _Optional[int] = ...) -> None: ...

class NumWorkers(_message.Message):
    __slots__ = ("min", "max")
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    min: int
    max: int
    def __init__(self, min: _Optional[int] = ..., max: _Optional[int] = ...) -> None: ...

class FlightOptions(_message.Message):
    __slots__ = ("ttl", "maintain_order")
    TTL_FIELD_NUMBER: _ClassVar[int]
    MAINTAIN_ORDER_FIELD_NUMBER: _ClassVar[int]
    ttl: _duration_pb2.Duration
    maintain_order: bool
    def __init__(self, ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., maintain_order: bool = ...) -> None: ...

class QueryInfo(_message.Message):
    __slots__ = ("labels", "execution_id", "lineage")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedCompositeFieldContainer[Label]
    execution_id: str
    lineage: Lineage
    def __init__(self, labels: _Optional[_Iterable[_Union[Label, _Mapping]]] = ..., execution_id: _Optional[str] = ..., lineage: _Optional[_Union[Lineage, _Mapping]] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class Lineage(_message.Message):
    __slots__ = ("job_namespace", "job_name", "parent_run_id", "parent_job_namespace", "parent_job_name")
    JOB_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    JOB_NAME_FIELD_NUMBER: _ClassVar[int]
    PARENT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_JOB_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PARENT_JOB_NAME_FIELD_NUMBER: _ClassVar[int]
    job_namespace: str
    job_name: str
    parent_run_id: str
    parent_job_namespace: str
    parent_job_name: str
    def __init__(self, job_namespace: _Optional[str] = ..., job_name: _Optional[str] = ..., parent_run_id: _Optional[str] = ..., parent_job_namespace: _Optional[str] = ..., parent_job_name: _Optional[str] = ...) -> None: ...

class GetQueryStatusResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: QueryStatus
    def __init__(self, status: _Optional[_Union[QueryStatus, str]] = ...) -> None: ...

class GetQueryResultResponse(_message.Message):
    __slots__ = ("query_result", "compute_info", "query_status")
    QUERY_RESULT_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_INFO_FIELD_NUMBER: _ClassVar[int]
    QUERY_STATUS_FIELD_NUMBER: _ClassVar[int]
    query_result: QueryResult
    compute_info: ComputeQueryInfo
    query_status: QueryStatus
    def __init__(self, query_result: _Optional[_Union[QueryResult, _Mapping]] = ..., compute_info: _Optional[_Union[ComputeQueryInfo, _Mapping]] = ..., query_status: _Optional[_Union[QueryStatus, str]] = ...) -> None: ...

class QueryResult(_message.Message):
    __slots__ = ("total_stages", "finished_stages", "failed_stages", "errors", "output")
    TOTAL_STAGES_FIELD_NUMBER: _ClassVar[int]
    FINISHED_STAGES_FIELD_NUMBER: _ClassVar[int]
    FAILED_STAGES_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    total_stages: int
    finished_stages: int
    failed_stages: int
    errors: _containers.RepeatedCompositeFieldContainer[Error]
    output: QueryOutput
    def __init__(self, total_stages: _Optional[int] = ..., finished_stages: _Optional[int] = ..., failed_stages: _Optional[int] = ..., errors: _Optional[_Iterable[_Union[Error, _Mapping]]] = ..., output: _Optional[_Union[QueryOutput, _Mapping]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: str
    def __init__(self, message: _Optional[str] = ...) -> None: ...

class QueryOutput(_message.Message):
    __slots__ = ("destination", "file_type", "n_rows_result")
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    FILE_TYPE_FIELD_NUMBER: _ClassVar[int]
    N_ROWS_RESULT_FIELD_NUMBER: _ClassVar[int]
    destination: _containers.RepeatedCompositeFieldContainer[Destination]
    file_type: FileType
    n_rows_result: int
    def __init__(self, destination: _Optional[_Iterable[_Union[Destination, _Mapping]]] = ..., file_type: _Optional[_Union[FileType, str]] = ..., n_rows_result: _Optional[int] = ...) -> None: ...

class Destination(_message.Message):
    __slots__ = ("destination",)
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    destination: str
    def __init__(self, destination: _Optional[str] = ...) -> None: ...

class ComputeQueryInfo(_message.Message):
    __slots__ = ("data", "error", "stage_statistics", "execute_until")
    DATA_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    STAGE_STATISTICS_FIELD_NUMBER: _ClassVar[int]
    EXECUTE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    error: str
    stage_statistics: QueryStageStatistics
    execute_until: ExecuteUntil
    def __init__(self, data: _Optional[bytes] = ..., error: _Optional[str] = ..., stage_statistics: _Optional[_Union[QueryStageStatistics, _Mapping]] = ..., execute_until: _Optional[_Union[ExecuteUntil, str]] = ...) -> None: ...

class QueryStageStatistics(_message.Message):
    __slots__ = ("stage_statistics",)
    class StageStatisticsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: StageStatistics
        def __init__(self, key: _Optional[int] = ..., value: _Optional[_Union[StageStatistics, _Mapping]] = ...) -> None: ...
    STAGE_STATISTICS_FIELD_NUMBER: _ClassVar[int]
    stage_statistics: _containers.MessageMap[int, StageStatistics]
    def __init__(self, stage_statistics: _Optional[_Mapping[int, StageStatistics]] = ...) -> None: ...

class StageStatistics(_message.Message):
    __slots__ = ("num_workers_used",)
    NUM_WORKERS_USED_FIELD_NUMBER: _ClassVar[int]
    num_workers_used: int
    def __init__(self, num_workers_used: _Optional[int] = ...) -> None: ...

class GetQueryPlansRequest(_message.Message):
    __slots__ = ("query_id", "fields")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    query_id: QueryId
    fields: _field_mask_pb2.FieldMask
    def __init__(self, query_id: _Optional[_Union[QueryId, _Mapping]] = ..., fields: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class GetQueryPlansResponse(_message.Message):
    __slots__ = ("plans_old", "plans")
    PLANS_OLD_FIELD_NUMBER: _ClassVar[int]
    PLANS_FIELD_NUMBER: _ClassVar[int]
    plans_old: OldPlans
    plans: ClientQueryPlans
    def __init__(self, plans_old: _Optional[_Union[OldPlans, _Mapping]] = ..., plans: _Optional[_Union[ClientQueryPlans, _Mapping]] = ...) -> None: ...

class OldPlans(_message.Message):
    __slots__ = ("format", "ir_plan", "phys_plan")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    IR_PLAN_FIELD_NUMBER: _ClassVar[int]
    PHYS_PLAN_FIELD_NUMBER: _ClassVar[int]
    format: PlanFormat
    ir_plan: str
    phys_plan: str
    def __init__(self, format: _Optional[_Union[PlanFormat, str]] = ..., ir_plan: _Optional[str] = ..., phys_plan: _Optional[str] = ...) -> None: ...

class ClientQueryPlans(_message.Message):
    __slots__ = ("format", "ir_plan", "stage_graph")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    IR_PLAN_FIELD_NUMBER: _ClassVar[int]
    STAGE_GRAPH_FIELD_NUMBER: _ClassVar[int]
    format: PlanFormat
    ir_plan: str
    stage_graph: bytes
    def __init__(self, format: _Optional[_Union[PlanFormat, str]] = ..., ir_plan: _Optional[str] = ..., stage_graph: _Optional[bytes] = ...) -> None: ...

class GetComputeVersionsResponse(_message.Message):
    __slots__ = ("versions",)
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    versions: ComputeVersions
    def __init__(self, versions: _Optional[_Union[ComputeVersions, _Mapping]] = ...) -> None: ...

class ComputeVersions(_message.Message):
    __slots__ = ("compute_plane_version", "polars_python_version", "polars_rust_revision")
    COMPUTE_PLANE_VERSION_FIELD_NUMBER: _ClassVar[int]
    POLARS_PYTHON_VERSION_FIELD_NUMBER: _ClassVar[int]
    POLARS_RUST_REVISION_FIELD_NUMBER: _ClassVar[int]
    compute_plane_version: str
    polars_python_version: str
    polars_rust_revision: str
    def __init__(self, compute_plane_version: _Optional[str] = ..., polars_python_version: _Optional[str] = ..., polars_rust_revision: _Optional[str] = ...) -> None: ...
