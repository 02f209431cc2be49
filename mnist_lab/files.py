"""The repository's files: where they lie, and that they are written whole or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock

from mnist_lab.validation import UserError


def project_root() -> Path:
    """The repository that the current folder lies in, or the current folder outside of one."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "mnist_lab" / "data.py").exists() and (folder / "notebooks").is_dir():
            return folder
    return here


class WriteError(UserError, OSError):
    """A file cannot be written; the message says which, why, and what to do."""

    def __init__(self, path: str | os.PathLike, reason: str):
        remedy = "make room for it or make it writable, then try again."
        super().__init__(f"{path} cannot be written ({reason}): {remedy}")


def folder_lock(folder: Path, **options) -> FileLock:
    """A lock for a folder, with `FileLock`'s options. Its file lies elsewhere and stays: another
    process may hold one that was deleted, while a third locks its successor."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:32]
    # Whoever comes second to a folder that several share must be able to open the same file.
    return FileLock(Path(tempfile.gettempdir()) / f"mnist-lab-{name}.lock", mode=0o666, **options)


def read_text(path: Path) -> str:
    """A file's text. Raises `UserError` for one that is missing, or no text in UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} cannot be read ({reason}).") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises `UserError` for one that is missing, cut short or damaged."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} cannot be read ({error}): restore it or make it anew.") from error


def write_file(path: Path, content: str | bytes) -> None:
    write_files({path: content})


def write_files(files: Mapping[Path, str | bytes]) -> None:
    """Write all of the files or none; a reader finds an old one or a new one, never half of it.

    A text becomes UTF-8 with the line ends it has; missing folders are made. What can hinder it, a
    full disk or a protected file or folder, is found before the first is replaced. Raises
    `WriteError` for the first that cannot be written.
    """
    with ExitStack() as clean_up:
        partials = {}
        try:
            for path, content in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                # In the same folder, for only there is a rename sure to be one step; tempfile's
                # would be the user's alone.
                partials[path] = partial = path.with_name(f".partial-{uuid4().hex}")
                clean_up.callback(partial.unlink, missing_ok=True)
                partial.write_bytes(content.encode() if isinstance(content, str) else content)
                if path.exists():
                    path.open("r+b").close()  # a rename asks the folder only, or fails too late
                    shutil.copymode(path, partial)
            for path, partial in partials.items():
                os.replace(partial, path)
        except OSError as error:
            raise WriteError(path, error.strerror) from error
