"""The networks, to read upwards: operations, attention, blocks, resnet, difference, pyramid, heads, tdpn, factory."""
