"""How good the churn score is on real histories; ``python -m benchmarks.churn`` runs it."""
