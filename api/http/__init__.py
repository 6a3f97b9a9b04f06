"""HTTP below the application: connections, request heads, addresses, errors."""
