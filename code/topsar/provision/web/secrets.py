"""Keeps secrets out of messages, logs and tracebacks."""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
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
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-%"
_HOLE = "\ue000"


class Masker:
    """Replaces secrets in text: as they are, percent-encoded, escaped, or inside base64.

    Parameters
    ----------
    secrets : iterable of str

    Examples
    --------
    >>> Masker(["hunter/2"]).mask("GET https://me:pw@host/?API_Key=hunter%2F2 failed: hunter/2")
    'GET https://********@host/?API_Key=******** failed: ********'
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._changing = threading.Lock()
        self._secrets = {secret.strip() for secret in secrets} - {""}
        self._plain, self._encoded = _compile(self._secrets)

    def mask(self, text: str) -> str:
        """Replace every secret in a text."""
        if self._secrets:
            before, *after = self._encoded.sub(_HOLE, text).split(_HOLE)
            text = before
            for piece in after:  # what stands around a secret inside base64 goes with it
                text = text.rstrip(_BASE64) + MASK + piece.lstrip(_BASE64 + "=")
            text = self._plain.sub(MASK, text)
        return _ANYONES.sub(lambda match: (match[1] or match[2] or match[3] or "") + MASK, text)

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask these from now on, unless they are too short to tell from other words."""
        with self._changing:
            new = {secret for secret in secrets if len(secret) >= LEARNED} - self._secrets
            if new:
                self._secrets |= new
                self._plain, self._encoded = _compile(self._secrets)


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
    for name, value in headers.items():
        if name.lower() in {"authorization", "cookie"}:
            scheme, _, credentials = value.partition(" ")
            found += [credentials]
            if scheme.lower() == "basic":
                found.append(_read_password(credentials))
    return found


def _read_password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials).decode("utf-8", errors="replace").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _compile(secrets: Iterable[str]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    ordered = sorted(secrets, key=len, reverse=True)
    cores = sorted({core for secret in ordered for core in _encode_cores(secret)})
    return re.compile("|".join(map(_match_plain, ordered))), re.compile("|".join(cores) or "(?!)")


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


def _encode_cores(secret: str) -> Iterator[str]:
    """Yield what base64 makes of the secret alone, at each of the three places where a byte can begin."""
    octets = secret.encode("utf-8", errors="surrogatepass")
    for before in range(3):
        first, last = -(-before * 8 // 6), (before + len(octets)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            core = encode(b"\0" * before + octets).decode()[first:last]
            if len(core) >= SHORT:
                yield re.escape(core).replace(r"\+", "+").replace("+", r"(?:\+|%2[Bb])").replace("/", "(?:/|%2[Ff])")
