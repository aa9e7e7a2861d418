"""Radar composites as weather services publish them, made into one record."""
