"""Checks tables of published figures against themselves, with the rounding that the figures were printed with."""
