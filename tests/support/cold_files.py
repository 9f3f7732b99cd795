"""Files and manifests of the cold tier that tests make up."""

from __future__ import annotations

from dataclasses import replace

from tael.cold import transitions as m
from tael.cold.files import ColdFile
from tael.cold.manifest import Manifest, OpenHour
from tael.model.time import HOUR_NS

HOUR = 480_000 * HOUR_NS
NOW = HOUR + 100 * HOUR_NS


def a_file(table: str = "spans", tenant: str = "t", hour_ns: int = HOUR, generation: int = 0, **fields: object) -> ColdFile:
    """A file with rows throughout its hour."""
    file = ColdFile(table, tenant, 0, hour_ns, generation, 10, 1000, "c", hour_ns, hour_ns + HOUR_NS - 1)
    return replace(file, **fields)  # type: ignore[arg-type]


def rolled(manifest: Manifest, table: str, hour_ns: int, *tenants: str, epoch: int = 1) -> Manifest:
    """The manifest after an hour was rolled completely."""
    manifest = m.begin_move(manifest, table, hour_ns, epoch).manifest
    manifest = m.moved(manifest, table, hour_ns, epoch).manifest
    generation = opened(manifest, table, hour_ns).generation
    files = [a_file(table, tenant, hour_ns, generation) for tenant in tenants]
    manifest = m.committed(manifest, table, hour_ns, files, epoch, NOW).manifest
    return m.dropped(manifest, table, hour_ns, epoch).manifest


def opened(manifest: Manifest, table: str = "spans", hour_ns: int = HOUR) -> OpenHour:
    found = manifest.open_hour(table, hour_ns)
    assert found is not None
    return found
