"""Calls to language models, and the limits that they take from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import invalid
from .estimate import Estimate, Prompt, bytes_estimate
from .keys import escape_segment
from .measures import Measure, Measures
from .prices import Price, PriceTable
from .wants import Wants


@dataclass(frozen=True)
class LlmLimits:
    """What a call takes from beside the limits of requests, slots and all tokens."""

    token_types: bool = False
    """Whether it takes its tokens by type: from ``input_tpm``, ``cached_input_tpm`` and ``output_tpm`` of the model."""
    prices: PriceTable | None = None
    """With it, the call takes its cost in millionths from ``tenant:TENANT:llm:cost:usd``, if the prices are in USD."""
    more: Mapping[str, Measure] = field(default_factory=dict)
    """Limits of your own, by key. A call without a tenant takes its cost from these alone."""

    def __post_init__(self) -> None:
        if self.prices is None and Measure.COST in self.more.values():
            raise invalid("a limit of the cost needs a price table: set prices")

    def check_tenant(self, tenant: str | None) -> None:
        """Refuses a call whose cost no limit would count."""
        if self.prices is not None and tenant is None and Measure.COST not in self.more.values():
            raise invalid(
                "the cost is taken from the budget of a tenant: name a tenant, or a limit of the cost in more"
            )


@dataclass(frozen=True)
class LlmCall:
    """A call to a model of a provider.

    It takes

    - 1 request from ``global:llm:PROVIDER:MODEL:rpm``;
    - the most tokens that it can use from ``global:llm:PROVIDER:MODEL:tpm``;
    - 1 slot of ``global:llm:PROVIDER:MODEL:concurrency``;
    - with a tenant, the same tokens from ``tenant:TENANT:llm:daily_tokens``;
    - what `limits` says.

    Each name becomes one segment of the keys, spelled by `escape_segment`.
    """

    provider: str
    model: str
    input_tokens_max: int
    """The most tokens that the prompt can have."""
    output_tokens_max: int
    """The longest output in tokens, reasoning included."""
    limits: LlmLimits = field(default_factory=LlmLimits)
    price: Price | None = None
    """What the model charges. The call is estimated and settled with this price, whatever the table says later."""

    def __post_init__(self) -> None:
        if (self.price is None) != (self.limits.prices is None):
            raise invalid("a call has a price if its limits have a price table; llm_call looks it up")

    @property
    def tokens_max(self) -> int:
        """The most tokens that the call can use: prompt and output."""
        return self.input_tokens_max + self.output_tokens_max

    def wants(self, tenant: str | None) -> Wants:
        """What the call wants from the limits of its model and of a tenant."""
        self.limits.check_tenant(tenant)
        measures = Measures(self._measures(tenant), self.price)
        amounts = measures.most(self.input_tokens_max, self.output_tokens_max)
        return Wants(amounts, measures.keys_of(Measure.TOKENS), measures)

    def _measures(self, tenant: str | None) -> dict[str, Measure]:
        prefix = f"global:llm:{escape_segment(self.provider)}:{escape_segment(self.model)}"
        of_model = {"rpm": Measure.CALLS, "concurrency": Measure.CALLS, "tpm": Measure.TOKENS}
        if self.limits.token_types:
            of_model["input_tpm"] = Measure.INPUT_TOKENS
            of_model["cached_input_tpm"] = Measure.CACHED_INPUT_TOKENS
            of_model["output_tpm"] = Measure.OUTPUT_TOKENS
        measures = {f"{prefix}:{limit}": measure for limit, measure in of_model.items()}
        if tenant is not None:
            of_tenant = f"tenant:{escape_segment(tenant)}:llm"
            measures[f"{of_tenant}:daily_tokens"] = Measure.TOKENS
            if self.price is not None:
                measures[f"{of_tenant}:cost:{self.price.currency.lower()}"] = Measure.COST
        return {**measures, **self.limits.more}


def openai(
    model: str,
    prompt: Prompt,
    *,
    max_tokens: int,
    estimate: Estimate = bytes_estimate,
    limits: LlmLimits | None = None,
) -> LlmCall:
    """A call to OpenAI. `prompt` is the text or the messages, `max_tokens` the longest output."""
    return llm_call("openai", model, prompt, max_tokens=max_tokens, estimate=estimate, limits=limits)


def anthropic(
    model: str,
    prompt: Prompt,
    *,
    max_tokens: int,
    estimate: Estimate = bytes_estimate,
    limits: LlmLimits | None = None,
) -> LlmCall:
    """A call to Anthropic. `prompt` is the text or the messages, `max_tokens` the longest output."""
    return llm_call("anthropic", model, prompt, max_tokens=max_tokens, estimate=estimate, limits=limits)


def llm_call(
    provider: str,
    model: str,
    prompt: Prompt,
    *,
    max_tokens: int,
    estimate: Estimate = bytes_estimate,
    limits: LlmLimits | None = None,
) -> LlmCall:
    """A call to any provider, which the limits and the price table name as `provider`.

    Raises `NoPrice` if `limits` has a price table without the model.
    """
    if max_tokens < 0:
        raise invalid(f"max_tokens must be at least 0, not {max_tokens}")
    limits = limits or LlmLimits()
    price = None if limits.prices is None else limits.prices.price(provider, model)
    return LlmCall(provider, model, estimate(prompt), max_tokens, limits, price)
