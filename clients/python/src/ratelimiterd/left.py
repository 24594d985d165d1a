"""What is left of a limit."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Left:
    """What was left of a limit after a decision, in its units. Other callers may take it first."""

    capacity: int
    """The most that may be reserved at once."""
    available: int
    """What can be reserved."""
    more_after: float | None
    """The longest time in seconds until more becomes available; ``None`` for a bucket that is refilled by hand."""
