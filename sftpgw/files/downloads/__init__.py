"""Downloads: from ranged GETs to the READs of a client."""
