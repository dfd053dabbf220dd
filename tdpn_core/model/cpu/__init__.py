"""Optimise finished networks for CPUs without changing their state: memory layout, packed weights, folding."""
