"""Measuring forecasts."""
