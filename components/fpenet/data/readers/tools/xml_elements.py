"""Read label XML element by element, without document types and entities.

A document type is refused: its entities can grow to any size or name files. Limits: size of the
file and depth.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from fpenet.core.errors import InputError

_MOST_BYTES = 1 << 30
_MOST_DEPTH = 32
_CHUNK = 1 << 16


def xml_root(file: Path) -> str:
    """The name of the root element.

    Raises:
        InputError: not XML, or with a document type.
    """
    return next(_elements(file, frozenset()))[0]


def xml_elements(file: Path, names: Collection[str]) -> Iterator[tuple[int, Element]]:
    """Line and content of each outermost element with one of the ``names``, in order.

    Raises:
        InputError: not XML, with a document type, too large or nested too deeply; the message names
            the file and the line.
    """
    for _, line, element in _elements(file, frozenset(names)):
        if element is not None:
            yield line, element


def _elements(file: Path, names: frozenset[str]) -> Iterator[tuple[str, int, Element | None]]:
    """The root's name and None, then (name, line, element) of each element of ``names``."""
    size = file.stat().st_size
    if size > _MOST_BYTES:
        raise InputError(f"{file}: {size >> 20} MiB; label XML may have {_MOST_BYTES >> 20} MiB")
    parser = expat.ParserCreate()
    ready: list[tuple[str, int, Element | None]] = []
    open_names: list[str] = []
    builder: TreeBuilder | None = None
    first = (0, 0)  # line and depth of the element that is being built

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal builder, first
        if not open_names:
            ready.append((name, parser.CurrentLineNumber, None))
        open_names.append(name)
        if len(open_names) > _MOST_DEPTH:
            raise InputError(f"{file}, line {parser.CurrentLineNumber}: nested too deeply")
        if builder is None and name in names:
            builder, first = TreeBuilder(), (parser.CurrentLineNumber, len(open_names))
        if builder is not None:
            builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal builder
        if builder is not None:
            element = builder.end(name)
            if len(open_names) == first[1]:
                ready.append((name, first[0], element))
                builder = None
        open_names.pop()

    def data(text: str) -> None:
        if builder is not None:
            builder.data(text)

    def refuse(*_: object) -> None:
        raise InputError(
            f"{file}, line {parser.CurrentLineNumber}: declares a document type (DOCTYPE), which"
            " labels do not need; remove it"
        )

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = data, refuse
    with file.open("rb") as opened:
        while True:
            chunk = opened.read(_CHUNK)
            try:
                parser.Parse(chunk, not chunk)
            except expat.ExpatError as error:
                problem = expat.ErrorString(error.code)
                raise InputError(f"{file}, line {error.lineno}: not XML: {problem}") from None
            yield from ready
            ready.clear()
            if not chunk:
                return
