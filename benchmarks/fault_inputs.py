"""Campaigns that harm what a run reads: every run must be refused, or make what an undisturbed run makes."""

from __future__ import annotations

import json
import random
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from fault_count import Count, Place
from fault_world import (
    SERVICES,
    SWAP,
    Products,
    Ran,
    World,
    copy_data,
    find_fault,
    make_data,
    open_world,
    read_products,
)

from services.loopback import Asked, Reply
from services.world import KEY, USER, serve


class Attempt:
    """A copy of the data to be harmed, and the verdict on what a run makes of it."""

    def __init__(self, place: Place, world: World, name: str, count: Count) -> None:
        self.data = copy_data(world.data, place.folder / f"attempt{count.faults}")
        self.world, self.name, self.count = world, name, count
        self._keep_first_pair()
        count.faults += 1

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.data)

    def _keep_first_pair(self) -> None:
        listed = self.data / "pairs.txt"
        listed.write_text(listed.read_text().splitlines(keepends=True)[0])

    def scene(self, number: int) -> Path:
        """A product, by the order of dates."""
        return sorted((self.data / "raw").iterdir())[number]

    def run(self, **flags: str) -> Ran:
        """Run, and judge."""
        ran = self.world.warm.run(self.data, **flags)
        self.judge(ran)
        return ran

    def finish(self) -> None:
        """Run undisturbed, which must now do all, and judge."""
        self.count.resumes += 1
        ran = self.run()
        self.count.demand(ran.code == 0, f"{self.name}: not done in the end: {ran.err.strip()[-400:]}")

    def list_done(self) -> list[str]:
        """Each step as often as a journal says that it was done."""
        journals = (self.data / "runs").glob("*/journal.jsonl")
        events = [json.loads(line) for path in journals for line in path.read_text().splitlines()]
        return [f"{one['job']}/{one['step']}" for one in events if one.get("status") == "done"]

    def judge(self, ran: Ran) -> None:
        """Count products that are not those of an undisturbed run, and how the command ended if that was not well."""
        fault = find_fault(ran)
        found = read_products(self.data)
        if ran.code == 0 and not found:
            fault = "it says that all is done, and there are no products"
        self.count.demand(not fault, f"{self.name}: {fault}")
        self.count.refused += not found
        for products in found.values():
            expected = self.world.find_reference(products)
            wrong = products.differences(expected) if expected else ["a pair that nobody listed"]
            if wrong:
                self.count.differing += 1
                self.count.notes.append(f"{self.name}: other {', '.join(wrong[:6])}")


# --- mutants --------------------------------------------------------------------------------------------------------


def mutate_inputs(place: Place) -> Count:
    """One input of each run is changed somewhere by chance."""
    world, count = open_world(), Count("mutated inputs")
    kinds = [kind for kind, share in _TARGETS.items() for _ in range(share)]
    for number in place.choose(range(len(kinds))):
        chance, kind = random.Random(f"{place.seed} {number}"), kinds[number]
        with Attempt(place, world, f"mutant {number} of {place.seed}", count) as attempt:
            path = _find_target(attempt, kind, chance)
            content = path.read_bytes()
            name, change = chance.choice(_TEXT if kind in _TEXTS else _BYTES)
            changed = change(content, chance)
            path.write_bytes(changed)
            attempt.name += f" ({kind}, {name})"
            attempt.run()
    return count


_TARGETS = {
    "annotation": 60, "manifest": 40, "orbit": 30, "zip": 45, "deflated zip": 15, "image's head": 20, "DEM's head": 10,
    "pairs": 10,
}  # fmt: skip
_TEXTS = ("annotation", "manifest", "orbit", "pairs")


def _find_target(attempt: Attempt, kind: str, chance: random.Random) -> Path:
    scene = attempt.scene(chance.randrange(2))
    if kind == "pairs":
        return attempt.data / "pairs.txt"
    if kind == "orbit":
        return sorted((attempt.data / "orbit_data").iterdir())[chance.randrange(2)]
    if kind == "DEM's head":
        return attempt.data / "dem" / "dem.tif"
    if kind.endswith("zip"):
        return pack(scene, zipfile.ZIP_DEFLATED if kind.startswith("deflated") else zipfile.ZIP_STORED)
    if kind == "manifest":
        return scene / "manifest.safe"
    return next((scene / ("annotation" if kind == "annotation" else "measurement")).glob("*iw*"))


def pack(scene: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    """Replace a product by a zip of it."""
    path = scene.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(scene.rglob("*")):
            archive.write(file, file.relative_to(scene.parent))
    shutil.rmtree(scene)
    return path


Change = Callable[[bytes, random.Random], bytes]


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def _remove(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    return content[:start] + content[start + chance.randint(1, 300) :]


def _repeat(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    stop = start + chance.randint(1, 300)
    return content[:stop] + content[start:stop] + content[stop:]


def _change_byte(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]


def _blank(content: bytes, chance: random.Random) -> bytes:
    start, size = chance.randrange(len(content)), chance.choice((1, 16, 512, 4096))
    return content[:start] + bytes(len(content[start : start + size])) + content[start + size :]


def _change_head(content: bytes, chance: random.Random) -> bytes:
    """A byte of the first 300, where a TIFF says what it is."""
    return _change_byte(content[:300], chance) + content[300:]


def _change_digit(content: bytes, chance: random.Random) -> bytes:
    at = chance.choice([match.start() for match in re.finditer(rb"\d", content)])
    return content[:at] + bytes([chance.choice(b"0123456789".replace(content[at : at + 1], b""))]) + content[at + 1 :]


def _change_value(content: bytes, chance: random.Random) -> bytes:
    """The text of one element, or one name of a list."""
    match = chance.choice(list(re.finditer(rb"(?<=>)[^<>\s][^<>]*(?=<)|\S{20,}", content)))
    new = chance.choice((b"", b"nan", b"-1", b"1e400", b"0", b"9" * 40, "Ü".encode(), b"\0", b"None"))
    return content[: match.start()] + new + content[match.end() :]


def _remove_element(content: bytes, chance: random.Random) -> bytes:
    match = chance.choice([*re.finditer(rb"<(\w+)[^>]*>[^<]*</\1>", content)] or list(re.finditer(rb"\S+", content)))
    return content[: match.start()] + content[match.end() :]


def _replace_all(_: bytes, chance: random.Random) -> bytes:
    return chance.choice((b"", b"\0" * 1000, b"<html>please log in</html>", b"<?xml version='1.0'?><a/>", b"{}"))


_BYTES: tuple[tuple[str, Change], ...] = (
    ("cut", _cut), ("some removed", _remove), ("some repeated", _repeat), ("one bit", _change_head),
    ("blanked", _blank), ("replaced", _replace_all),
)  # fmt: skip
_TEXT = (
    *_BYTES[:3], ("one bit", _change_byte), ("a digit", _change_digit), ("a digit", _change_digit),
    ("a value", _change_value), ("an element removed", _remove_element), ("replaced", _replace_all),
)  # fmt: skip


# --- swapped while the run goes on ----------------------------------------------------------------------------------


def swap_inputs(place: Place) -> Count:
    """Before every step, each input in turn is swapped for another of the same size and time, and put back after it."""
    world, count = open_world(), Count("inputs swapped")
    with Attempt(place, world, "undisturbed", Count("")) as attempt:
        attempt.run()
        steps = sorted(set(attempt.list_done()))
    return swap_during(steps, place, partial(Attempt, place, world), count)


def swap_during(steps: list[str], place: Place, attempt_at: Callable[[str, Count], Attempt], count: Count) -> Count:
    """Swap each input in turn while each of some steps runs, and then run undisturbed."""
    faults = [
        (step, kind, number) for step in steps for kind in _SWAPPED for number in range(1 if kind == "dem" else 2)
    ]
    for step, kind, number in place.choose(faults):
        with attempt_at(f"{kind} {number} swapped during {step}", count) as attempt:
            path = _SWAPPED[kind](attempt, number)
            other = path.with_name(path.name + ".other")
            _write_other(path, other)
            before = path.read_bytes()
            attempt.run(**{SWAP: json.dumps([step, [str(path), str(other)]])})
            count.demand(path.read_bytes() == before, f"{attempt.name}: not put back")
            other.unlink()
            attempt.finish()
    return count


_SWAPPED: dict[str, Callable[[Attempt, int], Path]] = {
    "image": lambda attempt, number: next((attempt.scene(number) / "measurement").iterdir()),
    "annotation": lambda attempt, number: next((attempt.scene(number) / "annotation").glob("*.xml")),
    "orbit": lambda attempt, number: sorted((attempt.data / "orbit_data").iterdir())[number],
    "dem": lambda attempt, _: attempt.data / "dem" / "dem.tif",
}


def _write_other(path: Path, other: Path) -> None:
    """Write a valid file of the same size and time, but with other numbers in it."""
    content = bytearray(path.read_bytes())
    if path.suffix in (".tif", ".tiff"):
        content[-200_000:] = bytes(byte ^ 1 << 4 for byte in content[-200_000:])
    else:
        content = bytearray(re.sub(rb"(\.\d)(\d)", lambda m: m[1] + b"%d" % ((int(m[2]) + 3) % 10), bytes(content)))
    other.write_bytes(content)
    shutil.copystat(path, other)


# --- names and contents ---------------------------------------------------------------------------------------------


def confuse_names(place: Place) -> Count:
    """Names and contents disagree, in every way that a product, an orbit file or a zip can be misnamed."""
    world, count = open_world(), Count("names and contents disagree")
    confusions = list(_list_confusions())
    for name, confuse in place.choose(confusions):
        with Attempt(place, world, name, count) as attempt:
            confuse(attempt)
            attempt.run()
    return count


Confusion = Callable[[Attempt], object]
_NAMED = re.compile(r"(S1.)_IW_SLC__1S(.V)_(\d{8}T\d{6})_(\d{8}T\d{6})_(\d{6})_([0-9A-F]{6})_([0-9A-F]{4})")
_SCENE_FIELDS = {
    "mission": ("S1A", "S1B"),
    "polarisation": ("1SSV", "1SDV"),
    "day of the start": ("20250315T16", "20250316T16"),
    "start": ("20250315T160359", "20250315T160301"),
    "stop": ("20250315T160405", "20250315T160425"),
    "orbit": ("058478", "058479"),
    "datatake": ("072377", "072378"),
    "last digits": ("_960A", "_960B"),
}
_FILE_FIELDS = {
    "swath": ("-iw2-", "-iw1-"), "other swath": ("-iw2-", "-iw3-"), "polarisation": ("-vv-", "-vh-"),
    "other polarisation": ("-vv-", "-hh-"), "mission": ("s1a-", "s1b-"), "start": ("t160359-", "t160301-"),
    "day": ("20250315t", "20250327t"), "stop": ("t160405", "t160425"), "orbit": ("-058478-", "-058479-"),
    "datatake": ("-072377-", "-072378-"), "number": ("-002.", "-001."), "kind": ("-slc-", "-grd-"),
}  # fmt: skip


def _list_confusions() -> Iterator[tuple[str, Confusion]]:
    yield from (
        ("the folder of the second date holds the first", lambda a: _replace_tree(a.scene(0), a.scene(1))),
        ("the folder of the second date holds the third", lambda a: _replace_tree(a.scene(2), a.scene(1))),
        ("the manifest of the third date", lambda a: _put(a, 2, 1, ("manifest.safe",))),
        ("the annotation of the third date", lambda a: _put(a, 2, 1, ("annotation",))),
        ("the annotation of the third date, renamed", lambda a: _put(a, 2, 1, ("annotation",), renamed=True)),
        ("the annotation of the third date beside its own", lambda a: _put(a, 2, 1, ("annotation",), beside=True)),
        ("the annotation of the first date beside its own", lambda a: _put(a, 0, 1, ("annotation",), beside=True)),
        ("the image of the third date", lambda a: _put(a, 2, 1, ("measurement",))),
        ("the image of the third date, renamed", lambda a: _put(a, 2, 1, ("measurement",), renamed=True)),
        ("the image of the third date beside its own", lambda a: _put(a, 2, 1, ("measurement",), beside=True)),
        ("annotation and image of the third date", lambda a: _put(a, 2, 1, ("annotation", "measurement"))),
        (
            "annotation and image of the third date, renamed",
            lambda a: _put(a, 2, 1, ("annotation", "measurement"), renamed=True),
        ),
        (
            "annotation and image of the first date beside its own",
            lambda a: _put(a, 0, 1, ("annotation", "measurement"), beside=True),
        ),
        (
            "manifest, annotation and image of the third date",
            lambda a: _put(a, 2, 1, ("manifest.safe", "annotation", "measurement")),
        ),
        ("all of the third date zipped under the second's name", lambda a: pack(a.scene(2)).rename(_zip_of(a, 1))),
        ("the first date under the name of a zip of the second", lambda a: _pack_under(a, 0, 1)),
        ("two zips with one folder inside", _pack_alike),
        ("orbits of two dates under each other's names", _exchange_orbits),
        ("the third date's orbit under the second's name", lambda a: _copy_orbit(a, 2, 1)),
        ("an orbit of another satellite", lambda a: _rename_orbit(a, "S1A_OPER", "S1B_OPER")),
        ("an orbit of another satellite, named for ours", _change_orbit_mission),
        ("a restituted orbit, by its name", lambda a: _rename_orbit(a, "POEORB", "RESORB")),
        ("an orbit that covers more, by its name", lambda a: _rename_orbit(a, "V20250314", "V20250301")),
        ("the second date listed is a copy of the first", _list_copy_of_first),
    )  # fmt: skip
    for field, (old, new) in _SCENE_FIELDS.items():
        yield f"the folder's name: {field}", _renaming_scene(old, new, is_zip=False)
        yield f"a zip's name: {field}", _renaming_scene(old, new, is_zip=True)
    for field, (old, new) in _FILE_FIELDS.items():
        yield f"the annotation's name: {field}", _renaming_files(old, new, ("annotation",))
        yield f"the image's name: {field}", _renaming_files(old, new, ("measurement",))
        yield f"both names: {field}", _renaming_files(old, new, ("annotation", "measurement"))


def _replace_tree(source: Path, target: Path) -> None:
    shutil.rmtree(target)
    shutil.copytree(source, target)


def _files(scene: Path, part: str) -> list[Path]:
    return sorted(path for path in (scene / part).iterdir() if path.is_file())


def _put(
    attempt: Attempt, source: int, target: int, parts: tuple[str, ...], *, renamed: bool = False, beside: bool = False
) -> None:
    """Put files of one product into another one, in the place of its own unless ``beside``."""
    here, there = attempt.scene(target), attempt.scene(source)
    for part in parts:
        if (there / part).is_file():
            shutil.copy(there / part, here / part)
            continue
        for old, new in zip(_files(here, part), _files(there, part), strict=True):
            if not beside:
                old.unlink()
            shutil.copy(new, here / part / (old.name if renamed else new.name))


def _zip_of(attempt: Attempt, number: int) -> Path:
    scene = attempt.scene(number)
    shutil.rmtree(scene)
    return scene.with_suffix(".zip")


def _pack_under(attempt: Attempt, source: int, target: int) -> None:
    names = [attempt.scene(number) for number in (source, target)]
    shutil.rmtree(names[1])
    shutil.copytree(names[0], attempt.data / "aside" / names[0].name)
    pack(attempt.data / "aside" / names[0].name).rename(names[1].with_suffix(".zip"))


def _pack_alike(attempt: Attempt) -> None:
    for number in (0, 1):
        scene = attempt.scene(number)
        with zipfile.ZipFile(scene.with_suffix(".zip"), "w") as archive:
            for file in sorted(scene.rglob("*")):
                archive.write(file, Path("product.SAFE") / file.relative_to(scene))
        shutil.rmtree(scene)


def _orbits(attempt: Attempt) -> list[Path]:
    return sorted((attempt.data / "orbit_data").iterdir())


def _exchange_orbits(attempt: Attempt) -> None:
    first, second, _ = _orbits(attempt)
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])


def _copy_orbit(attempt: Attempt, source: int, target: int) -> None:
    shutil.copy(_orbits(attempt)[source], _orbits(attempt)[target])


def _rename_orbit(attempt: Attempt, old: str, new: str) -> None:
    path = _orbits(attempt)[1]
    path.rename(path.with_name(path.name.replace(old, new)))


def _change_orbit_mission(attempt: Attempt) -> None:
    path = _orbits(attempt)[1]
    path.write_text(path.read_text().replace("Sentinel-1A", "Sentinel-1B").replace("S1A_", "S1B_"))


def _list_copy_of_first(attempt: Attempt) -> None:
    first, second = attempt.scene(0), attempt.scene(1)
    copy = first.with_name(first.name[:-9] + "0000.SAFE")
    shutil.copytree(first, copy)
    listed = attempt.data / "pairs.txt"
    listed.write_text(listed.read_text().replace(second.stem, copy.stem))


def _renaming_scene(old: str, new: str, *, is_zip: bool) -> Confusion:
    def rename(attempt: Attempt) -> None:
        scene = attempt.scene(1)
        assert old in scene.name
        path = pack(scene) if is_zip else scene
        path.rename(path.with_name(path.name.replace(old, new)))
        listed = attempt.data / "pairs.txt"
        listed.write_text(listed.read_text().replace(scene.stem, scene.stem.replace(old, new)))

    return rename


def _renaming_files(old: str, new: str, parts: tuple[str, ...]) -> Confusion:
    def rename(attempt: Attempt) -> None:
        for part in parts:
            for path in _files(attempt.scene(1), part):
                assert old in path.name
                path.rename(path.with_name(path.name.replace(old, new)))

    return rename


# --- services -------------------------------------------------------------------------------------------------------


def spoil_replies(place: Place) -> Count:
    """One reply of one service, or all that it gives, is spoilt while a run fetches everything that it needs."""
    count, archive = Count("services and networks"), place.folder / "archive"
    make_data(archive, 2, zipped=True)
    listed = (archive / "pairs.txt").read_text()
    with _Services(place, archive) as services:
        ran = services.fetch(listed)
        if ran.code:
            sys.exit(f"error: the undisturbed run failed: {ran.err}")
        expected = read_products(services.folder)
        faults = [(name, how, times) for name in dict.fromkeys(services.asked) for how in _SPOILT for times in (1, 99)]
        for name, how, times in place.choose(faults, 120):
            text = f"{name}: {how}, {'once' if times == 1 else 'always'}"
            count.faults += 1
            ran = services.fetch(listed, spoilt=name, how=how, times=times)
            count.refused += ran.code != 0
            services.judge(ran, text, expected, count)
            if ran.code:
                count.resumes += 1
                again = services.fetch("")
                count.demand(again.code == 0, f"{text}: not done in the end: {again.err.strip()[-400:]}")
                services.judge(again, text, expected, count)
    return count


class _Services:
    """All services, spoilt as is asked, and the folder of a run that uses them; a context."""

    def __init__(self, place: Place, archive: Path) -> None:
        self.folder = place.folder / "fetched"
        self.asked: list[str] = []
        self._spoilt, self._how, self._left = "", "", 0
        self._serving = serve(archive, self._spoil)

    def __enter__(self) -> _Services:
        self._url = self._serving.__enter__().url
        return self

    def __exit__(self, *exc: object) -> None:
        self._serving.__exit__(None, None, None)

    def fetch(self, listed: str, *, spoilt: str = "", how: str = "", times: int = 0) -> Ran:
        """Run in a folder with nothing but a list of pairs, or go on in it without one."""
        self._spoilt, self._how, self._left = spoilt, how, times
        if listed:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            (self.folder / "pairs.txt").write_text(listed)
        secrets = {"EARTHDATA_USERNAME": USER.name, "EARTHDATA_PASSWORD": USER.password, "OPENTOPO_API_KEY": KEY}
        return open_world().warm.run(self.folder, OFFLINE="0", HOME="/nowhere", **secrets, **{SERVICES: self._url})

    def judge(self, ran: Ran, text: str, expected: dict[str, Products], count: Count) -> None:
        """Count what is wrong after a run, secrets that it left lying about among it."""
        count.demand(not find_fault(ran), f"{text}: {find_fault(ran)}")
        secrets = [word.encode() for word in (USER.password, USER.token, KEY)]
        texts = [path.read_bytes() for path in self.folder.rglob("*") if path.is_file()] + [
            (ran.out + ran.err).encode()
        ]
        is_told = any(secret in said for secret in secrets for said in texts)
        count.demand(not is_told, f"{text}: a secret is written somewhere")
        for pair, products in read_products(self.folder).items():
            # Without an orbit file the annotation's orbit is taken, and that is said; here both are the same.
            known = {"orbits", "passes"} if "the annotation's own" in ran.err else set()
            if wrong := [name for name in products.differences(expected[pair]) if name not in known]:
                count.differing += 1
                count.notes.append(f"{text}: other {', '.join(wrong[:6])}")

    def _spoil(self, asked: Asked, reply: Reply) -> Reply:
        name = re.sub(r"/[^/]*\.(zip|EOF|tif).*", r"/*.\1", f"{asked.method} {asked.path}")  # without names of files
        self.asked.append(name)
        if name != self._spoilt or self._left <= 0:
            return reply
        self._left -= 1
        return _SPOILT[self._how](reply)


def _status(code: int, body: bytes = b"", **headers: str) -> Callable[[Reply], Reply]:
    return lambda _: Reply(
        status=code, body=body, headers={key.replace("_", "-"): text for key, text in headers.items()}
    )


_SPOILT: dict[str, Callable[[Reply], Reply]] = {
    "500": _status(500), "502 with a page": _status(502, b"<html>Bad Gateway</html>"), "503": _status(503),
    "429, wait": _status(429, Retry_After="1"), "404": _status(404), "403": _status(403, b"no"), "401": _status(401),
    "204": _status(204), "a page": _status(200, b"<html>please log in</html>"), "empty": _status(200),
    "to nowhere": _status(302, Location="http://127.0.0.1:9/"), "in circles": _status(302, Location="/"),
    "cut": lambda reply: replace(reply, cut_at=len(reply.body) // 2, ranges=False),
    "cut, may go on": lambda reply: replace(reply, cut_at=len(reply.body) // 2),
    "reset": lambda reply: replace(reply, reset_at=len(reply.body) // 2),
    "shorter than said": lambda reply: replace(reply, claims=len(reply.body) + 1000),
    "half of it, as all": lambda reply: replace(reply, body=reply.body[: len(reply.body) // 2]),
    "longer": lambda reply: replace(reply, body=reply.body + b"\n<!-- and more -->"),
    "silent": lambda reply: replace(reply, delay_s=5.0),
    "noise": lambda reply: replace(reply, body=random.Random(1).randbytes(len(reply.body))),
}  # fmt: skip

CAMPAIGNS: dict[str, Callable[[Place], Count]] = {
    "mutants": mutate_inputs,
    "swaps": swap_inputs,
    "names": confuse_names,
    "services": spoil_replies,
}
