"""Where users come from."""
