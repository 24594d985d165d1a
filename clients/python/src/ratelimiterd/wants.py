"""What a call wants from its limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from .errors import invalid
from .measures import Measures
from .usage import TokenUsage

AMOUNT_MAX = 2**63 - 1
_LIMITS_MAX = 32


@dataclass(frozen=True)
class Wants:
    """Amounts of 1 to 32 limits, and which of these limits count tokens."""

    amounts: Mapping[str, int]
    token_keys: tuple[str, ...] = ()
    measures: Measures | None = None
    """What each limit counts, for calls with token types or money."""

    def of_tokens(self, tokens: int) -> Mapping[str, int]:
        """What so many tokens are of each limit. Only of none it is known what they cost."""
        if tokens == 0 and self.measures is not None:
            return self.measures.used(TokenUsage())
        return dict.fromkeys(self._token_keys(), tokens)

    def of_usage(self, usage: TokenUsage) -> Mapping[str, int]:
        """What a usage is of each limit."""
        if self.measures is not None:
            return self.measures.used(usage)
        return dict.fromkeys(self._token_keys(), usage.total)

    def of_output(self, tokens: int) -> Mapping[str, int]:
        """What so many more tokens of output are of each limit."""
        if self.measures is not None:
            return self.measures.of_output(tokens)
        return dict.fromkeys(self._token_keys(), tokens)

    def _token_keys(self) -> tuple[str, ...]:
        if not self.token_keys:
            raise invalid("the lease knows no limits of tokens; name the keys")
        return self.token_keys


class Call(Protocol):
    """Whatever knows the limits of a call for a tenant."""

    def wants(self, tenant: str | None) -> Wants:
        """What the call wants."""
        ...


def wants_of(call: Mapping[str, int] | Call, tenant: str | None) -> Wants:
    """Reads and checks what a caller asks for. The service checks the keys."""
    if not isinstance(call, Mapping):
        wants = call.wants(tenant)
    elif tenant is not None:
        raise invalid("tenant is for calls such as openai(...); name the tenant's limits among the amounts")
    else:
        wants = Wants(dict(call))
    if not 1 <= len(wants.amounts) <= _LIMITS_MAX:
        raise invalid(f"a call wants something from 1 to {_LIMITS_MAX} limits, not {len(wants.amounts)}")
    for key, amount in wants.amounts.items():
        check_amount(key, amount, 1)
    return wants


def check_amount(key: str, amount: int, least: int) -> None:
    """Refuses amounts that the service would refuse."""
    if not isinstance(amount, int) or not least <= amount <= AMOUNT_MAX:
        raise invalid(f"the amount of {key} must be a whole number from {least} to {AMOUNT_MAX}, not {amount!r}")
