"""Prometheus remote write, 1.0 and 2.0, on the OTLP HTTP port: snappy in, the written counts out in headers, errors as text.

Senders retry only after 429 and 5xx, so a request with series that can never be stored is answered with 400 once the rest of it is stored
(Prometheus Remote-Write specification 2.0, "Partial Write").
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from services.ingest.admission import Admitted, Cut
from services.ingest.metrics import TranslatedAdmission
from services.ingest.pipeline import Pipeline
from services.ingest.receivers.body import read_snappy, tenant_of
from services.ingest.receivers.settings import ReceiverSettings
from tael.model.signals import METRICS
from tael.otlp.signals import SIGNALS
from tael.runtime import http

PATH = "/api/v1/write"
_VERSIONS = {"prometheus.WriteRequest": 1, "io.prometheus.write.v2.Request": 2}
_ACCEPTED = "application/x-protobuf with proto=prometheus.WriteRequest (also when it is not given) or proto=io.prometheus.write.v2.Request"


def route(settings: ReceiverSettings, pipeline: Pipeline) -> http.Route:
    """The handler of ``POST /api/v1/write``."""
    answered = http.errors_to_status(http.describe_text)

    async def write(request: web.Request) -> web.StreamResponse:
        version = _version(request.headers.get("Content-Type", ""))
        if request.headers.get("Content-Encoding", "snappy").strip().lower() not in ("", "snappy"):
            raise web.HTTPUnsupportedMediaType(reason="unsupported Content-Encoding (accepted: snappy)")
        tenant = tenant_of(request, pipeline)
        counting = _Counting(pipeline.metrics.remote_write[version])
        async with pipeline.reserve(tenant) as reservation:
            body = await read_snappy(request, pipeline, reservation, settings.max_request_bytes)
            outcome = await pipeline.admit(SIGNALS[METRICS], tenant, body, reservation, counting)
        status = 400 if outcome.rejected else 204
        return web.Response(status=status, text=outcome.message if outcome.rejected else None, headers=counting.headers())

    async def counted(request: web.Request) -> web.StreamResponse:
        with pipeline.telemetry.request(METRICS, "remote_write"):
            return await write(request)

    async def handle(request: web.Request) -> web.StreamResponse:
        answer: web.StreamResponse = await answered(request, counted)
        return answer

    return handle


@dataclass(slots=True)
class _Counting:
    """Admission of one request that counts what is written."""

    admission: TranslatedAdmission
    samples: int = 0
    histograms: int = 0
    exemplars: int = 0

    def is_light(self, request: bytes) -> bool:
        """See Admission."""
        return self.admission.is_light(request)

    def weigh(self, request: bytes) -> int:
        """See Admission."""
        return self.admission.weigh(request)

    def admit(self, tenant: str, request: bytes, cut: Cut) -> Admitted:
        """See Admission."""
        translation = self.admission.translate(tenant, request, cut)
        self.samples, self.histograms, self.exemplars = len(translation.samples), len(translation.histograms), len(translation.exemplars)
        return self.admission.cut(translation, cut)

    def headers(self) -> dict[str, str]:
        """The written counts, for the sender to compare with what it sent; resent samples, stored before, are included."""
        written = {"Samples": self.samples, "Histograms": self.histograms, "Exemplars": self.exemplars}
        return {f"X-Prometheus-Remote-Write-{what}-Written": str(count) for what, count in written.items()}


def _version(content_type: str) -> int:
    """The remote-write version of a content type; 1.0 when it names none. Raises HTTPUnsupportedMediaType."""
    kind, _, parameters = content_type.partition(";")
    named = dict(pair.strip().partition("=")[::2] for pair in parameters.split(";"))
    version = _VERSIONS.get(named.get("proto", "prometheus.WriteRequest").strip('"'))
    if kind.strip().lower() not in ("", "application/x-protobuf") or version is None:
        raise web.HTTPUnsupportedMediaType(reason=f"unsupported Content-Type (accepted: {_ACCEPTED})")
    return version
