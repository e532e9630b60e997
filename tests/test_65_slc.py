"""Scenes from the archive: found, logged in, downloaded, checked; over real sockets."""

from __future__ import annotations

import base64
import logging
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs

import pytest

from dry_data import dry_data, dry_recipe
from services.earthdata import Account, ArchivedScene, archive, archived, catalogue, login, store
from services.loopback import Asked, Handler, Loopback, Reply
from topsar.errors import ProvisionError, TopsarError
from topsar.model import BBox, Direction
from topsar.pairs.listing import PairLine
from topsar.provision.earthdata import CLIENT, Credentials, explain_refusal, find_credentials, list_trusted_hosts
from topsar.provision.endpoints import Services
from topsar.provision.scene_download import _require_safe, download_scenes
from topsar.provision.scene_search import Search, find_granules, search_granules
from topsar.provision.scenes import find_missing_scenes, find_pairs
from topsar.provision.web.client import Fetcher, Patience, Web
from topsar.provision.web.session import Answer
from topsar.simulate.recipe import SwathCut

PASSWORD, TOKEN = "pass:w0rd-of-jane", "edl-token-of-jane"
JANE = Account(name="jane", password=PASSWORD, token=TOKEN)
BY_PASSWORD = Credentials(origin="test", username="jane", password=PASSWORD)
BY_TOKEN = Credentials(origin="test", token=TOKEN)
UNKNOWN = "S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[ArchivedScene, ...]:
    """Two products in the archive, zipped so that they are small."""
    folder = tmp_path_factory.mktemp("archive")
    cut = SwathCut(swath="IW2", first_sample=500, samples=300)
    data = dry_data(folder / "data", dry_recipe(cuts=(cut,), bursts=2))
    found = []
    for (safe,) in data.scenes:
        path = folder / f"{safe.stem}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for member in sorted(safe.rglob("*")):
                file.write(member, str(member.relative_to(safe.parent)))
        found.append(archived(path))
    return tuple(found)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topsar.provision.scene_search.BACKOFF_S", 0.01)


class Host:
    """A server whose handlers change from test to test: starting one takes longer than most tests."""

    def __init__(self) -> None:
        self.handlers: tuple[Handler, ...] = ()
        self.server = Loopback(self.answer)

    def answer(self, asked: Asked) -> Reply | None:
        replies = (handler(asked) for handler in self.handlers)
        return next((reply for reply in replies if reply is not None), None)


HOSTS: list[Host] = []
"""Catalogue, login, archive, store."""


@pytest.fixture(scope="module", autouse=True)
def hosts() -> Iterator[None]:
    with ExitStack() as stack:
        HOSTS[:] = [Host() for _ in range(4)]
        for host in HOSTS:
            stack.enter_context(host.server)
        yield


@dataclass
class World:
    scenes: Sequence[ArchivedScene]
    services: Services
    catalogue: Loopback
    login: Loopback
    archive: Loopback
    store: Loopback

    @property
    def lines(self) -> tuple[PairLine, ...]:
        return (PairLine(line=1, reference=(self.scenes[0].name,), secondary=(self.scenes[1].name,)),)

    def ranges(self) -> list[str]:
        return [asked.headers.get("range", "") for asked in self.store.asked]


@contextmanager
def world(
    scenes: Sequence[ArchivedScene],
    account: Account = JANE,
    *,
    told: Sequence[ArchivedScene] | None = None,
    takes_tokens: bool = True,
    before: Callable[[Asked], Reply | None] = lambda _: None,
    store_before: Callable[[Handler], Handler] = lambda handler: handler,
) -> Iterator[World]:
    """Four hosts; ``told`` is what the catalogue says where that differs, ``before`` answers before the archive."""
    catalogue_host, login_host, archive_host, store_host = HOSTS
    for host in HOSTS:
        host.server.asked, host.server.most_at_once = [], 0
    store_host.handlers = (store_before(store(scenes)),)
    login_host.handlers = (login([account]),)
    front = archive(
        scenes,
        [account],
        login_url=login_host.server.url,
        store_url=store_host.server.url,
        takes_tokens=takes_tokens,
    )
    archive_host.handlers = (before, front)
    catalogue_host.handlers = (catalogue(told or scenes, archive_host.server.url),)
    yield World(
        scenes=scenes,
        services=Services(asf_search=catalogue_host.server.url, earthdata=login_host.server.url),
        catalogue=catalogue_host.server,
        login=login_host.server,
        archive=archive_host.server,
        store=store_host.server,
    )


@dataclass(frozen=True)
class Supply:
    """What a call downloaded, and what it said of the rest."""

    downloaded: tuple[Path, ...]
    problems: dict[str, TopsarError]


def provide(
    here: World,
    folder: Path,
    credentials: Credentials | None = BY_PASSWORD,
    *,
    lines: Sequence[PairLine] | None = None,
    attempts: int = 3,
    reserve: int = 0,
) -> Supply:
    lines = lines or here.lines
    names = dict.fromkeys(name for line in lines for name in (*line.reference, *line.secondary))
    before = stamps(folder)
    fetcher = Fetcher(
        secrets=credentials.secrets if credentials else (),
        patience=Patience(attempts=attempts, backoff_s=0.01, read_s=5.0),
    )
    problems = download_scenes(
        lines,
        folder,
        Web(fetcher, here.services),
        credentials=credentials,
        disk_reserve_bytes=reserve,
    )
    changed = stamps(folder) - before
    return Supply(tuple(folder / f"{name}.zip" for name in names if name in {name for name, _ in changed}), problems)


def stamps(folder: Path) -> set[tuple[str, int]]:
    return {(path.stem, path.stat().st_mtime_ns) for path in folder.glob("*.zip")}


def refused(here: World, folder: Path, credentials: Credentials | None = BY_PASSWORD) -> ProvisionError:
    with pytest.raises(ProvisionError) as caught:
        provide(here, folder, credentials)
    assert not list(folder.glob("*.zip"))
    return caught.value


def problem_of(supply: Supply, scene: ArchivedScene) -> TopsarError:
    (name,) = supply.problems
    assert name == scene.name
    return supply.problems[name]


def secrets_seen(asked: Sequence[Asked]) -> str:
    return " ".join(asked_one.headers.get("authorization", "") for asked_one in asked).strip()


# --- the whole way ----------------------------------------------------------------------------------------------


def test_the_whole_way(scenes: tuple[ArchivedScene, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    raw = tmp_path / "raw"
    with world(scenes) as here:
        supply = provide(here, raw)
        assert find_missing_scenes(here.lines, raw) == ()
        (listed,) = find_pairs(here.lines, raw, supply.problems)
    assert supply.problems == {}
    assert {path.name for path in raw.iterdir() if path.suffix == ".zip"} == {f"{one.name}.zip" for one in scenes}
    assert [path.read_bytes() for path in supply.downloaded] == [one.path.read_bytes() for one in scenes if one.path]
    assert listed.pair is not None
    assert listed.pair.reference[0].name == scenes[0].name
    # who saw what
    assert secrets_seen(here.catalogue.asked) == ""
    assert secrets_seen(here.store.asked) == ""
    assert here.store.asked
    assert secrets_seen(here.login.asked).startswith("Basic ")
    assert {asked.headers["authorization"] for asked in here.archive.asked} == {f"Bearer {TOKEN}"}
    nowhere(tmp_path, caplog.text)


def nowhere(folder: Path, text: str) -> None:
    """No secret in any text or file."""
    basic = base64.b64encode(f"jane:{PASSWORD}".encode()).decode()
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for secret in (PASSWORD, TOKEN, basic):
        assert secret not in text
        assert secret.encode() not in written


def test_the_way_of_browsers(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    """An archive that sends everybody to log in first, and knows them by cookie afterwards."""
    with world(scenes, takes_tokens=False) as here:
        supply = provide(here, tmp_path)
    assert len(supply.downloaded) == 2
    assert supply.problems == {}
    (first, *_) = [asked for asked in here.login.asked if asked.path == "/oauth/authorize"]
    assert first.query["client_id"] == CLIENT
    assert first.headers["authorization"] == f"Bearer {TOKEN}"
    assert any("asf-urs" in asked.headers.get("cookie", "") for asked in here.archive.asked)
    assert secrets_seen(here.store.asked) == ""


def test_a_token_of_ones_own(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    with world(scenes) as here:
        assert len(provide(here, tmp_path, BY_TOKEN).downloaded) == 2
    (question,) = here.login.asked
    assert (question.path, question.query) == ("/oauth/tokens/user", {"client_id": CLIENT})
    assert "authorization" not in question.headers


def test_a_zip_of_several_scenes_is_left_alone(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    own = tmp_path / f"{scenes[0].name}.zip"
    with zipfile.ZipFile(own, "w") as file:
        file.writestr("a.SAFE/manifest.safe", "")
        file.writestr("b.SAFE/manifest.safe", "")
    lines = (PairLine(line=1, reference=(scenes[0].name,), secondary=(scenes[0].name,)),)
    assert find_missing_scenes(lines, tmp_path) == ()


def test_two_at_once(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    four = [replace(scenes[0], name=scenes[0].name[:-4] + f"000{n}") for n in range(4)]
    lines = [PairLine(line=n, reference=(four[n].name,), secondary=(four[n + 1].name,)) for n in (0, 2)]
    with world(four, store_before=lambda handler: lambda asked: time.sleep(0.1) or handler(asked)) as here:
        supply = provide(here, tmp_path, lines=lines, attempts=1)
    assert here.store.most_at_once == 2
    assert set(supply.problems) == {one.name for one in four}  # the zips hold a scene of another name


# --- refusals ---------------------------------------------------------------------------------------------------


def test_no_account(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    with world(scenes) as here:
        problem = refused(here, tmp_path, None)
    assert "needs a NASA Earthdata login" in problem.message
    for remedy in (
        "https://urs.earthdata.nasa.gov/users/new",
        "machine urs.earthdata.nasa.gov login NAME password PASSWORD",
        "chmod 600 ~/.netrc",
        "EARTHDATA_TOKEN",
    ):
        assert remedy in problem.hint
    assert here.archive.asked == []


def test_wrong_password(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    wrong = Credentials(origin="/home/jane/.netrc", username="jane", password="not-her-password")
    with world(scenes) as here:
        problem = refused(here, tmp_path, wrong)
    assert problem.message == "Earthdata Login does not know this name with this password (from /home/jane/.netrc)"
    assert "reset" in problem.hint
    assert "not-her-password" not in str(problem)
    assert len(here.login.asked) == 1  # a 401 is not tried again
    assert here.archive.asked == []


@pytest.mark.parametrize("takes_tokens", [True, False])
def test_licence_not_accepted(scenes: tuple[ArchivedScene, ...], tmp_path: Path, takes_tokens: bool) -> None:
    with world(scenes, replace(JANE, licence=False), takes_tokens=takes_tokens) as here:
        supply = provide(here, tmp_path)
    assert set(supply.problems) == {one.name for one in scenes}
    for problem in supply.problems.values():
        assert problem.message == "the archive knows you and refuses the scene: its licence (EULA) is not accepted"
        assert "https://search.asf.alaska.edu" in problem.hint
        assert "study area" in problem.hint
    assert here.store.asked == []
    assert not list(tmp_path.glob("*.zip"))


def test_bare_refusal_is_most_likely_the_licence() -> None:
    def answer(status: int, text: str) -> Answer:
        return Answer(status=status, headers={}, body=text.encode())

    bare = explain_refusal(answer(403, "Forbidden"))
    assert bare is not None
    assert "most likely because its licence (EULA) is not accepted" in bare.message
    expired = explain_refusal(answer(401, '{"error": "Token has EXPIRED"}'))
    assert expired is not None
    assert "token has expired" in expired.message
    assert explain_refusal(answer(404, "no such EULA")) is None
    assert explain_refusal(answer(503, "")) is None


def test_revoked_token(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    with world(scenes) as here:
        problem = refused(here, tmp_path, Credentials(origin="test", token="edl-token-of-last-year"))
    assert problem.message == "Earthdata Login does not accept EARTHDATA_TOKEN: it has expired or was revoked"
    assert "Generate Token" in problem.hint
    assert "last-year" not in str(problem)
    assert here.archive.asked == []


def test_expired_token_gives_way_to_the_password(
    scenes: tuple[ArchivedScene, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both = replace(BY_PASSWORD, token="edl-token-of-last-year")
    with world(scenes) as here:
        assert len(provide(here, tmp_path, both).downloaded) == 2
    assert "name and password are used" in caplog.text


def test_token_with_a_line_break(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    with world(scenes) as here:
        problem = refused(here, tmp_path, Credentials(origin="test", token="edl token\nof two lines"))
    assert "EARTHDATA_TOKEN holds characters" in problem.message
    assert here.login.asked == []


def test_token_that_expires_on_the_way(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    def expired(asked: Asked) -> Reply:
        return Reply(status=401, body=b'{"status_code": 401, "error_description": "Your token has expired"}')

    with world(scenes, before=expired) as here:
        supply = provide(here, tmp_path)
    assert {p.message for p in supply.problems.values()} == {"the archive says that the Earthdata token has expired"}
    assert len(here.archive.asked) == 2


def test_login_that_answers_with_a_page(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    portal = Loopback(lambda _: Reply(body=b"<html>Welcome to the airport</html>"))
    with world(scenes) as here, portal:
        here.services = replace(here.services, earthdata=portal.url)
        problem = refused(here, tmp_path)
    assert "without a token" in problem.message
    assert problem.retryable


def test_token_is_not_shown_to_strangers(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    with Loopback(lambda _: Reply(body=b"thank you")) as stranger:

        def astray(asked: Asked) -> Reply:
            return Reply(status=302, headers={"Location": stranger.url + "/collect"})

        with world(scenes, before=astray) as here:
            supply = provide(here, tmp_path, attempts=1)
    assert len(supply.problems) == 2
    assert stranger.asked
    assert secrets_seen(stranger.asked) == ""


def test_hosts_that_a_token_is_shown_to() -> None:
    assert list_trusted_hosts("https://datapool.asf.alaska.edu/SLC/SA/x.zip", Services()) == (
        "urs.earthdata.nasa.gov",
        "sentinel1.asf.alaska.edu",
    )
    assert list_trusted_hosts("https://elsewhere.org/x.zip", Services()) == ("urs.earthdata.nasa.gov",)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://evil.org/x.zip", "evil.org"),
        ("https://asf.alaska.edu.evil.org/x.zip", "asf.alaska.edu.evil.org"),
        ("https://evilasf.alaska.edu/x.zip", "evilasf.alaska.edu"),
        ("https://evil.org\\@datapool.asf.alaska.edu/x.zip", "evil.org"),
        ("https://datapool.asf.alaska.edu@evil.org/x.zip", "evil.org"),
        ("https://evil.org?.asf.alaska.edu/x.zip", "evil.org"),
        ("https://[::1/x.zip", "[::1"),
        ("https://datapool.asf.alaska.edu:8443/x.zip", "datapool.asf.alaska.edu:8443"),
    ],
)
def test_no_token_for_hosts_that_are_not_the_archives(
    scenes: tuple[ArchivedScene, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, named: str
) -> None:
    monkeypatch.setattr(Fetcher, "download", lambda *_, **how: pytest.fail(f"sent {how['headers']}"))
    with world(scenes) as here:
        known = find_granules([one.name for one in scenes], here.services)
        astray = {name: replace(granule, url=url) for name, granule in known.items()}
        monkeypatch.setattr("topsar.provision.scene_download.find_granules", lambda *_: astray)
        here.services = replace(here.services, asf_search=Services().asf_search)
        supply = provide(here, tmp_path)
    assert set(supply.problems) == set(known)
    for problem in supply.problems.values():
        assert f"the catalogue names a host that is not the archive's, {named!r}" in problem.message


def test_hosts_of_the_archive(scenes: tuple[ArchivedScene, ...]) -> None:
    with world(scenes) as here:
        (granule,) = find_granules([scenes[0].name], here.services).values()
    with pytest.raises(ProvisionError, match="without encryption"):
        _require_safe(granule, Services())
    for host in ("datapool.asf.alaska.edu", "Sentinel1.ASF.Alaska.edu", "sentinel1.asf.earthdatacloud.nasa.gov"):
        for place in (host, f"{host}:443"):
            _require_safe(replace(granule, url=f"https://{place}/SLC/SA/x.zip"), Services())


# --- downloads that go wrong ------------------------------------------------------------------------------------


def once(fault: Callable[[Reply], Reply]) -> Callable[[Handler], Handler]:
    """The first answer of the store goes wrong."""

    def around(handler: Handler) -> Handler:
        count = [0]

        def answer(asked: Asked) -> Reply | None:
            reply = handler(asked)
            count[0] += 1
            return fault(reply) if reply is not None and count[0] == 1 else reply

        return answer

    return around


def test_goes_on_in_a_later_run(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    one = scenes[0]
    lines = (PairLine(line=1, reference=(one.name,), secondary=(one.name,)),)
    with world(scenes, store_before=once(lambda reply: replace(reply, cut_at=20_000))) as here:
        supply = provide(here, tmp_path, lines=lines, attempts=1)
        assert problem_of(supply, one).retryable
        assert not (tmp_path / f"{one.name}.zip").exists()
        assert (tmp_path / f"{one.name}.zip.part").stat().st_size == 20_000
        (path,) = provide(here, tmp_path, lines=lines).downloaded
    assert path.read_bytes() == one.path.read_bytes()  # type: ignore[union-attr]
    assert here.ranges() == ["", "bytes=20000-"]
    assert [file.name for file in tmp_path.iterdir() if not file.name.startswith(".")] == [path.name]


def test_wrong_checksum(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    told = (replace(scenes[0], md5="0" * 32), scenes[1])
    with world(scenes, told=told) as here:
        supply = provide(here, tmp_path)
    assert "MD5" in problem_of(supply, scenes[0]).message
    assert [path.stem for path in supply.downloaded] == [scenes[1].name]  # one does not stop the other
    assert [path.name for path in tmp_path.glob("*.zip")] == [f"{scenes[1].name}.zip"]


def test_wrong_size(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    told = (replace(scenes[0], size=scenes[0].size + 1), scenes[1])
    with world(scenes, told=told) as here:
        supply = provide(here, tmp_path)
    assert str(scenes[0].size + 1) in problem_of(supply, scenes[0]).message


def test_another_scene_in_the_zip(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    swapped = (replace(scenes[1], name=scenes[0].name), scenes[1])
    with world(swapped) as here:
        supply = provide(here, tmp_path)
    assert f"the archive sent {scenes[1].name} instead of {scenes[0].name}" in problem_of(supply, scenes[0]).message


def test_damage_is_found_without_a_checksum(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    def damage(reply: Reply) -> Reply:
        body = bytearray(reply.body)
        with zipfile.ZipFile(scenes[0].path) as file:  # type: ignore[arg-type]
            member = max(file.infolist(), key=lambda info: info.compress_size)
        middle = member.header_offset + member.compress_size // 2 + 100
        body[middle : middle + 8] = b"\0damage\0"
        return replace(reply, body=bytes(body))

    lines = (PairLine(line=1, reference=(scenes[0].name,), secondary=(scenes[0].name,)),)
    with world(scenes, told=[replace(one, md5="") for one in scenes], store_before=once(damage)) as here:
        bad = provide(here, tmp_path, lines=lines, attempts=1)
        assert "damaged" in problem_of(bad, scenes[0]).message
        assert len(provide(here, tmp_path, lines=lines).downloaded) == 1


def test_page_instead_of_a_zip(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    told = [replace(one, md5="", size=0) for one in scenes]
    with world(scenes, told=told, before=lambda _: Reply(body=b"<html>Down for maintenance</html>")) as here:
        supply = provide(here, tmp_path, attempts=1)
    assert len(supply.problems) == 2
    assert all("not a readable zip" in problem.message for problem in supply.problems.values())
    assert not list(tmp_path.glob("*.zip"))


def test_disk_budget(scenes: tuple[ArchivedScene, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = [replace(one, size=4_000_000_000) for one in scenes]
    (tmp_path / f"{scenes[0].name}.zip.part").write_bytes(b"0" * 1000)
    usage = SimpleNamespace(free=9_900_000_000)
    monkeypatch.setattr("topsar.provision.scene_download.shutil.disk_usage", lambda _: usage)
    with world(scenes, told=large) as here, pytest.raises(ProvisionError) as caught:
        provide(here, tmp_path, reserve=2_000_000_000)
    assert "2 scenes to download need 8.0 GB" in caught.value.message
    assert "has 9.9 GB free, of which 2.0 GB are to stay free" in caught.value.message
    assert "DISK_RESERVE_GB" in caught.value.hint
    assert here.login.asked == []


def test_what_came_already_counts_for_the_budget(
    scenes: tuple[ArchivedScene, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=sum(one.size for one in scenes) - 500)
    monkeypatch.setattr("topsar.provision.scene_download.shutil.disk_usage", lambda _: usage)
    with world(scenes) as here:
        with pytest.raises(ProvisionError, match="to download need"):
            provide(here, tmp_path)
        (tmp_path / f"{scenes[0].name}.zip.part").write_bytes(b"0" * 500)
        assert len(provide(here, tmp_path).downloaded) == 2


def test_scene_of_untold_size_is_taken_to_be_large(
    scenes: tuple[ArchivedScene, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=9_000_000_000)
    monkeypatch.setattr("topsar.provision.scene_download.shutil.disk_usage", lambda _: usage)
    told = [replace(one, size=0) for one in scenes]
    with world(scenes, told=told) as here, pytest.raises(ProvisionError, match=r"need 10\.0 GB"):
        provide(here, tmp_path)


# --- the catalogue ----------------------------------------------------------------------------------------------


def test_name_that_the_catalogue_does_not_know(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    misspelt = scenes[0].name[:-4] + "ABCD"
    lines = (
        PairLine(line=1, reference=(misspelt,), secondary=(UNKNOWN,)),
        PairLine(line=2, reference=(scenes[0].name,), secondary=(scenes[1].name,)),
    )
    with world(scenes) as here:
        supply = provide(here, tmp_path, lines=lines)
        first, second = find_pairs(lines, tmp_path, supply.problems)
    assert set(supply.problems) == {misspelt, UNKNOWN}
    assert {problem.hint for problem in supply.problems.values()} == {"look it up at https://search.asf.alaska.edu"}
    assert all("catalogue does not know it" in problem.message for problem in supply.problems.values())
    assert first.problem is not None
    assert misspelt in first.problem.message
    assert UNKNOWN in first.problem.message
    assert second.pair is not None


def test_no_account_is_needed_to_learn_that_a_name_is_wrong(scenes: tuple[ArchivedScene, ...], tmp_path: Path) -> None:
    lines = (PairLine(line=1, reference=(UNKNOWN,), secondary=(UNKNOWN,)),)
    with world(scenes) as here:
        assert set(provide(here, tmp_path, None, lines=lines).problems) == {UNKNOWN}


def made_up(count: int) -> list[ArchivedScene]:
    found = []
    for number in range(count):
        start = datetime(2020, 1, 1, 6, tzinfo=timezone.utc) + timedelta(days=number)
        times = "_".join(f"{time:%Y%m%dT%H%M%S}" for time in (start, start + timedelta(seconds=27)))
        scene = ArchivedScene(
            name=f"S1{'AB'[number % 2]}_IW_SLC__1SDV_{times}_{number:06d}_0609E3_DAA1",
            track=36 if number % 3 else 43,
            direction="DESCENDING" if number % 5 else "ASCENDING",
            polarisation="VV+VH" if number % 7 else "HH",
            box=BBox(west=-26, south=37, east=-23, north=39),
        )
        found.append(scene)
    return found


BOX = BBox(west=-25.9, south=37.6, east=-25.1, north=37.9)


def test_several_pages() -> None:
    every = made_up(330)
    with Loopback(catalogue(every)) as server:
        found = search_granules(Services(asf_search=server.url), box=BOX)
    assert [granule.name for granule in found] == [scene.name for scene in every]
    first, second = server.asked
    assert "cmr-search-after" not in first.headers
    assert second.headers["cmr-search-after"] == "250"
    assert found[0].slice.arc is None  # the catalogue told no state vectors


def test_many_names() -> None:
    """Each has two records, of the product and of its metadata."""
    every = made_up(260)
    with Loopback(catalogue(every)) as server:
        found = find_granules([scene.name for scene in every], Services(asf_search=server.url))
    assert set(found) == {scene.name for scene in every}
    assert all(granule.url.endswith(f"{name}.zip") for name, granule in found.items())
    assert len(server.asked) > 2


def test_search_is_narrowed() -> None:
    every = made_up(60)
    start, stop = (datetime(2020, month, 1, tzinfo=timezone.utc) for month in (1, 2))
    with Loopback(catalogue(every)) as server:
        services = Services(asf_search=server.url)
        found = search_granules(
            services, BOX, Search(start=start, stop=stop, track=36, direction=Direction.DESCENDING), ["VV"]
        )
        assert {granule.name for granule in found} == {
            scene.name
            for scene in every
            if start <= scene.start < stop
            and (scene.track, scene.direction, scene.polarisation) == (36, "DESCENDING", "VV+VH")
        }
        assert {granule.slice.track for granule in found} == {36}
        assert {granule.slice.polarisations for granule in found} == {("VH", "VV")}
        single = search_granules(services, box=BOX, polarisations=["HH"])
        assert {granule.slice.polarisations for granule in single} == {("HH",)}
        with pytest.raises(ProvisionError) as caught:
            search_granules(services, box=BOX, search=Search(track=99, direction=Direction.ASCENDING))
    assert caught.value.message.endswith("no IW SLC product over 37.6,37.9,-25.9,-25.1, of track 99, ascending")


def test_catalogue_is_asked_without_an_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("default login jane password secret-of-jane\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    with Loopback(catalogue(made_up(2))) as server:
        assert len(search_granules(Services(asf_search=server.url), box=BOX)) == 2
    assert secrets_seen(server.asked) == ""


def failing(*replies: Reply) -> Handler:
    """These answers first."""
    left = list(replies)
    return lambda _: left.pop(0) if left else None


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=503, body=b"{}"),
        Reply(status=429, headers={"Retry-After": "0"}),
        Reply(status=502, body=b"<html>Bad gateway</html>"),
        Reply(body=b"{}" * 100, claims=500_000, cut_at=100),
        Reply(body=b"{}" * 100, reset_at=0),
    ],
    ids=["503", "429", "502", "cut", "reset"],
)
def test_catalogue_that_fails_for_a_while(reply: Reply) -> None:
    with Loopback(failing(reply), catalogue(made_up(3))) as server:
        assert len(search_granules(Services(asf_search=server.url), box=BOX)) == 3
    assert len(server.asked) == 2


def test_catalogue_asks_for_patience() -> None:
    reply = Reply(status=429, headers={"Retry-After": "1"})
    with Loopback(failing(reply), catalogue(made_up(3))) as server:
        begun = time.monotonic()
        search_granules(Services(asf_search=server.url), box=BOX)
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=503, body=b"<html>down</html>"),
        Reply(body=b"<html>Welcome to the airport</html>"),
        Reply(body=b'{"hits": 3, "items": []}'),
        Reply(body=b"[]"),
    ],
    ids=["503", "page", "incomplete", "list"],
)
def test_catalogue_that_is_of_no_use(reply: Reply, tmp_path: Path) -> None:
    with Loopback(lambda _: reply) as server, pytest.raises(ProvisionError) as caught:
        search_granules(Services(asf_search=server.url), box=BOX)
    assert caught.value.retryable
    said = (
        "did not answer the search: what came is not JSON"
        if b"<html>Welcome" in reply.body
        else "did not answer the search"
    )
    assert caught.value.message.startswith(f"the catalogue at {server.url} {said}")
    assert "\n" not in caught.value.message
    assert "Expecting value" not in caught.value.message


@pytest.mark.parametrize(
    "proxy",
    [
        "http://jane:hidden@[bad:8080",
        "http://jane:hid/den@proxy:8080",
        "http://jane:hidden@:8080",
        "http://jane hidden@x",
    ],
)
def test_proxy_that_cannot_be_parsed_is_not_shown(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy)
    with pytest.raises(ProvisionError) as caught:
        search_granules(Services(asf_search="https://catalogue.invalid"), box=BOX)
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    for part in ("jane", "hid", "den@", "8080"):
        assert part not in shown
    assert caught.value.message.startswith("the catalogue at https://catalogue.invalid did not answer the search: ")


def test_catalogue_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr("requests.post", lambda *where, **_: told.append(where))
    reply = Reply(status=400, body=b'{"errors": ["bounding_box is not valid"]}')
    with Loopback(lambda _: reply) as server, pytest.raises(ProvisionError) as caught:
        search_granules(Services(asf_search=server.url), box=BOX)
    assert "bounding_box is not valid" in caught.value.message
    assert not caught.value.retryable
    assert told == []  # the failure is nobody else's business


def test_catalogue_that_is_not_there() -> None:
    with Loopback() as server:
        gone = server.url
    with pytest.raises(ProvisionError) as caught:
        search_granules(Services(asf_search=gone), box=BOX)
    assert caught.value.retryable
    assert "ConnectionError" in caught.value.message


def test_the_search_asks_for_whole_products_of_the_mode() -> None:
    with Loopback(catalogue(made_up(1))) as server:
        search_granules(Services(asf_search=server.url), box=BOX, search=Search(track=43))
    form = parse_qs(server.asked[0].body.decode())
    assert form["shortName"] == [f"SENTINEL-1{letter}_SLC" for letter in "ABCD"]
    assert set(form["attribute[]"]) == {"string,BEAM_MODE,IW", "int,PATH_NUMBER,43"}
    assert form["bounding_box"] == ["-25.9,37.6,-25.1,37.9"]


# --- credentials ------------------------------------------------------------------------------------------------


def netrc(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "netrc"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


GOOD = f"machine urs.earthdata.nasa.gov login jane password {PASSWORD}\n"


def test_settings_come_before_netrc(tmp_path: Path) -> None:
    path = netrc(tmp_path, GOOD)
    found = find_credentials(username="joe", password="of-joe", netrc_file=path)
    assert found is not None
    assert (found.username, found.password) == ("joe", "of-joe")
    assert found.origin == "EARTHDATA_USERNAME and EARTHDATA_PASSWORD"
    token = find_credentials(token=TOKEN, netrc_file=path)
    assert token is not None
    assert (token.token, token.username, token.origin) == (TOKEN, "", "EARTHDATA_TOKEN")


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_netrc(tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int) -> None:
    path = netrc(tmp_path, "machine example.org login me password x\n" + GOOD, mode)
    found = find_credentials(netrc_file=path)
    assert found == Credentials(origin=str(path), username="jane", password=PASSWORD)
    assert PASSWORD not in repr(found)
    assert "jane" not in repr(found)
    assert found.secrets == (PASSWORD,)
    assert caplog.text == ""


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666])
def test_netrc_that_others_can_read(tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int) -> None:
    path = netrc(tmp_path, GOOD, mode)
    assert find_credentials(netrc_file=path) is not None
    assert f"others can read it (mode {mode:03o}): run chmod 600 {path}" in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"\nmachine urs.earthdata.nasa.gov login jane passwort {PASSWORD}\n", 2),
        (f"machine a login b password c\n\nmachin {PASSWORD}\n", 3),
    ],
)
def test_netrc_that_is_not_understood(tmp_path: Path, text: str, line: int) -> None:
    path = netrc(tmp_path, text)
    with pytest.raises(ProvisionError) as caught:
        find_credentials(netrc_file=path)
    assert caught.value.message == f"{path}, line {line}: not understood"
    assert "machine urs.earthdata.nasa.gov login NAME password PASSWORD" in caught.value.hint
    assert PASSWORD not in str(caught.value)
    assert caught.value.__suppress_context__


def test_netrc_that_is_no_text(tmp_path: Path) -> None:
    path = netrc(tmp_path, "")
    path.write_bytes(b"machine \xff\xfe login\n")
    with pytest.raises(ProvisionError, match="not UTF-8"):
        find_credentials(netrc_file=path)


@pytest.mark.parametrize(
    ("text", "absent"),
    [("machine urs.earthdata.nasa.gov login jane\n", "password"), ("machine urs.earthdata.nasa.gov\n", "login")],
)
def test_netrc_with_half_an_entry(tmp_path: Path, text: str, absent: str) -> None:
    with pytest.raises(ProvisionError, match=rf"no {absent}|line \d"):
        find_credentials(netrc_file=netrc(tmp_path, text))


def test_netrc_without_the_host_or_none_at_all(tmp_path: Path) -> None:
    assert find_credentials(netrc_file=netrc(tmp_path, "machine example.org login me password x\n")) is None
    assert find_credentials(netrc_file=tmp_path / "absent") is None


@pytest.mark.parametrize(("given", "absent"), [("username", "PASSWORD"), ("password", "USERNAME")])
def test_half_an_account(tmp_path: Path, given: str, absent: str) -> None:
    with pytest.raises(ProvisionError) as caught:
        find_credentials(netrc_file=tmp_path / "absent", **{given: "half-of-it"})
    assert caught.value.message.endswith(f"EARTHDATA_{absent} is not")
    assert "half-of-it" not in str(caught.value)
