"""A shard's memory: objects by key, kept as bytes, decoded only while they are worked on.

Stands under all state. Every object has a key of one kind letter, a colon and a name, such as
``u:customer-7``. Bytes at rest are small and quick to journal, and lie in slices (``slices.py``); the objects in
use are kept decoded ("hot") until the next time they are written down.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from stream_app.state.slices import MemorySlices, Slices

_HOT_LIMIT = 20_000

Value = TypeVar("Value")

_encode = msgspec.msgpack.Encoder().encode


class Shelf:
    """All objects of one shard, as bytes in slices, with the hot ones decoded beside them."""

    def __init__(self, slices: Slices | None = None) -> None:
        """An empty shelf; its bytes at rest lie in memory unless slices are given."""
        self.slices: Slices = MemorySlices() if slices is None else slices
        self.at_rest = self.slices.get
        """The bytes of an object as they were last written down."""
        self.hot: dict[str, Any] = {}
        self._changed: set[str] = set()

    def changed(self, key: str, value: Any) -> None:
        """Put an object, or say that a hot one was changed in place."""
        self.hot[key] = value
        self._changed.add(key)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self.hot.pop(key, None)
        self._changed.add(key)

    def write_down(self) -> list[tuple[str, bytes | None]]:
        """Encode what changed since the last call; returns the new bytes, None for what is gone."""
        hot = self.hot
        changes = [(key, _encode(hot[key]) if key in hot else None) for key in self._changed]
        self.slices.write(changes)
        self._changed.clear()
        if len(hot) > _HOT_LIMIT:
            hot.clear()
        return changes

    def has_changes(self) -> bool:
        """Whether anything changed since the last ``write_down``."""
        return bool(self._changed)

    def is_clean(self, key: str) -> bool:
        """Whether an object is unchanged since it was last written down."""
        return key not in self._changed

    def drop_hot(self) -> None:
        """Forget what was not written down, as after losing the shard."""
        self.hot.clear()
        self._changed.clear()


class Drawer(Generic[Value]):
    """The objects of one kind on a shelf, typed; names are keys without the kind letter."""

    def __init__(self, shelf: Shelf, kind: str, value_type: type[Value]) -> None:
        self._shelf = shelf
        self._kind = kind
        self._decode = msgspec.msgpack.Decoder(value_type).decode

    def get(self, name: str) -> Value | None:
        """The object of a name, if there is one; after changing it, say so with ``put``."""
        key = self._kind + name
        shelf = self._shelf
        value = shelf.hot.get(key)
        if value is None and shelf.is_clean(key):
            data = shelf.at_rest(key)
            if data is not None:
                value = shelf.hot[key] = self._decode(data)
        return value

    def peek(self, name: str) -> Value | None:
        """As ``get``, where most are only looked at: one at rest is decoded for the caller alone, and is kept by ``put``."""
        key = self._kind + name
        if not self._shelf.is_clean(key):
            return self._shelf.hot.get(key)
        data = self._shelf.at_rest(key)
        return None if data is None else self._decode(data)

    def put(self, name: str, value: Value) -> None:
        """Set the object of a name."""
        self._shelf.changed(self._kind + name, value)

    def delete(self, name: str) -> None:
        """Remove the object of a name."""
        self._shelf.delete(self._kind + name)

    def decode(self, data: bytes) -> Value:
        """An object from its bytes at rest."""
        return self._decode(data)

    def items(self) -> Iterator[tuple[str, Value]]:
        """Names and objects at rest, decoded; for recovery."""
        skip = len(self._kind)
        for key, data in self._shelf.slices.items(self._kind):
            yield key[skip:], self._decode(data)
