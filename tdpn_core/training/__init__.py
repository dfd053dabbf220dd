"""Training: what is run, the loop, its schedule and objective, and what it leaves for people."""
