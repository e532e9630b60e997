"""Keeps secrets out of messages, logs and tracebacks."""

from __future__ import annotations

import html
import json
import re
import threading
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from topsar.settings import MASK

SHORT = 4
"""Shorter secrets are masked as whole words only: they may be part of many other words."""
LEARNED = 6
"""Shorter words of a request are not learned as secrets."""

_NAMES = r"api[_-]?key|(?:access|refresh|id)?[_-]?token|password|passwd|(?:client[_-]?)?secret|totp"
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
_ANYONES = re.compile(
    r"(?<=://)[^/\s@?#'\"<>]+(?=@)"
    rf"|(?<=[?&;])((?:{_NAMES}|code|state|policy|sig(?:nature)?|x-amz-[a-z-]+|awsaccesskeyid)=)[^&\s'\"<>]+"
    r"|(\bauthorization['\"]?\s*[:=]\s*['\"]?(?:(?:bearer|basic)\s+)?)[^\s'\"]+"
    rf"|((?<=['\"])(?:{_NAMES})\\?['\"]\s*:\s*\\?['\"])[^\s'\"]+",
    re.IGNORECASE,
)


class Masker:
    """Replaces secrets in text: as they are, percent-encoded, or escaped."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._changing = threading.Lock()
        self._secrets = {secret.strip() for secret in secrets} - {""}
        self._pattern = _compile(self._secrets)

    def mask(self, text: str) -> str:
        """Replace every secret in a text."""
        text = self._pattern.sub(MASK, text)
        return _ANYONES.sub(lambda match: (match[1] or match[2] or match[3] or "") + MASK, text)

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask these from now on, unless they are too short to tell from other words."""
        with self._changing:
            new = {secret for secret in secrets if len(secret) >= LEARNED} - self._secrets
            if new:
                self._secrets |= new
                self._pattern = _compile(self._secrets)


def find_secrets(url: str, fields: Mapping[str, object], headers: Mapping[str, str]) -> list[str]:
    """Find what in a request is secret by its place: passwords, keys, credentials.

    Parameters
    ----------
    url : str
    fields : mapping
        Of query and form.
    headers : mapping
    """
    parts = urlsplit(url)
    found = [unquote(parts.password or "")]
    named = [*parse_qsl(parts.query), *((name, str(value)) for name, value in fields.items())]
    found += [value for name, value in named if _SECRET_NAME.fullmatch(name)]
    confidential = [value for name, value in headers.items() if name.lower() in {"authorization", "cookie"}]
    return found + [value.partition(" ")[2] for value in confidential]


def _compile(secrets: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(_match_plain, sorted(secrets, key=len, reverse=True))) or "(?!)")


def _match_plain(secret: str) -> str:
    pattern = "".join(map(_match_character, secret))
    return pattern if len(secret) >= SHORT else rf"(?<![^\W_]){pattern}(?![^\W_])"


def _match_character(character: str) -> str:
    """Match a character as it is, percent-encoded (also twice), or escaped for HTML, JSON or Python."""
    octets = character.encode("utf-8", errors="surrogatepass")
    escaped = {character, html.escape(character), json.dumps(character)[1:-1], ascii(character)[1:-1]}
    escaped |= {repr(octets)[2:-1], {" ": "+", "/": "\\/", "'": "\\'"}.get(character, character)}
    encoded = "".join(rf"%(?:25)*(?i:{octet:02x})" for octet in octets)
    return "(?:" + "|".join([encoded, *map(re.escape, sorted(escaped, key=len, reverse=True))]) + ")"
