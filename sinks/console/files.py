"""Shell: the page's files, read from the package once."""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
#: Paths of pages, besides the files' own names.
_PAGES = {"/": "/index.html", "/docs": "/docs.html"}


class File(NamedTuple):
    """A file as it is sent; tag: its ETag."""

    media: str
    body: bytes
    packed: bytes
    tag: str


def load() -> dict[str, File]:
    """Path -> file."""
    found: dict[str, File] = {}
    _walk(files("sinks.console").joinpath("static"), "/", found)
    return found | {path: found[name] for path, name in _PAGES.items()}


def _walk(folder: Traversable, prefix: str, found: dict[str, File]) -> None:
    for one in folder.iterdir():
        suffix = "." + one.name.rpartition(".")[2]
        if one.is_dir():
            _walk(one, f"{prefix}{one.name}/", found)
        elif suffix in _TYPES:
            body = one.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
            found[prefix + one.name] = File(_TYPES[suffix], body, gzip.compress(body, 6, mtime=0), tag)
