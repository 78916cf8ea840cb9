"""Programs that the bench starts as processes of their own; some need packages that the project does not have."""
