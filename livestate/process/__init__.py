"""This process: its clock, tasks, log, event loop and service manager. Everything may use it."""
