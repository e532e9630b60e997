"""Look over machine, settings and inputs before anything runs, and say how to mend what is found.

Nothing on disk changes: a probe is removed at once. Rooms that import packages with compiled parts are imported inside
the checks, so that a broken package is a finding too.
"""

from topsar.doctor.examination import CHECKS, Check, examine
from topsar.doctor.finding import Finding, Grade, Said, as_json, describe, worst

__all__ = ["CHECKS", "Check", "Finding", "Grade", "Said", "as_json", "describe", "examine", "worst"]
