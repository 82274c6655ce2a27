"""The time of the reactor's thread: who works next, and for how long in one reactor iteration."""
