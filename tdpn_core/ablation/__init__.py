"""A grid of settings, each an ordinary run: trained, evaluated, compared clip by clip with the first."""
