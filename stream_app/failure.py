"""What a program says when it cannot do its work. Stands beside the whole flow.

``Failure`` is for a person: its text is one sentence (or one line per thing) that names what is
wrong and how to mend it. The command line prints it and exits with 1; a wrong setting is a
``SettingsError`` (exit 2) instead.
"""

from __future__ import annotations


class Failure(Exception):
    """Something outside the program is not as it must be; the text names the mend."""


class Unreachable(Failure):
    """A server gives no answer, or none we can use; trying again later may help."""
