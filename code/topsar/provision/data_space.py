"""Orbit files of the Copernicus Data Space."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topsar.errors import ProvisionError
from topsar.provision.orbit_bucket import MOST_PAGES, Offer, beginning, download_offer, file_named

if TYPE_CHECKING:
    from topsar.model import OrbitSource
    from topsar.provision.endpoints import Services
    from topsar.provision.orbit_bucket import Pass
    from topsar.provision.web.client import Answer, Fetcher

log = logging.getLogger(__name__)

_CLIENT = "cdse-public"
_TOP = 100
_EARLY_S = 60.0
_MD5 = re.compile(r"[0-9a-f]{32}")
_ID = re.compile(r"[0-9A-Za-z-]{8,64}")


class DataSpace:
    """The Copernicus Data Space: anyone may search, downloads need an account.

    Its accounts have few sessions, so one is opened for all downloads, and `close` ends it.
    """

    name = "Copernicus Data Space"

    def __init__(self, fetcher: Fetcher, services: Services, folder: Path, account: tuple[str, str] | None) -> None:
        self._fetcher, self._services, self._folder, self._account = fetcher, services, folder, account
        self._lock = threading.Lock()
        self._token: _Token | None = None
        self._refusal: ProvisionError | None = None

    def find(self, flown: Pass, kind: OrbitSource) -> list[Offer]:
        """Files of the kind that hold the pass."""
        found: dict[str, Offer] = {}
        for page in self._pages(flown, kind):
            found |= {offer.name: offer for item in page if (offer := self._offer(item))}
        return list(found.values())

    def fetch(self, offer: Offer, flown: Pass) -> Path:
        """Download with a token; one that has run out is replaced once."""
        if self._account is None:
            msg = f"it has {offer.name}, but CDSE_USERNAME and CDSE_PASSWORD are not set"
            raise ProvisionError(msg, hint="register at dataspace.copernicus.eu and set both")
        token = self._valid(None)
        try:
            return self._fetch(offer, flown, token)
        except _TokenRefused:
            return self._fetch(offer, flown, self._valid(token))

    def close(self) -> None:
        """End the session at the identity service, if one was opened."""
        with self._lock:
            if self._token is not None:
                self._end(self._token)
            self._token = None

    def _pages(self, flown: Pass, kind: OrbitSource) -> Iterator[list[Mapping[str, Any]]]:
        seen: set[str] = set()
        for number in range(MOST_PAGES):
            document = self._search(flown, kind, skip=number * _TOP)
            items = document["value"]
            names = {str(item.get("Name")) for item in items}
            if items and names <= seen:
                msg = "its search gives the same page again and again"
                raise ProvisionError(msg, hint="try again later")
            seen |= names
            yield items
            if "@odata.nextLink" not in document or not items:
                return

    def _search(self, flown: Pass, kind: OrbitSource, *, skip: int) -> dict[str, Any]:
        wanted = (
            f"startswith(Name,'{flown.mission}') and contains(Name,'AUX_{kind.value}')"
            f" and ContentDate/Start lt '{flown.start:%Y-%m-%dT%H:%M:%S.%fZ}'"
            f" and ContentDate/End gt '{flown.stop:%Y-%m-%dT%H:%M:%S.%fZ}'"
        )
        params: dict[str, Any] = {"$filter": wanted, "$orderby": "ContentDate/Start asc", "$top": _TOP}
        answer = self._fetcher.ask(
            f"{self._services.cdse_catalogue}/Products",
            what=f"the search for {kind.value}",
            params=params | ({"$skip": skip} if skip else {}),
        )
        document = _json(answer)
        if (
            document is None
            or not isinstance(document.get("value"), list)
            or not all(isinstance(i, dict) for i in document["value"])
        ):
            msg = f"its search answered with something else than a list of products: {beginning(answer, self._fetcher)}"
            raise ProvisionError(msg, hint="try again later")
        return document

    def _offer(self, item: Mapping[str, Any]) -> Offer | None:
        name, number, size = str(item.get("Name")), str(item.get("Id")), item.get("ContentLength")
        file = file_named(name, self._folder)
        if file is None or not _ID.fullmatch(number) or item.get("Online") is False:
            return None
        sums = item.get("Checksum")
        md5 = {
            str(one.get("Algorithm")).upper(): str(one.get("Value")).lower()
            for one in (sums if isinstance(sums, list) else ())
            if isinstance(one, dict)
        }.get("MD5", "")
        return Offer(
            file=file,
            url=f"{self._services.cdse_download}/Products({number})/$value",
            size=size if isinstance(size, int) and size > 0 else None,
            md5=md5 if _MD5.fullmatch(md5) else None,
        )

    def _fetch(self, offer: Offer, flown: Pass, token: _Token) -> Path:
        headers = {"Authorization": f"Bearer {token.access}"}
        return download_offer(self._fetcher, offer, flown, headers=headers, explain=_explain)

    def _valid(self, refused: _Token | None) -> _Token:
        """A token that is not about to run out and is not the one that was refused."""
        with self._lock:
            held = self._token
            if held is not None and held is not refused and held.until > time.monotonic():
                return held
            if self._refusal is not None:
                raise self._refusal
            self._token = None
            if held is not None:
                self._end(held)
            try:
                self._token = self._log_in()
            except ProvisionError as exc:
                self._refusal = exc  # a wrong password sent again and again locks an account
                raise
            return self._token

    def _log_in(self) -> _Token:
        user, password = self._account or ("", "")
        form = {"client_id": _CLIENT, "grant_type": "password", "username": user, "password": password}
        answer = self._fetcher.ask(
            f"{self._services.cdse_identity}/token", what="a download token", form=form, accept=(200, 400, 401, 403)
        )
        if answer.status != 200:
            msg = "it refuses CDSE_USERNAME and CDSE_PASSWORD"
            raise ProvisionError(msg, hint="check both by logging in at dataspace.copernicus.eu")
        document = _json(answer) or {}  # what is none is not quoted: it may hold a token all the same
        access, seconds = document.get("access_token"), document.get("expires_in")
        if not isinstance(access, str) or not access:
            msg = "its identity service answered without a token"
            raise ProvisionError(msg, hint="try again later")
        refresh = str(document.get("refresh_token") or "")
        self._fetcher.learn(access, refresh)
        life = float(seconds) if isinstance(seconds, int | float) else 600.0
        return _Token(
            access=access,
            refresh=refresh,
            until=time.monotonic() + max(life - _EARLY_S, life / 2),
        )

    def _end(self, token: _Token) -> None:
        if not token.refresh:
            return
        form = {"client_id": _CLIENT, "refresh_token": token.refresh}
        url = f"{self._services.cdse_identity}/logout"
        try:
            self._fetcher.ask(url, what="the end of the session", form=form, accept=(200, 204, 400))
        except ProvisionError as exc:
            log.debug("%s: the session was not ended: %s", self.name, exc.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    access: str = field(repr=False)
    refresh: str = field(repr=False)
    until: float


class _TokenRefused(ProvisionError):
    """The download service does not take the token, perhaps because it has run out."""


def _explain(answer: Answer) -> Exception | None:
    if answer.status == 401:
        return _TokenRefused("it refuses the token it gave", hint="try again later", retryable=True)
    if answer.status == 403:
        return ProvisionError("it refuses the download", hint="is this month's transfer quota used up?")
    return None


def _json(answer: Answer) -> dict[str, Any] | None:
    """The JSON object that an answer is, if it is one."""
    try:
        document = json.loads(answer.body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
