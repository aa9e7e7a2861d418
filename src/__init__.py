"""ConvLSTM encoder-forecaster for MindSpore: configuration, data, model and tools."""
