"""SHA256SUMS of a bundle: written last, checked before anything in the bundle is parsed."""

from pathlib import Path

from components.provenance.digest import digest_file, files_of

SUMS = "SHA256SUMS"


def write_sums(folder: Path) -> None:
    """List every file of ``folder``, as ``sha256sum -c`` reads it."""
    lines = [
        f"{digest_file(path)}  {path.relative_to(folder).as_posix()}\n" for path in files_of(folder)
    ]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def check_sums(folder: Path) -> set[str]:
    """The files that the sums list, all of which are as they were written.

    Raises:
        ValueError: there are no sums, or naming the first file that is missing or changed.
    """
    path = folder / SUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise ValueError(f"{path}: missing; {folder} is not a bundle") from None
    listed: set[str] = set()
    for number, line in enumerate(lines, start=1):
        digest, space, name = line.partition("  ")
        inside = (folder / name).resolve().is_relative_to(folder.resolve())
        if not (space and len(digest) == 64 and name and inside):
            raise ValueError(f"{path}, line {number}: not a digest and a file of this folder")
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name}: missing; {SUMS} lists it")
        if digest_file(folder / name) != digest:
            raise ValueError(f"{folder / name}: is not the file that {SUMS} lists")
        listed.add(name)
    return listed
