"""Products cut to some of their bursts: valid SAFE folders of fewer swaths, bursts and polarisations."""

from topsar.sentinel1.cut.product import cut_product

__all__ = ["cut_product"]
