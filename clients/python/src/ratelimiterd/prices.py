"""What models charge, from a file."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from os import PathLike
from pathlib import Path
from typing import Any

from .errors import NoPrice, PriceTableError
from .usage import TokenUsage

_PRICE_MAX = 10**15  # a thousand of the currency for one token
_TOKENS_OF_PRICE = 1_000_000
_OF_INPUT = ("cached_input", "cache_write_input")


@dataclass(frozen=True)
class Price:
    """What a model charges, in millionths of a currency per million tokens: 2.50 USD per million are 2,500,000."""

    currency: str
    input: int
    cached_input: int
    cache_write_input: int
    output: int
    reasoning: int

    def cost_micros(self, usage: TokenUsage) -> int:
        """What a call with this usage costs, in millionths of the currency, rounded up."""
        return _rounded_up(
            usage.input * self.input
            + usage.cached_input * self.cached_input
            + usage.cache_write_input * self.cache_write_input
            + usage.output * self.output
            + usage.reasoning * self.reasoning
        )

    def most_micros(self, input_tokens: int, output_tokens: int) -> int:
        """What a call costs at most, whatever is cached and whatever is reasoning."""
        dearest_input = max(self.input, self.cached_input, self.cache_write_input)
        return _rounded_up(input_tokens * dearest_input + output_tokens * max(self.output, self.reasoning))


class PriceTable:
    """The prices of models by provider and model, in one currency.

    The file is JSON. `docs/guides/meter-model-calls.md` describes it.
    """

    def __init__(self, currency: str, prices: Mapping[tuple[str, str], Mapping[date, Price]]) -> None:
        self.currency = currency
        """Three upper-case letters."""
        self._prices = prices

    @classmethod
    def read(cls, path: str | PathLike[str]) -> "PriceTable":
        """Reads and checks a file. Raises `PriceTableError` with the first fault."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PriceTableError(f"cannot read the price table {path}: {error}") from error
        return cls.parse(text)

    @classmethod
    def parse(cls, text: str) -> "PriceTable":
        """Reads and checks a text. Raises `PriceTableError` with the first fault."""
        try:
            table = json.loads(text, object_pairs_hook=_object)
        except ValueError as error:
            raise PriceTableError(f"the price table is malformed: {error}") from error
        _check_fields("the price table", table, {"currency", "prices"}, set())
        currency, rows = table["currency"], table["prices"]
        if not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
            raise PriceTableError(f'currency must be three upper-case letters such as "USD", not {currency!r}')
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise PriceTableError("prices must be a list")
        prices: dict[tuple[str, str], dict[date, Price]] = {}
        for index, row in enumerate(rows):
            model, day, price = _price(f"prices[{index}]", row, currency)
            of_model = prices.setdefault(model, {})
            if day in of_model:
                names = " ".join(model)
                raise PriceTableError(f"prices[{index}] repeats the price of {names} with the same starts_on; keep one")
            of_model[day] = price
        return cls(currency, prices)

    def price(self, provider: str, model: str, at: datetime | None = None) -> Price:
        """The price of a model, now or at a time. Raises `NoPrice` if the table has none then."""
        day = (datetime.now(timezone.utc) if at is None else at.astimezone(timezone.utc)).date()
        of_model = self._prices.get((provider, model), {})
        started = [starts_on for starts_on in of_model if starts_on <= day]
        if not started:
            raise NoPrice(provider, model, day)
        return of_model[max(started)]


def _rounded_up(product: int) -> int:
    return -(-product // _TOKENS_OF_PRICE)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no name appears twice."""
    names = [name for name, _ in pairs]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ValueError(f"duplicate field {repeated!r}")
    return dict(pairs)


def _check_fields(where: str, value: Any, needed: set[str], optional: set[str]) -> None:
    if not isinstance(value, Mapping):
        raise PriceTableError(f"{where} must be an object, not {value!r}")
    for name in sorted(needed - value.keys()):
        raise PriceTableError(f"{where} misses the field {name!r}")
    for name in sorted(value.keys() - needed - optional):
        raise PriceTableError(f"{where} has an unknown field {name!r}")


def _price(where: str, row: Any, currency: str) -> tuple[tuple[str, str], date, Price]:
    """The provider and model of a price, the day on which it starts, and the price."""
    _check_fields(where, row, {"provider", "model", "micros_per_million_tokens"}, {"starts_on"})
    for name in ("provider", "model"):
        if not isinstance(row[name], str) or not row[name]:
            raise PriceTableError(f"{where}.{name} must be a text that is not empty, not {row[name]!r}")
    rates = row["micros_per_million_tokens"]
    within = f"{where}.micros_per_million_tokens"
    _check_fields(within, rates, {"input", "output"}, {*_OF_INPUT, "reasoning"})
    # A field that is null is left out, as everywhere in the service's JSON.
    given = {name: _rate(f"{within}.{name}", rate) for name, rate in rates.items() if rate is not None}
    _check_fields(within, given, {"input", "output"}, {*_OF_INPUT, "reasoning"})
    defaults = {**dict.fromkeys(_OF_INPUT, given["input"]), "reasoning": given["output"]}
    day = _day(f"{where}.starts_on", row.get("starts_on"))
    return (row["provider"], row["model"]), day, Price(currency, **{**defaults, **given})


def _rate(where: str, rate: Any) -> int:
    if not isinstance(rate, int) or isinstance(rate, bool) or not 0 <= rate <= _PRICE_MAX:
        raise PriceTableError(f"{where} must be a whole number from 0 to {_PRICE_MAX}, not {rate!r}")
    return rate


def _day(where: str, text: Any) -> date:
    if text is None:
        return date.min
    # Newer Pythons also read other forms of ISO 8601, which a table in Rust would refuse.
    if isinstance(text, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    raise PriceTableError(f'{where} must be a day such as "2026-01-31", not {text!r}')
