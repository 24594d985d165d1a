"""What limits count of a call to a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from .errors import invalid
from .prices import Price
from .usage import TokenUsage


class Measure(Enum):
    """What a limit counts of a call."""

    CALLS = "calls"
    """The call itself: a request, or a slot."""
    TOKENS = "tokens"
    """All tokens."""
    INPUT_TOKENS = "input_tokens"
    """Input tokens, without those that were read from a cache."""
    CACHED_INPUT_TOKENS = "cached_input_tokens"
    """Input tokens that were read from a cache."""
    OUTPUT_TOKENS = "output_tokens"
    """Output tokens, reasoning included."""
    COST = "cost"
    """The cost, in millionths of the currency of the price."""


@dataclass(frozen=True)
class Measures:
    """What each limit of a call counts, by key."""

    by_key: Mapping[str, Measure]
    price: Price | None = None
    """What the model charges. A measure of cost needs it."""

    def __post_init__(self) -> None:
        if self.price is None and Measure.COST in self.by_key.values():
            raise invalid("a limit of the cost needs a price: name a price table")

    def most(self, input_tokens: int, output_tokens: int) -> dict[str, int]:
        """What to reserve before the call, by key.

        Nobody knows yet what the provider has cached, so each limit of input reserves all of it. All but those of all
        tokens reserve at least 1: a limit must be in the lease to be settled with it.
        """
        amounts = {
            Measure.CALLS: 1,
            Measure.TOKENS: input_tokens + output_tokens,
            Measure.INPUT_TOKENS: max(1, input_tokens),
            Measure.CACHED_INPUT_TOKENS: max(1, input_tokens),
            Measure.OUTPUT_TOKENS: max(1, output_tokens),
        }
        if self.price is not None:
            amounts[Measure.COST] = max(1, self.price.most_micros(input_tokens, output_tokens))
        return self._of(amounts)

    def used(self, usage: TokenUsage) -> dict[str, int]:
        """What was used, by key, without what is known from the start."""
        amounts = {
            Measure.TOKENS: usage.total,
            Measure.INPUT_TOKENS: usage.input + usage.cache_write_input,
            Measure.CACHED_INPUT_TOKENS: usage.cached_input,
            Measure.OUTPUT_TOKENS: usage.output + usage.reasoning,
        }
        if self.price is not None:
            amounts[Measure.COST] = self.price.cost_micros(usage)
        return self._of(amounts)

    def of_output(self, tokens: int) -> dict[str, int]:
        """What more output takes, by key."""
        amounts = {Measure.TOKENS: tokens, Measure.OUTPUT_TOKENS: tokens}
        if self.price is not None and self.price.most_micros(0, tokens) > 0:
            amounts[Measure.COST] = self.price.most_micros(0, tokens)
        return self._of(amounts)

    def keys_of(self, measure: Measure) -> tuple[str, ...]:
        """The limits with this measure."""
        return tuple(key for key, each in self.by_key.items() if each is measure)

    def _of(self, amounts: Mapping[Measure, int]) -> dict[str, int]:
        return {key: amounts[measure] for key, measure in self.by_key.items() if measure in amounts}
