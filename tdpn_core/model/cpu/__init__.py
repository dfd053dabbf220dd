"""Faster execution of finished networks on a processor, applied from outside: layouts, packed weights, folding."""
