"""From a SIP node's own frames to the contract. Nothing here waits."""
