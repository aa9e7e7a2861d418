"""Pictures of forecasts, and curves."""
