"""A load test that says when it cannot be believed. ``make loadtest``; see ``docs/loadtest.md``.

``tale`` what a call carries so that a client can check it · ``publish`` the traffic · ``wire`` HTTP
without waiting · ``watcher`` one stream, folded and checked · ``ledger`` what a worker counts ·
``users``, ``pressure`` and ``shapes`` for Locust · ``verdict`` the objectives · ``run`` it all in
one command · ``planted`` the test of the test · ``plot`` latency against clients.

Only ``users``, ``pressure`` and ``locustfile`` touch gevent, in a process of their own.
"""
