"""What is stored at places, and what still fits: pure decisions, without I/O."""
