"""The ConvLSTM encoder-forecaster; nothing here knows about training."""

from src.model.convlstm import ConvLSTMCell, ConvLSTMLayer
from src.model.execution import Execution
from src.model.forecaster import EncoderForecaster

__all__ = ["ConvLSTMCell", "ConvLSTMLayer", "EncoderForecaster", "Execution"]
