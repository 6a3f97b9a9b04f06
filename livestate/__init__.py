"""livestate: event-sourced live-call state. One folder a household; CONTRIBUTING names them."""
