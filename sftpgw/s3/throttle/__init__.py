"""How many requests a store gets at once."""
