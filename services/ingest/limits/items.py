"""The settings behind the limits of one span, log record or metric (tael.otlp.limits)."""

from __future__ import annotations

from pydantic import Field

from tael.otlp.extract import Sizes
from tael.otlp.limits import ItemLimits
from tael.runtime.config import Bytes, Settings


class ItemLimitSettings(Settings):
    """What exceeds a limit is truncated or dropped, and the client's answer says so."""

    max_attributes: int = Field(
        default=1024,
        ge=1,
        le=1_000_000,
        alias="TAEL_MAX_ATTRIBUTES",
        description="Attributes of one span, log record, data point, event, link, scope or resource; 16 times as many of those with content"
        " of an LLM call.",
    )
    max_attribute_key_bytes: Bytes = Field(
        default="4KiB",  # type: ignore[assignment]  # parsed by the validator
        ge=1,
        alias="TAEL_MAX_ATTRIBUTE_KEY_BYTES",
        description="Bytes of an attribute's key; an attribute with a longer one is dropped.",
    )
    max_attribute_value_bytes: Bytes = Field(
        default="64KiB",  # type: ignore[assignment]  # parsed by the validator
        ge=1,
        alias="TAEL_MAX_ATTRIBUTE_VALUE_BYTES",
        description="Bytes of an attribute's value, except for content of an LLM call; a longer text is truncated, a larger array or map dropped.",
    )

    payload_bytes: Bytes = Field(
        default="8KiB",  # type: ignore[assignment]  # parsed by the validator
        ge=512,
        alias="TAEL_PAYLOAD_BYTES",
        description="Size from which an attribute's value is stored separately, as a payload that the span or log record refers to.",
    )
    payload_content_bytes: Bytes = Field(
        default="2KiB",  # type: ignore[assignment]  # parsed by the validator
        ge=512,
        alias="TAEL_PAYLOAD_CONTENT_BYTES",
        description="The same for values that hold a prompt or a completion.",
    )
    payloads_remembered: int = Field(
        default=100_000,
        ge=0,
        le=100_000_000,
        alias="TAEL_PAYLOADS_REMEMBERED",
        description="Number of payloads that a receiver remembers having sent, about 250 bytes each; a forgotten one is sent again, but stored only once.",
    )

    @property
    def payload_sizes(self) -> Sizes:
        """The sizes from which values become payloads."""
        return Sizes(self.payload_bytes, self.payload_content_bytes)

    @property
    def item_limits(self) -> ItemLimits:
        """The limits of one item."""
        return ItemLimits(self.max_attributes, self.max_attribute_key_bytes, self.max_attribute_value_bytes)
