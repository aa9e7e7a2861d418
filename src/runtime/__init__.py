"""The environment of a process: device, ranks, compiled graphs, files, progress."""
