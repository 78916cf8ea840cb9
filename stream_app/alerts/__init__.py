"""Rules over the merged numbers, the life of an alert, and the churn score."""
