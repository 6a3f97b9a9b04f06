"""The connection to NATS, for the service, the bridge and the commands."""
