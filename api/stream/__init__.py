"""The live stream and its snapshots: admission, encoding, end."""
