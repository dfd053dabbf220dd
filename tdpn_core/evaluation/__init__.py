"""Evaluate models: scores over views, metrics of scores, reports."""
