"""Settings: typed from Python, or text from the command line, the environment and ``.env``."""

from topsar.settings.fields import GIGABYTE, KEYS, Options, Settings, resolved
from topsar.settings.load import load_settings
from topsar.settings.text import MASK, parse_roi, text_of

__all__ = ["GIGABYTE", "KEYS", "MASK", "Options", "Settings", "load_settings", "parse_roi", "resolved", "text_of"]
