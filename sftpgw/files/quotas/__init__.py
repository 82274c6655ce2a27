"""Quotas: how much may be stored at a place, how much is, and how gateways agree about that."""
