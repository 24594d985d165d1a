"""Fresh ids of leases and extensions."""

import os
import time

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32
_LENGTH = 26
_RANDOM_BYTES = 10


def new_ulid() -> str:
    """Returns a new ULID: 48 bits of milliseconds since the Unix epoch, and 80 random bits."""
    number = time.time_ns() // 1_000_000
    number = (number << (8 * _RANDOM_BYTES)) | int.from_bytes(os.urandom(_RANDOM_BYTES), "big")
    return "".join(_DIGITS[(number >> (5 * index)) & 31] for index in reversed(range(_LENGTH)))
