"""Earthdata Login: which account is used, and what a refusal means."""

from __future__ import annotations

import base64
import json
import logging
import re
from dataclasses import dataclass, field
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from topsar.errors import ProvisionError

if TYPE_CHECKING:
    from topsar.provision.endpoints import Services
    from topsar.provision.web.client import Web
    from topsar.provision.web.failures import Answer

log = logging.getLogger(__name__)

HOST = "urs.earthdata.nasa.gov"
"""The machine of an account in ``~/.netrc``."""
CLIENT = "BO_n7nTIlMljdvU6kRRB3g"
"""The archive, as Earthdata Login knows it."""

_REGISTER = f"an account is free: https://{HOST}/users/new"
_NETRC_LINE = f"machine {HOST} login NAME password PASSWORD"
HOW_TO_LOG_IN = (
    f"{_REGISTER}; then write one line to ~/.netrc, '{_NETRC_LINE}', and run chmod 600 ~/.netrc, "
    "or set EARTHDATA_USERNAME and EARTHDATA_PASSWORD, or EARTHDATA_TOKEN"
)
_LICENCE = (
    "log in once at https://search.asf.alaska.edu: it asks for the licence (EULA) and for your study area; both must "
    f"stand in your profile at https://{HOST}/profile, as must the application 'Alaska Satellite Facility Data Access'"
)
_NEW_TOKEN = (
    f"tokens last 60 days: generate another one at https://{HOST} (Generate Token) and set EARTHDATA_TOKEN to it, or "
    "empty EARTHDATA_TOKEN and use a password"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An account; ``origin`` says where it was found. Name, password and token are shown nowhere."""

    origin: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear anywhere."""
        return tuple(filter(None, (self.password, self.token)))


def find_credentials(
    *, username: str = "", password: str = "", token: str = "", netrc_file: Path | None = None
) -> Credentials | None:
    """Find the account that the settings name, else the one in ``~/.netrc``.

    Parameters
    ----------
    username, password, token : str
        ``EARTHDATA_USERNAME``, ``EARTHDATA_PASSWORD`` and ``EARTHDATA_TOKEN``.
    netrc_file : Path, optional
        Instead of ``~/.netrc``.
    """
    if bool(username) != bool(password):
        absent, present = ("PASSWORD", "USERNAME") if username else ("USERNAME", "PASSWORD")
        msg = f"EARTHDATA_{present} is set and EARTHDATA_{absent} is not"
        raise ProvisionError(msg, hint="set both, or neither and use ~/.netrc or EARTHDATA_TOKEN")
    if token or username:
        names = ["EARTHDATA_TOKEN"] * bool(token) + ["EARTHDATA_USERNAME and EARTHDATA_PASSWORD"] * bool(username)
        return Credentials(origin=" or ".join(names), username=username, password=password, token=token)
    return _read_netrc(netrc_file or Path.home() / ".netrc")


def _read_netrc(path: Path) -> Credentials | None:
    if not path.is_file():
        return None
    expected = f"expected lines such as '{_NETRC_LINE}'"
    try:
        mode = path.stat().st_mode & 0o777
        found = netrc(path).hosts.get(HOST)
    except (NetrcParseError, UnicodeDecodeError) as exc:  # its message may quote the file
        what = f", line {exc.lineno}: not understood" if isinstance(exc, NetrcParseError) else " is not UTF-8 text"
        msg = f"{path}{what}"
        raise ProvisionError(msg, hint=expected) from None
    except OSError as exc:
        msg = f"{path} cannot be read: {exc.strerror}"
        raise ProvisionError(msg, hint=f"run chmod 600 {path}") from exc
    if found is None:
        return None
    if mode & 0o077:
        log.warning("%s holds passwords and others can read it (mode %03o): run chmod 600 %s", path, mode, path)
    username, _, password = found
    if not username or not password:
        msg = f"{path}: the entry for {HOST} has no {'password' if username else 'login'}"
        raise ProvisionError(msg, hint=expected)
    return Credentials(origin=str(path), username=username, password=password)


def log_in(credentials: Credentials | None, web: Web) -> str:
    """Get a token that Earthdata Login has just called valid.

    The user's own token is checked; for name and password one is fetched. Name and password are sent to Earthdata
    Login alone.

    Parameters
    ----------
    credentials : Credentials or None
    web : Web
    """
    if credentials is None:
        msg = "downloading scenes needs a NASA Earthdata login, and none is configured"
        raise ProvisionError(msg, hint=HOW_TO_LOG_IN)
    if credentials.token:
        refusal = _check_token(credentials.token, web)
        if refusal is None:
            return credentials.token
        if not credentials.password:
            raise refusal
        log.warning("%s; name and password are used", refusal.message)
    return _fetch_token(credentials, web)


def _check_token(token: str, web: Web) -> ProvisionError | None:
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        return ProvisionError("EARTHDATA_TOKEN holds characters that no token has", hint=_NEW_TOKEN)
    answer = web.fetcher.ask(
        f"{web.services.earthdata}/oauth/tokens/user",
        what="whether the Earthdata token is valid",
        params={"client_id": CLIENT},
        form={"token": token},
        accept=(200, 400, 401, 403),
    )
    if answer.status == 200:
        return None
    return ProvisionError(
        "Earthdata Login does not accept EARTHDATA_TOKEN: it has expired or was revoked", hint=_NEW_TOKEN
    )


def _fetch_token(credentials: Credentials, web: Web) -> str:
    both = f"{credentials.username}:{credentials.password}".encode()
    answer = web.fetcher.ask(
        f"{web.services.earthdata}/api/users/find_or_create_token",
        what="a token of Earthdata Login",
        form={},
        headers={"Authorization": "Basic " + base64.b64encode(both).decode()},
        accept=(200, 401, 403),
    )
    if answer.status != 200:
        msg = f"Earthdata Login does not know this name with this password (from {credentials.origin})"
        hint = f"try them at https://{HOST}; a forgotten password is reset there, and {_REGISTER}"
        raise ProvisionError(msg, hint=hint)
    try:
        token = json.loads(answer.body)["access_token"]
    except (ValueError, KeyError, TypeError):
        token = None
    if not isinstance(token, str) or not token:
        msg = f"{web.services.earthdata} answered the login without a token"
        hint = "try again later; behind a captive portal, log in to the network first"
        raise ProvisionError(msg, hint=hint, retryable=True)
    return token


def list_trusted_hosts(url: str, services: Services) -> tuple[str, ...]:
    """List the hosts that a token is sent to besides that of a scene.

    Parameters
    ----------
    url : str
        Of the scene: ``datapool`` redirects to another host of the archive.
    services : Services
    """
    login = urlsplit(services.earthdata).netloc
    archive = ("sentinel1.asf.alaska.edu",) if urlsplit(url).hostname == "datapool.asf.alaska.edu" else ()
    return (login, *archive)


def explain_refusal(answer: Answer) -> ProvisionError | None:
    """Explain why the archive refuses a valid token; None where the answer is not a refusal."""
    if answer.status not in {401, 403}:
        return None
    if re.search(r"expired|invalid.{0,8}token|token.{0,20}(invalid|revoked)", answer.text, re.IGNORECASE):
        msg = "the archive says that the Earthdata token has expired"
        return ProvisionError(msg, hint="start again: a new token is fetched; if you set EARTHDATA_TOKEN, renew it")
    told = re.search(r"EULA|licen[cs]e|study.?area", answer.text, re.IGNORECASE)
    likely = "" if told else ", most likely because"
    msg = f"the archive knows you and refuses the scene{likely or ':'} its licence (EULA) is not accepted"
    return ProvisionError(msg, hint=_LICENCE)
