"""What a terminal shows of a run: its plan before, and its status while it goes on and after."""

from topsar.terminal.plan import plan_text
from topsar.terminal.status import status_json, status_text

__all__ = ["plan_text", "status_json", "status_text"]
