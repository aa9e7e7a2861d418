"""Forecasts of a checkpoint or an exported network, as files."""
