"""The event contract: what nodes say on NATS, parsed and checked. Nothing here waits."""
