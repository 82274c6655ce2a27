"""Values and interfaces that the layers exchange, by topic: a Protocol beside its data."""
