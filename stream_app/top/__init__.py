"""``stream-app top``: what Redis holds, in a terminal. Stands behind the flow, where a dashboard would."""
