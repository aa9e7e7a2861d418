"""Forecasts with a checkpoint or an exported network, written to files."""
