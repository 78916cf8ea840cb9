"""Where results go: the topics out and Redis."""
