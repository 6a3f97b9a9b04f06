"""Alarms of the service: rules on figures, what they read, and which alarms are raised."""
