"""What DVC itself says of a project: where its cache is, and which files it ignores.

Only DVC's configuration and .dvcignore files are read; its database of hashes is not, because it
trusts the time and size of a file.
"""

import os
import re
from functools import lru_cache
from pathlib import Path

_OBJECT = re.compile(r"(files/md5/)?[0-9a-f]{2}/[0-9a-f]{30}")


def project_of(path: Path) -> Path | None:
    """The DVC project that ``path`` is in, the nearest folder with a folder ``.dvc``; or None."""
    return next((each for each in (path, *path.parents) if (each / ".dvc").is_dir()), None)


@lru_cache(maxsize=16)
def cache_of(project: Path) -> Path:
    """The folder of the project's cache: ``.dvc/cache``, or ``cache.dir`` of DVC's settings."""
    try:
        from dvc.config import Config
    except ImportError:  # the light install
        return project / ".dvc/cache"
    folder = Config(str(project / ".dvc")).get("cache", {}).get("dir")
    return Path(project / ".dvc", folder) if folder else project / ".dvc/cache"


def cached_object(project: Path, md5: str) -> Path:
    """The place of a file, or of the list of a folder (``.dir``), in the project's cache."""
    return cache_of(project) / "files/md5" / md5[:2] / md5[2:]


def is_cached_object(root: str, target: str) -> bool:
    """Whether ``target`` is a file in the cache of the DVC project that ``root`` is in.

    DVC checks out links to it where ``cache.type`` is symlink.

    Args:
        root, target: real paths.
    """
    project = project_of(Path(root))
    if project is None:
        return False
    cache = os.path.realpath(cache_of(project))
    return target.startswith(cache + "/") and bool(_OBJECT.fullmatch(target[len(cache) + 1 :]))


def files_not_ignored(project: Path, folder: Path) -> list[Path]:
    """The files below ``folder`` that DVC would add, sorted: without those of .dvcignore files."""
    from dvc.fs import localfs
    from dvc.ignore import DvcIgnoreFilter

    ignore = DvcIgnoreFilter(localfs, str(project))
    return sorted(Path(path) for path in ignore.find(localfs, str(folder)))
