"""The transfers of the process: which files are open, in which order CLOSEs publish, who waits."""
