"""Training: start, loop, step, loss, optimizers, learning rate, callbacks and records."""
