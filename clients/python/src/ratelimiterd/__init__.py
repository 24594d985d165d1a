"""The client of ratelimiterd, a distributed rate and quota limiter.

>>> from ratelimiterd import Limiter, openai
>>> with Limiter("http://127.0.0.1:8080") as limiter:  # doctest: +SKIP
...     with limiter.acquire(openai("gpt-4o", prompt, max_tokens=500), tenant="acme") as lease:
...         answer = ask(prompt)
...         lease.used(tokens=answer.usage.total_tokens)
"""

from .aio import AsyncLimiter
from .batch import BatchOptions
from .client import Limiter
from .errors import (
    CallRefused,
    Denied,
    Forbidden,
    InvalidRequest,
    LeaseConflict,
    LeaseExpired,
    LeaseSettled,
    LimiterClosed,
    NoPrice,
    OutcomeUnknown,
    PriceTableError,
    RatelimiterdError,
    Unauthorized,
)
from .estimate import bytes_estimate, tiktoken_estimate
from .flow import RepeatPolicy
from .http import Options
from .keys import escape_segment
from .lease import AsyncLease, Lease
from .left import Left
from .llm import LlmCall, LlmLimits, anthropic, llm_call, openai
from .measures import Measure, Measures
from .prices import Price, PriceTable
from .protocol import Usage
from .usage import TokenUsage
from .wants import Call, Wants

__version__ = "0.1.0"

__all__ = [
    "AsyncLease",
    "AsyncLimiter",
    "BatchOptions",
    "Call",
    "CallRefused",
    "Denied",
    "Forbidden",
    "InvalidRequest",
    "Lease",
    "LeaseConflict",
    "LeaseExpired",
    "LeaseSettled",
    "Left",
    "Limiter",
    "LimiterClosed",
    "LlmCall",
    "LlmLimits",
    "Measure",
    "Measures",
    "NoPrice",
    "Options",
    "OutcomeUnknown",
    "Price",
    "PriceTable",
    "PriceTableError",
    "RatelimiterdError",
    "RepeatPolicy",
    "TokenUsage",
    "Unauthorized",
    "Usage",
    "Wants",
    "anthropic",
    "bytes_estimate",
    "escape_segment",
    "llm_call",
    "openai",
    "tiktoken_estimate",
]
