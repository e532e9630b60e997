"""Check machine, settings and inputs before anything runs, and say how to fix what is wrong.

Nothing on disk changes: a probe is removed at once. Checks import rooms that need compiled packages only when they
run, so that a broken package is a finding too.
"""

from topsar.doctor.examination import CHECKS, examine
from topsar.doctor.finding import Finding, Grade, dump_findings, find_worst, format_findings

__all__ = ["CHECKS", "Finding", "Grade", "dump_findings", "examine", "find_worst", "format_findings"]
