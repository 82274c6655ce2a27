"""The CPU time of the process: who works next, and for how long in one reactor iteration."""
