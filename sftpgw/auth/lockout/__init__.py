"""Keeps out those who guess passwords and codes: delays, then bans that expire."""
