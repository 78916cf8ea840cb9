"""Who opened or clicked, as far as the event itself tells: a person, a machine, or nobody can say.

Stands beside decoding; pure. The sender's own ``machine`` flag decides; where it says nothing, the user agent may
give a machine away (``agents.py``). What only the time of a click tells is judged with what is remembered of the
customer, in ``state/clicks.py``. An indicator is one reason for a verdict; a click bears them as bits.
"""

from __future__ import annotations

from typing import Final

from stream_app.ingest.agents import is_machine_agent
from stream_app.ingest.events import EmailClicked, EmailOpened

PERSON: Final = 1
"""The sender says that a person did it. Nothing else is looked at."""
FLAG: Final = 2
"""The sender says that a machine did it. Nothing else is looked at."""
AGENT: Final = 4
"""The user agent is a machine's."""
HASTE: Final = 8
"""A click sooner after its delivery, or before it, than a person is able to."""
BURST: Final = 16
"""A click among many different links of one mail within a second."""


def told_by(event: EmailOpened | EmailClicked) -> int:
    """The indicators that an event bears itself: ``PERSON``, ``FLAG``, ``AGENT`` or none."""
    if event.machine is not None:
        return FLAG if event.machine else PERSON
    agent = event.user_agent
    return AGENT if agent and is_machine_agent(agent) else 0
