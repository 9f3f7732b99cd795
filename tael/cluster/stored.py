"""Values that are kept as JSON under keys of the cluster's bucket; pure."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from tael.cluster.api import Versioned
from tael.errors import Damaged


class Stored(BaseModel):
    """One value; which key it stands under is its module's to say."""

    model_config = ConfigDict(frozen=True)

    def encode(self) -> bytes:
        """As it is kept under its key."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def decode(cls, stored: Versioned) -> Self:
        """Read what ``encode`` wrote. Raises Damaged, with the key's name, for anything else."""
        try:
            return cls.model_validate_json(stored.value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise Damaged(
                stored.key, f"revision {stored.revision} is not a {cls.__name__}: {where}{': ' if where else ''}{first['msg']}"
            ) from error
