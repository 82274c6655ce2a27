"""What an upload does next: pure decisions, without I/O."""
