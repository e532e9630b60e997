"""ARIA's frames, from the package that carries their table."""

from __future__ import annotations

from topsar.errors import SettingsError
from topsar.model import Direction, Frame


def find_frame(number: int) -> Frame:
    """Find a frame by its number.

    Raises
    ------
    SettingsError
        If the package asf-enumeration is not installed, or has no such frame.
    """
    try:
        from asf_enumeration.aria_s1_gunw import AriaEnumerationError, get_frame
    except ImportError as exc:
        msg = "the table of ARIA's frames is in the package asf-enumeration, which is not installed"
        raise SettingsError(msg, hint="pip install 'topsar[aria]', or give its box as ROI") from exc
    try:
        found = get_frame(number)
    except AriaEnumerationError as exc:
        msg = f"there is no ARIA frame {number}"
        raise SettingsError(msg, hint=str(exc)) from exc
    return Frame(
        number=number,
        track=int(found.path),
        direction=Direction(found.flight_direction.lower()),
        outline=tuple((float(lon), float(lat)) for lon, lat in found.polygon.exterior.coords),
    )
