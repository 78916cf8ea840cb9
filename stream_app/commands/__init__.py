"""One module per command of ``stream-app``; ``cli.py`` parses, and imports only the one that is asked for."""
