"""Rules on trial: over recorded events as a worker would have judged them, and over series made up for a test."""
