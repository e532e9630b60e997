"""Imported by the process that steps are forked from: Numba lists there, once, what it knows of types and functions.

A process does so when it first calls a kernel, in a quarter of a second, most of what a short step takes. Kernels are
not loaded: with one that works in threads, Numba would start these.
"""

from numba.core.registry import cpu_target

cpu_target.target_context.refresh()
