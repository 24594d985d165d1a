"""Price tables, and what calls cost."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ratelimiterd import NoPrice, Price, PriceTable, PriceTableError, TokenUsage

SONNET = Price("USD", 3_000_000, 300_000, 3_750_000, 15_000_000, 15_000_000)
RATES: dict[str, Any] = {"input": 1, "output": 1}


def row(rates: dict[str, Any] = RATES, **fields: Any) -> dict[str, Any]:
    return {"provider": "p", "model": "m", "micros_per_million_tokens": rates, **fields}


def table(*rows: Any, **fields: Any) -> str:
    return json.dumps({"currency": "USD", "prices": list(rows), **fields})


@pytest.mark.parametrize(
    ("usage", "micros"),
    [
        (TokenUsage(), 0),
        (TokenUsage(input=1), 3),
        # 0.3 and 3.75 are rounded up alone, and 4.05 is together.
        (TokenUsage(cached_input=1), 1),
        (TokenUsage(cache_write_input=1), 4),
        (TokenUsage(cached_input=1, cache_write_input=1), 5),
        (TokenUsage(output=2, reasoning=3), 75),
        (TokenUsage(input=1_000_000, output=1_000_000), 18_000_000),
    ],
)
def test_a_cost_is_the_sum_rounded_up_once(usage: TokenUsage, micros: int) -> None:
    assert SONNET.cost_micros(usage) == micros


def test_no_usage_within_the_estimate_costs_more_than_the_estimate() -> None:
    for price in (SONNET, Price("USD", 1, 9_999_999, 2, 5, 60_000_001)):
        most = price.most_micros(7, 5)
        for cached in range(8):
            for written in range(8 - cached):
                for reasoning in range(6):
                    usage = TokenUsage(7 - cached - written, cached, written, 5 - reasoning, reasoning)
                    assert price.cost_micros(usage) <= most


def test_prices_that_are_left_out_are_those_of_input_and_output() -> None:
    of_table = PriceTable.parse(table(row({"input": 2, "output": 5, "cached_input": None})))
    assert of_table.price("p", "m") == Price("USD", 2, 2, 2, 5, 5)
    all_given = {"input": 1, "cached_input": 2, "cache_write_input": 3, "output": 4, "reasoning": 5}
    assert PriceTable.parse(table(row(all_given))).price("p", "m") == Price("USD", 1, 2, 3, 4, 5)


def test_a_price_starts_on_its_day() -> None:
    later = row({"input": 9, "output": 9}, starts_on="2026-03-01")
    of_table = PriceTable.parse(table(row(), later))
    midnight = datetime(2026, 3, 1, tzinfo=timezone.utc)
    berlin = timezone(timedelta(hours=1))
    for at, price in [
        (midnight - timedelta(microseconds=1), 1),
        (midnight, 9),
        (datetime(2026, 3, 1, 0, 59, tzinfo=berlin), 1),
        (midnight + timedelta(days=9_999), 9),
    ]:
        assert of_table.price("p", "m", at).input == price


def test_an_unknown_model_says_what_to_add() -> None:
    of_table = PriceTable.parse(table(row(starts_on="2026-03-01")))
    at = datetime(2026, 2, 28, tzinfo=timezone.utc)
    for provider, model in [("p", "other"), ("P", "m"), ("p", "m")]:
        with pytest.raises(NoPrice) as caught:
            of_table.price(provider, model, at)
        assert str(caught.value) == (
            f'the price table has no price of provider "{provider}" and model "{model}" on 2026-02-28: add '
            f'{{"provider": "{provider}", "model": "{model}", "micros_per_million_tokens": {{"input": ..., '
            '"output": ...}} to its prices'
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the price table is malformed: "),
        ("[]", "the price table must be an object"),
        (table(currency="usd"), "currency must be three upper-case letters"),
        ('{"prices": []}', "the price table misses the field 'currency'"),
        (table(prices="none"), "prices must be a list"),
        (table(version=1), "the price table has an unknown field 'version'"),
        (table(7), "prices[0] must be an object, not 7"),
        (table(row({"input": 1})), "prices[0].micros_per_million_tokens misses the field 'output'"),
        (table(row({"input": 1, "output": None})), "prices[0].micros_per_million_tokens misses the field 'output'"),
        (table(row({"input": -1, "output": 1})), "prices[0].micros_per_million_tokens.input must be a whole number"),
        (table(row({"input": 2.5, "output": 1})), "prices[0].micros_per_million_tokens.input must be a whole number"),
        (table(row({"input": True, "output": 1})), "prices[0].micros_per_million_tokens.input must be a whole number"),
        (table(row({"input": 1, "output": 10**15 + 1})), "prices[0].micros_per_million_tokens.output must be a whole"),
        (table(row({**RATES, "image": 1})), "prices[0].micros_per_million_tokens has an unknown field 'image'"),
        (table(row()).replace('"input": 1', '"input": 1, "input": 1'), "the price table is malformed: duplicate field"),
        (table(row(provider="")), "prices[0].provider must be a text"),
        (table(row(model=5)), "prices[0].model must be a text"),
        (table(row(starts_on="20260131")), "prices[0].starts_on must be a day"),
        (table(row(starts_on="2026-02-30")), "prices[0].starts_on must be a day"),
        (table(row(), row()), "prices[1] repeats the price of p m with the same starts_on"),
    ],
)
def test_a_table_with_a_fault_is_refused(text: str, message: str) -> None:
    with pytest.raises(PriceTableError) as caught:
        PriceTable.parse(text)
    assert str(caught.value).startswith(message)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    with pytest.raises(PriceTableError, match=f"cannot read the price table {path}"):
        PriceTable.read(path)
    path.write_text(table(row()))
    assert PriceTable.read(path).price("p", "m").output == 1
