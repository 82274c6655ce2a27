"""What the gateway tells its operators.

Knows: the shape of events, and where they are shown.
Must not know: what the events mean, or who tells them.
"""
