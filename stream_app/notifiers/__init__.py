"""Delivery of alerts to people: what stands on the alert topics, told to Alertmanager, PagerDuty, Slack, webhooks.

Stands behind the alert topics, in a program of its own (``stream-app notify``), so that counting never waits for
anybody's web server. The way of a change of an alert: ``feed`` reads it, ``follow`` decides whether the target is told,
``backlog`` holds it until its turn, a service (``alertmanager``, ``pagerduty``, ``slack``, ``webhook``, ``apprise``) words it,
``post`` sends it, and ``target`` runs all that for one target.
"""
