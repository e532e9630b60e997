"""How HyP3 names a product, after ISCE2's jobs of bursts and after GAMMA's of a scene."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Literal

from topsar.engines.passes import read_passes
from topsar.errors import ProductError
from topsar.formats.exchange import name_dates
from topsar.model import OrbitSource

if TYPE_CHECKING:
    from topsar.interferogram import Interferogram

Flavour = Literal["isce2", "gamma"]
"""Whose job a product looks like: ISCE2's of bursts, or GAMMA's of a scene."""
_TWO_DIGITS = range(10, 100)
_DIGITS = 6
"""Of a burst's number."""
_ORBITS = {OrbitSource.PRECISE: "P", OrbitSource.RESTITUTED: "R", OrbitSource.ANNOTATION: "O"}
_START = slice(17, 32)
"""Of the name of a scene: when it starts."""


def has_burst_numbers(ifg: Interferogram) -> bool:
    """Whether every burst has ESA's number, as those of IPF 3.40 and newer do."""
    return all(len(label.partition("_")[2]) == _DIGITS for label in ifg.facts["bursts"])


def name_burst_product(ifg: Interferogram) -> str:
    """Name a product by track, first burst and count of each swath, dates, polarisation, posting and an identifier.

    Raises
    ------
    ProductError
        If bursts have no numbers, or the posting has no two digits.
    """
    facts, posting = ifg.facts, _find_posting(ifg)
    if not has_burst_numbers(ifg):
        label = next(label for label in facts["bursts"] if len(label.partition("_")[2]) != _DIGITS)
        msg = f"{ifg.pair_id}: burst {label} has no number of ESA's, and the name of a HyP3 product is made of them"
        raise ProductError(msg, hint="the names of format hyp3_gamma do without; IPF 3.40 or newer gives numbers")
    numbers: dict[str, list[str]] = {"IW1": [], "IW2": [], "IW3": []}
    for label in facts["bursts"]:
        swath, _, number = label.partition("_")
        numbers[swath].append(number)
    swaths = "-".join(
        f"{min(found, default='000000')}s{swath[2:]}n{len(found):02d}" for swath, found in numbers.items()
    )
    days, tag = name_dates(facts), _make_tag(ifg)
    return f"S1_{facts['track']:03d}_{swaths}_IW_{days}_{facts['polarisation']}_INT{posting}_{tag}"


def name_scene_product(ifg: Interferogram) -> str:
    """Name a product by satellites, start times, polarisation, orbit, days, posting, swath and an identifier.

    ``G_ue`` is GAMMA's, no water mask applied, the entire extent; then ``F`` for several swaths, or the only one.

    Raises
    ------
    ProductError
        If the posting has no two digits.
    """
    facts, posting, passes = ifg.facts, _find_posting(ifg), read_passes(ifg.facts)
    satellites = "".join(one.mission[-1] for one in passes)
    starts = "_".join(facts[f"{side}_scenes"][0][_START] for side in ("reference", "secondary"))
    least = max((one.orbit_source for one in passes), key=list(_ORBITS).index)
    days = abs(round(facts["temporal_baseline_days"]))
    swaths = {label.partition("_")[0][2:] for label in facts["bursts"]}
    swath = swaths.pop() if len(swaths) == 1 else "F"
    kind = f"{facts['polarisation']}{_ORBITS[least]}{days:03d}_INT{posting}_G_ue{swath}"
    return f"S1{satellites}_{starts}_{kind}_{_make_tag(ifg)}"


def _find_posting(ifg: Interferogram) -> int:
    posting = round(ifg.grid.dx if ifg.grid.crs != "EPSG:4326" else math.radians(ifg.grid.dy) * 6_371_000)
    if posting not in _TWO_DIGITS:
        msg = f"{ifg.pair_id}: the name of a HyP3 product holds a posting of 10 to 99 m, not {posting}"
        raise ProductError(msg, hint="set POSTING to 20, 40 or 80")
    return posting


def _make_tag(ifg: Interferogram) -> str:
    facts = ifg.facts
    made_of = repr([ifg.pair_id, ifg.grid, facts.get("settings"), facts.get("versions"), facts.get("created")])
    return hashlib.sha256(made_of.encode()).hexdigest()[:4].upper()
