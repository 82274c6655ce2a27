"""What a download fetches next: pure decisions, without I/O."""
