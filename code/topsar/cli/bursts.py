"""Verbs for single scenes and bursts, under names that users of GAMMA and SNAP look for."""

from __future__ import annotations

import logging
import re
from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING

from topsar.cli.chain import CHAIN, run_stage
from topsar.cli.verbs import load
from topsar.errors import ProvisionError, SceneError, SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from topsar.engines.orbits import OrbitChoice
    from topsar.gamma import SwathTerms
    from topsar.model import Burst, Scene
    from topsar.settings import Settings

log = logging.getLogger(__name__)

VERBS = ("deramp", "burst")
_SINGLE = ("split", "orbit", "gamma")
KEYS = ("SWATHS", "POLARIZATION", "ROI")
"""Settings that they use."""
EXAMPLES = {
    "deramp": """
  topsar deramp 20140809.SLC_tab 20140809.SLC_tab.deramp 0 1      as GAMMA's SLC_deramp_S1_TOPS
  topsar deramp 20140809.SLC_tab.deramp 20140809.reramped_tab 1   put the ramp back
  topsar deramp --safe S1A_IW_SLC__1SDV_20250303T... --swaths IW1 --phase
""",
    "burst": """
  topsar burst split S1A_IW_SLC__1SDV_20250303T... --roi 37.4,37.9,14.7,15.3 --to data/raw
  topsar burst split S1A_IW_SLC__1SDV_20250303T... --swaths IW2 --bursts 3-5 --to cut
  topsar burst orbit S1A_IW_SLC__1SDV_20250303T... --to with_orbit
  topsar burst gamma S1A_IW_SLC__1SDV_20250303T... --swaths IW1,IW2 --bursts 2-4 --to slc
  topsar burst interferogram S1A_IW_SLC__1SDV_20250303T... S1A_IW_SLC__1SDV_20250315T... --swaths IW2
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
        shown = "split: write some bursts as a product of their own; orbit: the same with the state vectors of the "
        shown += "orbit file in the annotation; gamma: write tab, par and SLC of GAMMA; of two dates or more, "
        shown += "; ".join(f"{action}: {stage.meaning}" for action, stage in CHAIN.items())
        verb.add_argument("action", metavar="ACTION", choices=(*_SINGLE, *CHAIN), help=shown)
        verb.add_argument(
            "safes", metavar="NAME", nargs="+", help="products: names in data/raw; of one, its path will do"
        )
        shown = "samples as whole numbers of 2 bytes, as in the product"
        verb.add_argument("--scomplex", action="store_true", help=shown)
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
    """Cut a product to bursts, give it its precise orbit, write it as GAMMA has it; or the chain of SNAP."""
    if args.action in CHAIN:
        return run_stage(args)
    if len(args.safes) > 1:
        msg = f"{args.action} takes one product, {len(args.safes)} are named"
        raise SettingsError(msg, hint="start it once for each")
    args.safe = args.safes[0]
    if args.action == "gamma":
        return _write_gamma(args, is_deramped=False)
    from topsar.sentinel1 import advise_on_orbit
    from topsar.sentinel1.cut import cut_product

    settings = load(args)
    scene = _open(settings, args.safe)
    polarisation = _choose_polarisation(settings, scene)
    swaths = _choose_swaths(settings, scene, polarisation)
    chosen = _choose_bursts(settings, scene, swaths, polarisation, args.bursts)
    precise = None
    if args.action == "orbit":
        choice = _choose_orbit(settings, scene)
        if choice.file is None:
            msg = f"{scene.name}: no orbit file in {settings.data / 'orbit_data'} covers it"
            raise ProvisionError(msg, hint=advise_on_orbit(scene.start))
        precise = choice.load(swaths[0], polarisation)
    print(cut_product(scene, chosen, args.to, precise=precise))
    return 0


def _write_gamma(args: argparse.Namespace, *, is_deramped: bool) -> int:
    from topsar.gamma import SampleFormat, SceneCut, write_scene

    settings = load(args)
    scene = _open(settings, args.safe)
    polarisation = _choose_polarisation(settings, scene)
    swaths = _choose_swaths(settings, scene, polarisation)
    cut = SceneCut(
        bursts=_choose_bursts(settings, scene, swaths, polarisation, args.bursts),
        format=SampleFormat.SCOMPLEX if not is_deramped and args.scomplex else SampleFormat.FCOMPLEX,
        is_deramped=is_deramped,
        keeps_phase=is_deramped and args.phase,
    )
    orbit = _choose_orbit(settings, scene).load(swaths[0], polarisation)
    tab, shown = write_scene(scene, orbit, cut, args.to)
    if is_deramped:
        print(_format_terms(shown))
    print(tab)
    return 0


def _open(settings: Settings, name: str) -> Scene:
    from topsar.sentinel1 import find_scene, open_scene

    path = Path(name)
    return open_scene(path if path.exists() else find_scene(settings.data / "raw", name))


def _choose_polarisation(settings: Settings, scene: Scene) -> str:
    wanted = ("VV", "HH") if settings.polarization == "auto" else settings.polarization
    if settings.polarization != "auto" and len(wanted) > 1:
        msg = f"POLARIZATION={','.join(wanted)}: these verbs write one polarisation at a time"
        raise SettingsError(msg, hint="start it once for each")
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


def _choose_orbit(settings: Settings, scene: Scene) -> OrbitChoice:
    from topsar.engines.orbits import OrbitChoice
    from topsar.sentinel1 import choose_orbit, find_orbits

    folder = settings.data / "orbit_data"
    files = find_orbits(folder) if folder.is_dir() else ()
    choice = OrbitChoice(file=choose_orbit(files, scene.mission, scene.start, scene.stop), scenes=(scene,))
    log.info("orbit: %s", choice.name)
    return choice


def _choose_bursts(
    settings: Settings, scene: Scene, swaths: Sequence[str], polarisation: str, numbers: tuple[int, int] | None
) -> dict[str, tuple[Burst, ...]]:
    """Bursts by swath: those with the numbers, and of those the ones in ROI; swaths without any are left out."""
    from topsar.engines.footprint import lies_in
    from topsar.sentinel1 import read_annotation_orbit, read_bursts, read_grid_heights

    chosen = {}
    for swath in swaths:
        bursts = read_bursts(scene, swath, polarisation)
        first, last = numbers or (1, len(bursts))
        if not 1 <= first <= last <= len(bursts):
            msg = f"{scene.name}: bursts {first} to {last} of {swath}, which has bursts 1 to {len(bursts)}"
            raise SceneError(msg, hint="bursts count from 1; give --bursts FIRST-LAST")
        bursts = bursts[first - 1 : last]
        if settings.roi is not None:
            orbit = read_annotation_orbit(scene, swath, polarisation)
            heights = read_grid_heights(scene, swath, polarisation)
            bursts = tuple(burst for burst in bursts if lies_in(burst, orbit, settings.roi, heights))
        if bursts:
            chosen[swath] = bursts
    if not chosen:
        msg = f"{scene.name}: no burst of {', '.join(swaths)} lies in ROI"
        raise SceneError(msg, hint="ROI is south,north,west,east in degrees; or give other --swaths and --bursts")
    return chosen


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
