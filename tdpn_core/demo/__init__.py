"""Demonstration of the toolkit on clips that it renders itself."""
