"""A load test that says when it cannot be believed. ``make loadtest``; see ``docs/loadtest.md``.

What is measured: ``tale`` what a call carries so that a client can check it · ``publish`` the
traffic · ``profiles`` what load, and what it must reach.

The loader: ``wire`` HTTP without waiting · ``watcher`` one stream, folded and checked · ``ledger``
what a worker counts · ``reader`` a socket in gevent's loop · ``client``, ``users`` who looks ·
``loader`` what they share · ``pressure`` how hard pressed it is · ``shapes`` how many when ·
``locustfile`` all that for Locust.

The run: ``run`` it all in one command · ``machine`` what else it does · ``outcome``, ``verdict``
the numbers, judged · ``report``, ``record`` as text and picture · ``planted``, ``proof`` the test
of the test.

gevent is in the loader only, a process of its own.
"""
