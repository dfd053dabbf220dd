"""The networks, to read upwards: operations, attention, blocks, resnet, difference, pyramid, heads, network, tdpn.

`baselines` has the other families, a short file each; `registry` builds any of them from its configuration.
"""
