"""Training: configuration of a run, the loop, schedule and objective, logging."""
