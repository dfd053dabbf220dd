"""The networks that TDPN is compared or combined with, built from its parts: one file per paper.

A file provides a backbone for a configuration, or a complete network if more than a classifier follows res5.
"""
