"""The order of keypoints that labels name by words (``left_eye``), not by numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import MAX_POINTS
from fpenet.data.readers.sidecar import scheme_file
from fpenet.data.rejected import Refusal
from fpenet.params.scheme import read_scheme

FIRST_USE = "first use"


@dataclass(slots=True)
class KeypointOrder:
    """Name -> number of a keypoint.

    Attributes:
        names: in label order; grows only if ``is_open``.
        origin: the scheme file, the tool's config, or ``FIRST_USE``.
        is_open: a new name is the next keypoint.
    """

    names: list[str]
    origin: str
    is_open: bool = False
    _numbers: dict[str, int] = field(default_factory=dict, repr=False)

    def index(self, name: object) -> int:
        """The 0-based keypoint of a name; of a number from 1 on where no name is that number.

        Raises:
            Refusal: an unknown name, or too many.
        """
        if len(self._numbers) != len(self.names):
            self._numbers = {name: k for k, name in enumerate(self.names)}
        text = str(name).strip() if isinstance(name, str | int) else ""
        if text in self._numbers:
            return self._numbers[text]
        if text.isascii() and text.isdigit() and len(text) < 10:
            limit = len(self.names) if self.names else MAX_POINTS
            if not 1 <= int(text) <= limit:
                raise Refusal(
                    "keypoint number", f"{text}: keypoints are numbered from 1 to {limit}"
                )
            return int(text) - 1
        if not text or not self.is_open:
            known = ", ".join(self.names[:6]) + (", ..." if len(self.names) > 6 else "")
            raise Refusal("keypoint name", f"{name!r} is no keypoint of {self.origin}: {known}")
        if len(self.names) == MAX_POINTS:
            raise Refusal("keypoint name", f"{name!r}: more than {MAX_POINTS} names")
        self.names.append(text)
        self._numbers[text] = len(self.names) - 1
        return self._numbers[text]


def keypoint_order(
    source: LabelSource, config: Sequence[str] = (), config_name: str = "the labels' config"
) -> KeypointOrder:
    """The order of the set's names: of its scheme file, else ``config``, else of first use.

    Args:
        config: names in the order of the tool's own config, e.g. a labelling config or a category.
        config_name: where ``config`` is from, for messages and the set's origins.

    Raises:
        InputError: the scheme file is no scheme.
    """
    path = scheme_file(source)
    if path is not None:
        names = [keypoint.name for keypoint in read_scheme(path).keypoints]
        order = KeypointOrder(names, path.name)
    elif config:
        order = KeypointOrder(list(config), config_name)
    else:
        order = KeypointOrder([], FIRST_USE, is_open=True)
    source.names_from, source.keypoint_names = order.origin, order.names
    return order
