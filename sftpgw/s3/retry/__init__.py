"""Whether a request is sent again."""
