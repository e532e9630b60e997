"""What a terminal shows of a run: its plan before, its status while it goes on and after, and what may go."""

from topsar.terminal.plan import pairs_text, plan_text, plan_totals, removable_text
from topsar.terminal.status import status_json, status_text

__all__ = ["pairs_text", "plan_text", "plan_totals", "removable_text", "status_json", "status_text"]
