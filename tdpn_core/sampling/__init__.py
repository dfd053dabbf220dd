"""Turn stored frames into network input: frame selection, crops, augmentation, order of the clips."""
