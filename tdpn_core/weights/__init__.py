"""Weights of other projects: read without running code, recognised by their keys, converted strictly, and written."""
