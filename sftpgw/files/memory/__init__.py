"""The memory budget of the process: reservations, queues and stall timeouts."""
