"""proto/payloads.proto as ClickHouse decodes it."""

from __future__ import annotations

from tael.pb.payloads_pb2 import PayloadBatch
from tael.storage.clickhouse.metric_wire import message_of

LANDING_TABLE = "payloads_in_1"
PAYLOAD_BATCH = message_of(PayloadBatch.DESCRIPTOR)
