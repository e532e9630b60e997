"""Imitations of the services that `topsar.provision` asks, on this machine."""
