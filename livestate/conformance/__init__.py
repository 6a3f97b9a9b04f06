"""Which promise breaks at a URL: a black-box suite for servers, proxies and clients."""
