"""Settings of the PromQL engine."""

from __future__ import annotations

from pydantic import Field

from services.query.promql.engine import EngineOptions
from tael.promql.features import Features
from tael.runtime.config import Settings, Switch


class PromqlSettings(Settings):
    """Settings of the PromQL engine, a group of the query service's."""

    promql_max_samples: int = Field(
        default=50_000_000,
        ge=1000,
        alias="TAEL_PROMQL_MAX_SAMPLES",
        description="Maximum number of samples that a PromQL query may load, and that any intermediate result may hold; a query over the limit fails.",
    )
    promql_max_series: int = Field(
        default=500_000,
        ge=1,
        alias="TAEL_PROMQL_MAX_SERIES",
        description="Maximum number of series that one PromQL selector may match, and of entries in a list of series, label names or label values.",
    )
    promql_lookback_seconds: float = Field(
        default=300.0,
        gt=0,
        le=86_400,
        alias="TAEL_PROMQL_LOOKBACK_SECS",
        description="How far back an instant selector looks for a sample; a query's `lookback_delta` overrides it.",
    )
    promql_experimental: Switch = Field(
        default=True,
        alias="TAEL_PROMQL_EXPERIMENTAL",
        description="Allow what Prometheus 3 keeps behind feature flags: experimental functions and aggregations, duration expressions, `anchored` and `smoothed`, `fill`.",
    )

    @property
    def engine_options(self) -> EngineOptions:
        """These settings as options of the engine."""
        allowed = self.promql_experimental
        features = Features(functions=allowed, duration_expressions=allowed, extended_ranges=allowed, fill=allowed)
        return EngineOptions(
            lookback_ms=round(self.promql_lookback_seconds * 1000),
            max_samples=self.promql_max_samples,
            max_series=self.promql_max_series,
            features=features,
        )
