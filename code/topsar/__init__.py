"""topsar: a list of Sentinel-1 pairs becomes trustworthy interferograms, in parallel, on any machine."""

__version__ = "0.1.0"
