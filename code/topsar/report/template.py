"""The template of the page, compiled once: Python made of it is kept where Python keeps its own compiled modules."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import version
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup
from PIL import features

from topsar import __version__
from topsar.errors import ProductError
from topsar.files import atomic_path
from topsar.formats.quicklook.layers import LAYERS_FILE
from topsar.formats.viewer import read_asset
from topsar.interferogram import LAYERS
from topsar.report import ledger, network, timeline
from topsar.settings import KEYS
from topsar.wording import DASH, bytes_text, count_text, plain, rate_text, seconds_text

if TYPE_CHECKING:
    from jinja2.bccache import Bucket

KIND = "webp" if features.check("webp") else "jpeg"
"""Of the thumbnails."""
MOST_CLOSURES = 20

_NUMBERS = {
    "perpendicular_baseline_m": ("+.1f", " m"),
    "temporal_baseline_days": ("g", " days"),
    "coherence_mean": (".3f", ""),
    "wavelength_m": (".6f", " m"),
}


class _Compiled(jinja2.BytecodeCache):
    """Keeps what was compiled of the template, by its text, this module and the release of Jinja.

    Where it cannot be kept, the template is compiled each time.
    """

    _place = Path(cache_from_source(str(Path(__file__).with_name("page.html.py"))))

    def get_source_checksum(self, source: str) -> str:
        origin = f"{version('jinja2')} {Path(__file__).read_text(encoding='utf-8')}"
        return super().get_source_checksum(origin + source)

    def load_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError), self._place.open("rb") as file:
            bucket.load_bytecode(file)

    def dump_bytecode(self, bucket: Bucket) -> None:
        if not sys.dont_write_bytecode:
            with suppress(ProductError), atomic_path(self._place) as part:
                part.write_bytes(bucket.bytecode_to_string())


def load_template(runs: Path) -> jinja2.Template:
    """Load the template of the page; whatever it writes is freed of control characters and escaped.

    Parameters
    ----------
    runs : Path
        The folder that links begin in.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        bytecode_cache=_Compiled(),
        autoescape=True,
        finalize=lambda value: plain(value) if type(value) is str else value,  # a subclass is markup
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "seconds": seconds_text,
        "bytes": lambda value: bytes_text(value or None),
        "rate": rate_text,
        "count": count_text,
        "number": _format_number,
        "fact": _format_fact,
        "link": lambda path: quote(Path(os.path.relpath(path, runs)).as_posix()),
    }
    environment.globals |= {
        "DASH": DASH, "KEYS": KEYS, "find_kind": LAYERS.get, "ledger": ledger, "network": network, "timeline": timeline,
        "version": __version__, "MOST_CLOSURES": MOST_CLOSURES, "KIND": KIND,
        "asset": lambda name: Markup(read_asset(name)), "LAYERS_FILE": LAYERS_FILE,
        "script": Markup(Path(__file__).with_name("page.js").read_text(encoding="utf-8")),
    }  # fmt: skip
    return environment.get_template("page.html.j2")


def _format_number(value: float | None, spec: str) -> str:
    """A number with a true minus sign, or a dash for None."""
    return DASH if value is None else format(value, spec).replace("-", "−")


def _format_fact(facts: Mapping[str, Any], key: str) -> str:
    """A fact as the page shows it."""
    value = facts[key]
    if key == "engine":
        return f"{value} {facts.get('engine_version') or ''}"
    if key == "orbits" and isinstance(value, Mapping):
        value = {day: re.sub(r".*(POEORB|RESORB).*", r"\1", str(name)) for day, name in value.items()}
    if key in _NUMBERS and isinstance(value, int | float):
        spec, unit = _NUMBERS[key]
        return _format_number(float(value), spec) + unit
    if key == "bursts" and isinstance(value, list):
        return _count_bursts([str(burst) for burst in value])
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text}" for name, text in value.items())
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _count_bursts(bursts: Iterable[str]) -> str:
    """``18: IW1 6, IW2 6, IW3 6``."""
    swaths = Counter(match[0] if (match := re.search(r"[IE]W\d", burst)) else "other" for burst in bursts)
    return f"{swaths.total()}: " + ", ".join(f"{swath} {count}" for swath, count in sorted(swaths.items()))
