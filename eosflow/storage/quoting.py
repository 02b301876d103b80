"""Text from elsewhere, made fit for a terminal, a log or a record: no secrets, no control codes."""

from __future__ import annotations

import re

# After a scheme, whatever stands before an @ may be a password, with blanks in it too if it stands
# before the first slash; a single slash is what a path makes of two.
_LOGIN = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*:/{1,3})(?:[^/\n]*@|\S*@)")
# What follows the question mark of an address may be a token.
_QUERY = re.compile(
    r"(?i)\b([a-z][a-z0-9+.-]*:/{1,3}[^\s?#]*)[?#][^\s'\")]*|(url: /[^\s?]*)\?[^\s)]*"
)
# Escape codes of a terminal and their like; tabs and line ends stay.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def fit_to_show(text: str) -> str:
    """`text` without the logins and queries of addresses in it, and with control codes escaped.

    >>> fit_to_show("HTTP://user:secret@host/file?token=abc does not answer")
    'HTTP://…@host/file?… does not answer'
    """
    text = _LOGIN.sub(r"\1…@", text)
    text = _QUERY.sub(lambda match: f"{match[1] or match[2]}?…", text)
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)
