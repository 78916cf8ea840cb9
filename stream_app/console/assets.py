"""The page's files: our own beside this module, and the charts' library out of its installed package.

Read once at the start and kept in memory, plain and compressed; only what is named here can be asked for. Nothing is
loaded from the internet, and no third-party file is part of this repository.
"""

from __future__ import annotations

import gzip
import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from stream_app.failure import Failure

_STATIC = Path(__file__).with_name("static")
_CHARTS = "charts.js"
_CHARTS_FILE = Path("django", "static", "chartkick", "Chart.bundle.js")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """A file as it is served."""

    content: bytes
    compressed: bytes
    content_type: str
    tag: str
    """Differs where the content does (an HTTP ETag)."""


def load_assets() -> dict[str, Asset]:
    """All files of the page, by name.

    Raises:
        Failure: the charts' library is not installed.
    """
    files = {path.name: path for path in _STATIC.iterdir() if path.suffix in _TYPES}
    files[_CHARTS] = _charts()
    return {name: _asset(path) for name, path in files.items()}


def _charts() -> Path:
    """Chart.js, as the wheel `chartkick` installs it; found without running that package."""
    package = find_spec("chartkick")
    for place in package.submodule_search_locations or () if package else ():
        path = Path(place, _CHARTS_FILE)
        if path.is_file():
            return path
    raise Failure(
        "the charts' library is not installed: `pip install chartkick`, or `make setup` in a checkout"
    )


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    tag = hashlib.sha256(content).hexdigest()[:16]
    return Asset(content, gzip.compress(content, 9, mtime=0), _TYPES[path.suffix], f'"{tag}"')
