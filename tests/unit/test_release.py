"""The inventory of dependencies, its audit, and the contents of a release."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from release import build, images
from release.audit import LOCKS, ROOT, drift, main, problems
from release.inventory import Package, bill_of_materials, licences, locked, read_lock

HASH = "0" * 64


def test_a_lock_file_is_read() -> None:
    text = f"# by pip-compile\nAio_Http==3.14.5 ; python_version >= '3.11' \\\n    --hash=sha256:{HASH}\n    # via tael\n"
    assert read_lock(text) == [Package("aio-http", "3.14.5", 2, [HASH])]


@pytest.mark.parametrize("line", ["aiohttp>=3", "-e .", "git+https://host.example/x", "--index-url https://host.example"])
def test_an_unpinned_requirement_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"line 2: .* pins no version"):
        read_lock(f"# a comment\n{line}\n")


def test_the_dependencies_are_what_they_should_be() -> None:
    """As `make check` tests."""
    assert main([]) == 0


def test_differences_between_locks_are_named() -> None:
    dev, hashes = [Package("aiohttp", "2", 1, ["1" * 64]), Package("lz4", "4", 2, ["1" * 64])], ["2" * 64]
    locks = {
        LOCKS[0]: [Package("aiohttp", "1", 1, hashes), Package("lz4", "4", 2, hashes)],
        LOCKS[1]: [Package("gone", "1", 1)],
        LOCKS[2]: dev,
    }
    assert problems(locks) == [
        "requirements-local.lock: gone has no hash",
        "requirements.lock: aiohttp 1 is 2 in requirements-dev.lock: make lock",
        "requirements.lock: lz4 has other hashes than in requirements-dev.lock: make lock",
        "requirements-local.lock: gone 1 is missing in requirements-dev.lock: make lock",
    ]
    assert "aiohttp" in drift([Package("aiohttp", "0.0.1", 1)])[0]


def test_the_bill_of_materials_names_every_pin() -> None:
    pins = locked(ROOT / LOCKS[0])
    bill = json.loads(bill_of_materials(pins))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert [component["name"] for component in bill["components"]] == sorted(pin.name for pin in pins)
    assert all(component["purl"].startswith("pkg:pypi/") and component["properties"] for component in bill["components"])
    assert bill_of_materials(pins) == bill_of_materials(list(reversed(pins)))
    assert "not stated" not in licences(pins)


def test_the_version_is_one_everywhere_and_the_chart_packs_the_same_each_time(tmp_path: Path) -> None:
    assert build.unfit() == ""
    packed = build.chart(build.CHART, 1)
    assert packed == build.chart(build.CHART, 1)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert "tael/Chart.yaml" in archive.getnames()


def test_every_third_party_image_gets_the_digest_of_its_tag() -> None:
    """Existing digests are replaced, and the images that Compose and the chart name are found."""
    digest, asked = "sha256:" + "a" * 64, list[tuple[str, str]]()

    def digest_of(name: str, tag: str) -> str:
        asked.append((name, tag))
        return digest

    for name in images.FILES:
        if not (images.DEPLOY / name).exists():
            continue
        before = (images.DEPLOY / name).read_text()
        after = images.pinned(before, digest_of)
        assert images.pinned(after, digest_of) == after
        assert after.replace(f"@{digest}", "") == before
    names = {place for place, _ in asked}
    assert {"nats", "docker.io/library/nats", "clickhouse/clickhouse-server", "quay.io/minio/minio", "grafana/grafana"} <= names
    assert "tael" not in names


def test_image_references() -> None:
    assert images.place("nats") == images.place("docker.io/library/nats") == ("registry-1.docker.io", "library/nats")
    assert images.place("grafana/grafana") == ("registry-1.docker.io", "grafana/grafana")
    assert images.place("quay.io/minio/minio") == ("quay.io", "minio/minio")
