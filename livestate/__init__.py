"""livestate: event-sourced live-call state. Nothing directly in this package waits."""
