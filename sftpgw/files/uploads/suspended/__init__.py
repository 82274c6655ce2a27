"""Uploads whose client vanished, suspended until it resumes them."""
