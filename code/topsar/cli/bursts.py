"""Verbs for single scenes and bursts, under names that users of GAMMA and SNAP look for."""

from __future__ import annotations

import logging
import re
from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.errors import SceneError, SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from topsar.gamma import SceneCut, SwathTerms
    from topsar.model import Orbit, Scene
    from topsar.settings import Settings

log = logging.getLogger(__name__)

VERBS = ("deramp", "burst")
KEYS = ("SWATHS", "POLARIZATION")
"""Settings that they use."""
EXAMPLES = {
    "deramp": """
  topsar deramp 20140809.SLC_tab 20140809.SLC_tab.deramp 0 1      as GAMMA's SLC_deramp_S1_TOPS
  topsar deramp 20140809.SLC_tab.deramp 20140809.reramped_tab 1   put the ramp back
  topsar deramp --safe S1A_IW_SLC__1SDV_20250303T... --swaths IW1 --phase
""",
    "burst": """
  topsar burst gamma S1A_IW_SLC__1SDV_20250303T... --swaths IW1,IW2 --bursts 2-4 --to slc
""",
}


def add_flags(verb: argparse.ArgumentParser, name: str) -> None:
    """Add the flags of a verb.

    Parameters
    ----------
    verb : ArgumentParser
    name : str
        One of `VERBS`.
    """
    if name == "deramp":
        verb.add_argument("given", metavar="SLC1_tab", type=Path, nargs="?", help="what to read: SLC SLC_par TOPS_par")
        verb.add_argument("made", metavar="SLC2_tab", type=Path, nargs="?", help="what to write, of as many lines")
        verb.add_argument("mode", metavar="MODE", nargs="?", choices="01", help="0 deramp, 1 put the ramp back [0]")
        verb.add_argument("flag", metavar="PHFLG", nargs="?", choices="01", help="1 writes the ramp as <SLC>.dph [0]")
        verb.add_argument("--safe", metavar="NAME", help="deramp a product instead: its name in data/raw, or its path")
        verb.add_argument("--phase", action="store_true", help="with --safe: write the ramp too")
    else:
        verb.add_argument("action", metavar="ACTION", choices=("gamma",), help="gamma: write tab, par and SLC of GAMMA")
        verb.add_argument("safe", metavar="NAME", help="a product: its name in data/raw, or its path")
        verb.add_argument(
            "--scomplex", action="store_true", help="samples as whole numbers of 2 bytes, as in the product"
        )
    verb.set_defaults(pairs=Path("pairs.txt"))  # settings have a list of pairs, these verbs do not look at it
    verb.add_argument("--bursts", metavar="N-M", type=_parse_bursts, help="bursts N to M of each swath, from 1 [all]")
    verb.add_argument("--to", metavar="DIR", type=Path, default=Path("slc"), help="folder to write into [./slc]")


def deramp(args: argparse.Namespace) -> int:
    """Take the TOPS ramp off bursts, or put it back, in GAMMA's files; also straight from a product."""
    from topsar.gamma import deramp_tab

    if args.safe is None:
        if args.made is None or args.phase or args.bursts:
            msg = "expected SLC1_tab and SLC2_tab, or --safe NAME (--phase and --bursts belong to it)"
            raise SettingsError(msg, hint="topsar deramp SLC1_tab SLC2_tab [MODE] [PHFLG]")
        shown = deramp_tab(args.given, args.made, adds_ramp=args.mode == "1", keeps_phase=args.flag == "1")
        print(_format_terms(shown))
        return 0
    if args.given is not None:
        msg = f"{args.given}: a tab file and --safe exclude each other"
        raise SettingsError(msg, hint="give one of them")
    return _write_gamma(args, is_deramped=True)


def burst(args: argparse.Namespace) -> int:
    """Write single scenes and bursts as other programs have them."""
    return _write_gamma(args, is_deramped=False)


def _write_gamma(args: argparse.Namespace, *, is_deramped: bool) -> int:
    from topsar.cli.verbs import load
    from topsar.gamma import SampleFormat, SceneCut, write_scene

    settings = load(args)
    scene = _open(settings, args.safe)
    polarisation = _choose_polarisation(settings, scene)
    cut = SceneCut(
        swaths=_choose_swaths(settings, scene, polarisation),
        polarisation=polarisation,
        bursts=args.bursts,
        format=SampleFormat.SCOMPLEX if not is_deramped and args.scomplex else SampleFormat.FCOMPLEX,
        is_deramped=is_deramped,
        keeps_phase=is_deramped and args.phase,
    )
    tab, shown = write_scene(scene, _find_orbit(settings, scene, cut), cut, args.to)
    if is_deramped:
        print(_format_terms(shown))
    print(tab)
    return 0


def _open(settings: Settings, name: str) -> Scene:
    from topsar.sentinel1 import find_scene, open_scene

    path = Path(name)
    return open_scene(path if path.exists() else find_scene(settings.data / "raw", name))


def _choose_polarisation(settings: Settings, scene: Scene) -> str:
    wanted = ("VV", "HH") if settings.polarization == "auto" else (settings.polarization,)
    for one in wanted:
        if one in scene.polarisations:
            return one
    msg = f"{scene.name}: no {' or '.join(wanted)}, the product holds {', '.join(scene.polarisations)}"
    raise SceneError(msg, hint="choose one that is there: --polarization")


def _choose_swaths(settings: Settings, scene: Scene, polarisation: str) -> tuple[str, ...]:
    present = {file.swath for file in scene.files if file.polarisation == polarisation}
    chosen = tuple(swath for swath in settings.swaths if swath in present)
    if not chosen:
        msg = f"{scene.name}: none of {', '.join(settings.swaths)} in {polarisation}"
        raise SceneError(msg, hint=f"choose among {', '.join(sorted(present))}: --swaths")
    return chosen


def _find_orbit(settings: Settings, scene: Scene, cut: SceneCut) -> Orbit:
    from topsar.engines.orbits import OrbitChoice
    from topsar.sentinel1 import choose_orbit, find_orbits

    folder = settings.data / "orbit_data"
    files = find_orbits(folder) if folder.is_dir() else ()
    choice = OrbitChoice(file=choose_orbit(files, scene.mission, scene.start, scene.stop), scenes=(scene,))
    log.info("orbit: %s", choice.name)
    return choice.load(cut.swaths[0], cut.polarisation)


def _parse_bursts(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text, re.ASCII)
    if not match:
        msg = f"expected a burst or two, such as 3 or 2-4, got {text!r}"
        raise ArgumentTypeError(msg)
    return int(match[1]), int(match[2] or match[1])


def _format_terms(swaths: Iterable[SwathTerms]) -> str:
    """The table of SLC_deramp_S1_TOPS, every 5000 samples."""
    lines = []
    for swath in swaths:
        lines.append(f"{swath.slc}")
        for one in swath.bursts:
            lines.append(f"  {one.label}: k_s {one.k_s_hz_s:.3f} Hz/s")
            lines.append(f"    {'range (m)':>12} {'f_d (Hz)':>10} {'k_r (Hz/s)':>12} {'k_t (Hz/s)':>12}")
            lines += [f"    {r:12.3f} {f_d:10.3f} {k_r:12.4f} {k_t:12.4f}" for r, f_d, k_r, k_t in one.rows]
    return "\n".join(lines)
