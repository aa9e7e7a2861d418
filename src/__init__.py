"""ConvLSTM encoder-forecaster for MindSpore."""

from pathlib import Path

__version__ = "0.2.0"

ROOT = Path(__file__).resolve().parents[1]
