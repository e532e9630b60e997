"""The product of a swath, ``IW{n}.xml``: bursts with their times, ranges, polynomials and orbits."""

from __future__ import annotations

import ast
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from .markup import Tree, read_tree, write_tree

SEQUENCE = {
    "_factorname": "default",
    "_factory": "True",
    "_mandatory": "False",
    "_private": "True",
    "family": "TraitSeq",
}


def parse_time(text: str | datetime) -> datetime:
    """A time of an ISCE2 or ESA file, in UTC and without a zone, as the real one has it."""
    text = str(text).strip().replace("T", " ")
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f" if "." in text else "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007


def _take(name: str, kind: Callable[[Any], Any]) -> Any:
    """A property: a value of the tree by its name."""
    return property(lambda burst: kind(burst.tree[name]))


@dataclass(frozen=True)
class Burst:
    """What the steps need of a burst; ``tree`` is all of it, as in the file."""

    tree: Tree

    start, stop = _take("sensingstart", parse_time), _take("sensingstop", parse_time)
    lines, samples = _take("numberoflines", int), _take("numberofsamples", int)
    interval, near = _take("azimuthtimeinterval", float), _take("startingrange", float)
    spacing, wavelength = _take("rangepixelsize", float), _take("radarwavelength", float)

    @property
    def far(self) -> float:
        return self.near + (self.samples - 1) * self.spacing

    @property
    def valid(self) -> tuple[int, int, int, int]:
        """First valid line, number of them, first valid sample, number of them."""
        names = ("firstvalidline", "numberofvalidlines", "firstvalidsample", "numberofvalidsamples")
        first_line, lines, first_sample, samples = (int(self.tree[name]) for name in names)
        return first_line, lines, first_sample, samples

    @property
    def vectors(self) -> list[tuple[datetime, list[float], list[float]]]:
        """State vectors: time, position (m) and velocity (m/s), earth-fixed."""
        items = [item for item in self.tree["orbit"]["state_vectors"].values() if isinstance(item, dict)]
        rows = [
            (parse_time(i["time"]), *(ast.literal_eval(str(i[k])) for k in ("position", "velocity"))) for i in items
        ]
        return sorted(rows)

    def with_values(self, **values: Any) -> Burst:
        return Burst({**deepcopy(self.tree), **{name: str(value) for name, value in values.items()}})


def make_sequence(module: str, name: str, items: list[Tree]) -> Tree:
    """A list as ISCE2 writes it: components with numbered names, and the list of the names."""
    names = [f"{name}{number + 1}" for number in range(len(items))]
    return {**SEQUENCE, "_modulename": module, "name": str(names), **dict(zip(names, items, strict=True))}


@dataclass(frozen=True)
class Frame:
    """A swath of one date."""

    bursts: tuple[Burst, ...]
    common: Tree
    """Mission, processor and the like."""

    def with_bursts(self, bursts: list[Burst]) -> Frame:
        kept = {name: self.common[name] for name in ("family", "imagingmode", "name", "spacecraftname")}
        return Frame(tuple(bursts), kept)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        bursts = make_sequence("BurstSLC", "burst", [burst.tree for burst in self.bursts])
        instance = {**self.common, "numberofbursts": len(self.bursts), "bursts": bursts}
        tree = {"family": "productmanager", "name": "productmanager_name", "instance": instance}
        write_tree(path, "productmanager_name", tree)


def read_frame(path: Path) -> Frame:
    instance = read_tree(path)["instance"]
    named = instance.pop("bursts")
    bursts = [Burst(named[f"burst{number + 1}"]) for number in range(int(instance["numberofbursts"]))]
    return Frame(tuple(bursts), instance)


def seconds_between(later: datetime, earlier: datetime) -> float:
    return (later - earlier) / timedelta(seconds=1)
