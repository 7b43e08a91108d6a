"""What raw folders hold: data files, and what the vendor put beside them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, RequestError
from pipeline.ingest.bytestream import DAMAGED
from pipeline.ingest.symbology import read_json_object

DATA_SUFFIXES = (".dbn", ".dbn.zst")
REFUSED_SUFFIXES = (".dbz", ".frag", ".frag.zst", ".dbn.gz", ".dbn.part")
"""Files that are meant to be data and cannot be used: reported, never passed over."""

_JSON_FILES = ("manifest.json", "condition.json", "symbology.json", "metadata.json")


@dataclass(frozen=True)
class ManifestEntry:
    """What the batch job says about one of its files."""

    size: int | None
    sha256: str | None


@dataclass
class Folder:
    """The vendor's own files about the data files of a folder; each is optional."""

    path: Path
    manifest: dict[str, ManifestEntry] | None = None
    conditions: dict[str, str] = field(default_factory=dict)
    """ISO date -> available, degraded, pending or missing."""
    symbology: Path | None = None
    query: dict[str, Any] = field(default_factory=dict)
    """The query of ``metadata.json``."""
    faults: list[tuple[Path, InputError]] = field(default_factory=list)
    """Files that could not be understood."""

    def check(self, path: Path, sha256: str) -> None:
        """Compare a file with the manifest, if that lists it.

        Raises
        ------
        InputError
            If size or hash differ.
        """
        entry = (self.manifest or {}).get(path.name)
        if entry is None:
            return
        size = path.stat().st_size
        if entry.size is not None and entry.size != size:
            what = f"has {size:,} bytes, its manifest says {entry.size:,}"
            raise InputError.at(path, what, todo=DAMAGED)
        if entry.sha256 is not None and entry.sha256 != sha256:
            what = f"has the sha256 {sha256[:12]}..., its manifest says {entry.sha256[:12]}..."
            raise InputError.at(path, what, todo=DAMAGED)

    def absent(self) -> list[str]:
        """Data files the manifest lists and the folder does not hold."""
        names = (name for name in self.manifest or {} if name.endswith(DATA_SUFFIXES))
        return sorted(name for name in names if not (self.path / name).exists())


def find_files(roots: Sequence[Path]) -> list[Path]:
    """All data files below the roots (files or folders), sorted, each once.

    Raises
    ------
    RequestError
        If a root does not exist.
    """
    found: dict[Path, Path] = {}
    for root in roots:
        if not root.exists():
            raise RequestError.missing_path(root)
        for path in [root] if root.is_file() else _walk(root):
            found.setdefault(path.resolve(), path)
    return sorted(found.values())


def _walk(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root, followlinks=True):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in files:
            if name.endswith(DATA_SUFFIXES + REFUSED_SUFFIXES) and not name.startswith("."):
                yield Path(folder, name)


def read_folders(files: Iterable[Path]) -> dict[Path, Folder]:
    """The vendor's files beside the data files, by folder."""
    return {path: read_folder(path) for path in sorted({file.parent for file in files})}


def read_folder(path: Path) -> Folder:
    """What one folder holds besides data; what cannot be understood is in ``faults``."""
    folder = Folder(path)
    for name in _JSON_FILES:
        place = path / name
        if not place.is_file():
            continue
        try:
            tree = read_json_object(place)
            try:
                _take(folder, name, place, tree)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise InputError.at(
                    place,
                    f"is not of the vendor's form ({error!r})",
                    todo="download it again, or remove it",
                ) from None
        except InputError as error:
            folder.faults.append((place, error))
    return folder


def _take(folder: Folder, name: str, place: Path, tree: Any) -> None:
    if name == "manifest.json":
        folder.manifest = {
            str(item["filename"]): ManifestEntry(
                None if item.get("size") is None else int(item["size"]), _sha256(item.get("hash"))
            )
            for item in tree["files"]
        }
    elif name == "condition.json":
        items = tree["result"] if isinstance(tree, dict) else tree
        folder.conditions = {str(item["date"]): str(item["condition"]) for item in items}
    elif name == "symbology.json":
        tree["result"].items()
        folder.symbology = place
    else:
        folder.query = dict(tree["query"])


def _sha256(text: str | None) -> str | None:
    """The digest of ``sha256:<hex>``; other algorithms are not checked."""
    if text is None:
        return None
    algorithm, _, digest = text.partition(":")
    return digest.lower() if algorithm == "sha256" and digest else None
