"""From stored frames to the network's input: which frames, which pixels, in which order."""
