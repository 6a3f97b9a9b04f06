"""``make bench``: what each stage of an event's way costs, and how that grows."""
