"""Settings: typed from Python, or text from the command line, the environment and ``.env``."""

from topsar.settings.fields import GIGABYTE, KEYS, Options, Settings, describe_settings
from topsar.settings.load import load_settings
from topsar.settings.text import MASK, format_value

__all__ = ["GIGABYTE", "KEYS", "MASK", "Options", "Settings", "describe_settings", "format_value", "load_settings"]
