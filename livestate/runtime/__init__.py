"""What waits: NATS, Redis, the clock and the clients. The pure parts are one level up."""
