"""The gateway's control socket: what an operator asks of a gateway that runs."""
