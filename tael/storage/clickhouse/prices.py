"""The computed cost of an LLM call as SQL over ``spans``, generated from the prices; pure. ``tael.otlp.prices`` defines it."""

from __future__ import annotations

from collections.abc import Mapping

from tael.otlp.prices import PRICED_OPERATIONS, TOKENS_PER_PRICE, Price, Prices
from tael.storage.clickhouse.llm import quoted


def computed_cost(prices: Prices) -> str:
    """An expression of type Nullable(Float64), in USD; NULL for a call that reports its own cost or whose model has no price."""
    operations = ", ".join(quoted(PRICED_OPERATIONS))
    computable = "isNull(llm_cost_usd) AND NOT (isNull(llm_input_tokens) AND isNull(llm_output_tokens))"
    names = ", ".join(name for column in ("llm_response_model", "llm_model") for name in _names(column, prices))
    by_period = [(start, f"arrayFirst(p -> notEmpty(p), arrayMap(n -> {_of(table)}, [{names}]))") for start, table in prices.periods]
    *dated, (_, always) = by_period
    branches = "".join(f"toUnixTimestamp64Nano(start_time) >= {start}, {price}, " for start, price in dated)
    price = f"multiIf({branches}{always})" if dated else always
    tokens = [f"ifNull(llm_{name}_tokens, 0)" for name in ("input", "output", "cache_read", "cache_write")]
    plain = f"greatest(0, {tokens[0]} - {tokens[2]} - {tokens[3]})"
    cost = " + ".join(f"{count} * p[{at}]" for at, count in enumerate((plain, *tokens[1:]), 1))
    whole = f"arrayMap(p -> if(empty(p), NULL, ({cost}) / {TOKENS_PER_PRICE:.0f}), [{price}])[1]"
    return f"if(llm_operation IN ({operations}) AND {computable}, {whole}, NULL)"


def _names(column: str, prices: Prices) -> tuple[str, str]:
    whole = f"replaceRegexpOne(lower({column}), {quoted([prices.strip_front])[0]}, '')"
    return whole, f"replaceRegexpOne({whole}, {quoted([prices.strip_back])[0]}, '')"


def _of(table: Mapping[str, Price]) -> str:
    """The prices of model ``n`` in the order of Price's fields; an empty array for a model without prices."""
    # indexOf is 0 for an unknown model, and the first element of the outer array is empty.
    rows = ", ".join(f"[{price.input}, {price.output}, {price.cache_read}, {price.cache_write}]" for price in table.values())
    return f"[[], {rows}][indexOf([{', '.join(quoted(table))}], n) + 1]"
