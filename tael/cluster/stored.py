"""Values stored as JSON under keys of the cluster's bucket; pure."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from tael.cluster.api import Versioned
from tael.errors import Damaged


class Stored(BaseModel):
    """Base of stored values; each module defines the keys of its own."""

    model_config = ConfigDict(frozen=True)

    def encode(self) -> bytes:
        """The JSON stored under its key."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def decode(cls, stored: Versioned) -> Self:
        """Decode what ``encode`` wrote. Raises Damaged, with the key's name, for anything else."""
        try:
            return cls.model_validate_json(stored.value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise Damaged(
                stored.key, f"revision {stored.revision} is not a {cls.__name__}: {where}{': ' if where else ''}{first['msg']}"
            ) from error
