"""The public contract as files: JSON Schemas, the AsyncAPI document and the reference pages.

Stands beside the flow and is part of no program: ``python -m stream_app.schemas`` writes what the
code says into ``schemas/`` and ``docs/reference/``, ``--check`` says where the files differ from it.
Nothing in those two folders is written by hand.

``fields``    what is said in words: the meaning of each field and topic, and example values
``events``    one JSON Schema per event type, from the msgspec structs
``snapshots`` the JSON Schema of a snapshot, from the catalogue
``alerts``    the JSON Schema of an alert; the headers of alerts and dead letters
``asyncapi``  one AsyncAPI document of all topics, in and out
``markdown``  the pages on metrics, settings and topics
``files``     all of it as texts by path; written or compared
"""
