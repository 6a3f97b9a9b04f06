"""A load test that reports when its own result cannot be trusted. ``make loadtest``.

``docs/loadtest.md`` describes how to use it and how to read the report.

- What is measured: ``event_trace`` (the schedule that each call carries, so that clients can verify
  it), ``publish`` (the traffic), ``profiles`` (loads and objectives).
- The loader, the only processes that use gevent: ``wire`` (HTTP without blocking), ``watcher`` (one
  stream, folded and verified), ``metrics`` (what a worker counts), ``reader`` (a socket in gevent's
  loop), ``client`` and ``users`` (kinds of users), ``logins`` (their tokens), ``loader`` (what they
  share), ``loader_health`` (its CPU and lag), ``shapes`` (how many users when), ``locustfile`` (all
  of it for Locust).
- The run: ``run`` (with servers of its own) or ``given`` (of a service that runs already), with
  ``children`` (publisher and Locust) and ``measuring``; ``machine`` (other load), ``outcome`` and
  ``verdict`` (judgement), ``report`` and ``record`` (text and picture), ``fault_proxy`` and
  ``self_test`` (planted faults).
"""
