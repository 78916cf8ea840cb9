"""What the programs serve at ``/metrics``, in Prometheus's text format. Beside the flow.

``families.py`` says as data what there is; the docs, the rules and the dashboards rest on it.
"""
