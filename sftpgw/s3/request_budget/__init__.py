"""How many requests the process has under way, and whose is next."""
