"""SSH as an internet-facing gateway needs it, on Conch's classes.

Each module says which of Conch's behaviour it replaces, and why.
"""
