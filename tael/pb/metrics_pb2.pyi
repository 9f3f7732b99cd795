from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MetricBatch(_message.Message):
    __slots__ = ("metric", "series", "time_ms", "value", "histograms", "exemplars", "deltas", "new_series", "families")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAMS_FIELD_NUMBER: _ClassVar[int]
    EXEMPLARS_FIELD_NUMBER: _ClassVar[int]
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    NEW_SERIES_FIELD_NUMBER: _ClassVar[int]
    FAMILIES_FIELD_NUMBER: _ClassVar[int]
    metric: _containers.RepeatedScalarFieldContainer[int]
    series: _containers.RepeatedScalarFieldContainer[int]
    time_ms: _containers.RepeatedScalarFieldContainer[int]
    value: _containers.RepeatedScalarFieldContainer[float]
    histograms: _containers.RepeatedCompositeFieldContainer[Histogram]
    exemplars: _containers.RepeatedCompositeFieldContainer[Exemplar]
    deltas: Deltas
    new_series: _containers.RepeatedCompositeFieldContainer[Series]
    families: _containers.RepeatedCompositeFieldContainer[Family]
    def __init__(self, metric: _Optional[_Iterable[int]] = ..., series: _Optional[_Iterable[int]] = ..., time_ms: _Optional[_Iterable[int]] = ..., value: _Optional[_Iterable[float]] = ..., histograms: _Optional[_Iterable[_Union[Histogram, _Mapping]]] = ..., exemplars: _Optional[_Iterable[_Union[Exemplar, _Mapping]]] = ..., deltas: _Optional[_Union[Deltas, _Mapping]] = ..., new_series: _Optional[_Iterable[_Union[Series, _Mapping]]] = ..., families: _Optional[_Iterable[_Union[Family, _Mapping]]] = ...) -> None: ...

class Histogram(_message.Message):
    __slots__ = ("metric", "series", "time_ms", "schema", "count", "sum", "zero_threshold", "zero_count", "positive_index", "positive_counts", "negative_index", "negative_counts", "custom_bounds", "reset_hint")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    ZERO_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    ZERO_COUNT_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_INDEX_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_COUNTS_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_INDEX_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_COUNTS_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_BOUNDS_FIELD_NUMBER: _ClassVar[int]
    RESET_HINT_FIELD_NUMBER: _ClassVar[int]
    metric: int
    series: int
    time_ms: int
    schema: int
    count: float
    sum: float
    zero_threshold: float
    zero_count: float
    positive_index: _containers.RepeatedScalarFieldContainer[int]
    positive_counts: _containers.RepeatedScalarFieldContainer[float]
    negative_index: _containers.RepeatedScalarFieldContainer[int]
    negative_counts: _containers.RepeatedScalarFieldContainer[float]
    custom_bounds: _containers.RepeatedScalarFieldContainer[float]
    reset_hint: int
    def __init__(self, metric: _Optional[int] = ..., series: _Optional[int] = ..., time_ms: _Optional[int] = ..., schema: _Optional[int] = ..., count: _Optional[float] = ..., sum: _Optional[float] = ..., zero_threshold: _Optional[float] = ..., zero_count: _Optional[float] = ..., positive_index: _Optional[_Iterable[int]] = ..., positive_counts: _Optional[_Iterable[float]] = ..., negative_index: _Optional[_Iterable[int]] = ..., negative_counts: _Optional[_Iterable[float]] = ..., custom_bounds: _Optional[_Iterable[float]] = ..., reset_hint: _Optional[int] = ...) -> None: ...

class Exemplar(_message.Message):
    __slots__ = ("metric", "series", "time_ms", "value", "label_names", "label_values", "trace_id")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LABEL_NAMES_FIELD_NUMBER: _ClassVar[int]
    LABEL_VALUES_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    metric: int
    series: int
    time_ms: int
    value: float
    label_names: _containers.RepeatedScalarFieldContainer[str]
    label_values: _containers.RepeatedScalarFieldContainer[str]
    trace_id: bytes
    def __init__(self, metric: _Optional[int] = ..., series: _Optional[int] = ..., time_ms: _Optional[int] = ..., value: _Optional[float] = ..., label_names: _Optional[_Iterable[str]] = ..., label_values: _Optional[_Iterable[str]] = ..., trace_id: _Optional[bytes] = ...) -> None: ...

class Deltas(_message.Message):
    __slots__ = ("metric", "series", "time_ms", "value", "histograms")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAMS_FIELD_NUMBER: _ClassVar[int]
    metric: _containers.RepeatedScalarFieldContainer[int]
    series: _containers.RepeatedScalarFieldContainer[int]
    time_ms: _containers.RepeatedScalarFieldContainer[int]
    value: _containers.RepeatedScalarFieldContainer[float]
    histograms: _containers.RepeatedCompositeFieldContainer[Histogram]
    def __init__(self, metric: _Optional[_Iterable[int]] = ..., series: _Optional[_Iterable[int]] = ..., time_ms: _Optional[_Iterable[int]] = ..., value: _Optional[_Iterable[float]] = ..., histograms: _Optional[_Iterable[_Union[Histogram, _Mapping]]] = ...) -> None: ...

class TotalBatch(_message.Message):
    __slots__ = ("metric", "series", "time_ms", "value", "batch", "histograms", "histogram_batch")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAMS_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAM_BATCH_FIELD_NUMBER: _ClassVar[int]
    metric: _containers.RepeatedScalarFieldContainer[int]
    series: _containers.RepeatedScalarFieldContainer[int]
    time_ms: _containers.RepeatedScalarFieldContainer[int]
    value: _containers.RepeatedScalarFieldContainer[float]
    batch: _containers.RepeatedScalarFieldContainer[int]
    histograms: _containers.RepeatedCompositeFieldContainer[Histogram]
    histogram_batch: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, metric: _Optional[_Iterable[int]] = ..., series: _Optional[_Iterable[int]] = ..., time_ms: _Optional[_Iterable[int]] = ..., value: _Optional[_Iterable[float]] = ..., batch: _Optional[_Iterable[int]] = ..., histograms: _Optional[_Iterable[_Union[Histogram, _Mapping]]] = ..., histogram_batch: _Optional[_Iterable[int]] = ...) -> None: ...

class OnlyDeltas(_message.Message):
    __slots__ = ("deltas",)
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    deltas: Deltas
    def __init__(self, deltas: _Optional[_Union[Deltas, _Mapping]] = ...) -> None: ...

class Series(_message.Message):
    __slots__ = ("metric", "series", "hour", "label_names", "label_values")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    HOUR_FIELD_NUMBER: _ClassVar[int]
    LABEL_NAMES_FIELD_NUMBER: _ClassVar[int]
    LABEL_VALUES_FIELD_NUMBER: _ClassVar[int]
    metric: int
    series: int
    hour: int
    label_names: _containers.RepeatedScalarFieldContainer[str]
    label_values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, metric: _Optional[int] = ..., series: _Optional[int] = ..., hour: _Optional[int] = ..., label_names: _Optional[_Iterable[str]] = ..., label_values: _Optional[_Iterable[str]] = ...) -> None: ...

class Family(_message.Message):
    __slots__ = ("name", "type", "unit", "help", "hour")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    HELP_FIELD_NUMBER: _ClassVar[int]
    HOUR_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    unit: str
    help: str
    hour: int
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., unit: _Optional[str] = ..., help: _Optional[str] = ..., hour: _Optional[int] = ...) -> None: ...
