"""The console: a live web page about everything the workers tell. Reads Redis, serves browsers; beside the flow.

``reading.py`` reads Redis for all viewers, the numbers once a second and alerts at once, ``numbers.py`` makes of it what a
page shows, ``history.py`` remembers it for the curves, ``hub.py`` tells every viewer what has changed, ``server.py`` serves
it behind ``access.py``, and ``static/`` is the page itself. See docs/decisions/0014-console.md.
"""
