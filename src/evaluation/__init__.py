"""Evaluation of forecasts: metrics, scores, reference forecasts, reports."""
