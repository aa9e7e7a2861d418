"""ConvLSTM encoder-forecaster for MindSpore."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
