"""Backups that `tael restore` refuses."""

from __future__ import annotations

from typing import cast

import pytest

from tael.cluster.api import KeyValue
from tael.cluster.backup import put_back
from tael.errors import Rejected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no JSON", "is not a backup"),
        ("[]", "is not a backup"),
        ('{"format": "tael-state/9"}', "tael-state/9"),
        ('{"format": "tael-state/1", "cluster_id": "other", "keys": {}}', "is a backup of cluster 'other'"),
        ('{"format": "tael-state/1", "cluster_id": "tael", "keys": {"a": {"value": "%", "revision": 1}}}', "is not a backup"),
    ],
)
async def test_an_invalid_backup_is_refused_before_any_request(text: str, words: str) -> None:
    with pytest.raises(Rejected, match=words):
        await put_back(cast("KeyValue", None), text.encode(), "tael")
