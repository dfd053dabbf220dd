"""Read checkpoints of other projects without running their code, convert them, and write weights for them."""
