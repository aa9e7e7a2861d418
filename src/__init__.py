"""ConvLSTM encoder-forecaster for MindSpore."""

from pathlib import Path

__version__ = "0.3.0"

ROOT = Path(__file__).resolve().parents[1]
