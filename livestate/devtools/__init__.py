"""Devtools: real servers as child processes, simulated and replayed nodes, captures."""
