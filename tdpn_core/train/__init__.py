"""Training: the loop, its schedule, its state on disk, and the process that it runs in."""
