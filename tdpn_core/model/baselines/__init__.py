"""The networks that TDPN is compared with and plugged into, from its own parts: a file for each paper.

A file gives a backbone for a configuration, or a whole network where a classifier on res5 is not all that follows.
"""
