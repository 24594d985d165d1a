"""The spelling of limit keys."""

import string
from urllib.parse import quote

_PLAIN = frozenset(string.ascii_letters + string.digits + "._/@+=-")


def escape_segment(value: str) -> str:
    """Spells any text as one segment of a limit key.

    Letters, digits and ``. _ / @ + = -`` stay. Each other byte becomes ``%`` and two upper-case hexadecimal digits,
    also that of a ``:``, which would otherwise end the segment. A key must begin with a letter or a digit, so put some
    text of your own in front of the first value.

    >>> escape_segment("2001:db8::1")
    '2001%3Adb8%3A%3A1'
    """
    return "".join(chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}" for byte in value.encode())


def in_path(key: str) -> str:
    """Spells a key in the path of a request. The service decodes ``%XX`` once, so the key's own escapes are escaped."""
    return quote(key, safe="/:@+=")
