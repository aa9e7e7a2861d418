"""Everything around the network: device, training, callbacks, checkpoints, metrics, export."""
