"""GAMMA's files of burst images: tabs, parameters, samples; and the TOPS ramp taken off or put back.

Keys and file names are those of GAMMA's reference manual (ISP, 2015 and later) and of files that it wrote.
"""

from topsar.gamma.deramp import BurstTerms, SwathTerms, deramp_tab
from topsar.gamma.samples import SampleFormat
from topsar.gamma.scene import SceneCut, write_scene

__all__ = ["BurstTerms", "SampleFormat", "SceneCut", "SwathTerms", "deramp_tab", "write_scene"]
