"""What a process runs on: device, ranks, compiled graphs, files, progress."""
