#!/usr/bin/env python3
"""Stands for the script of the real installation that masks an unwrapped image; it need only be found."""
