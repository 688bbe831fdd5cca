"""Makers' units turned into house units."""
