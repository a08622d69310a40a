"""The command line: options and printing; every command calls one function of :mod:`study.runs`."""
