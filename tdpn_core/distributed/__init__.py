"""Processes that compute together: their ranks, rendezvous, monitoring, start and end."""
