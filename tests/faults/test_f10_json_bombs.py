from collections.abc import Callable
from pathlib import Path

import pytest

from fpenet.data.readers import read_labels
from fpenet.data.readers.labelled_set import LabelledSet
from fpenet.params import Params
from tests.conftest import TinyLabels

ReadText = Callable[[bytes], LabelledSet]


@pytest.fixture
def read_text(tmp_path: Path, params_with: Callable[..., Params]) -> ReadText:
    def read(content: bytes) -> LabelledSet:
        folder = tmp_path / "faces"
        folder.mkdir(exist_ok=True)
        (folder / "labels.json").write_bytes(content)
        return read_labels(folder, params_with().data)

    return read


def test_f10_deep_nesting_is_a_clear_error(read_text: ReadText) -> None:
    with pytest.raises(ValueError, match=r"labels\.json: record 1 is nested too deeply"):
        read_text(b"[" * 1_000_000)
    with pytest.raises(ValueError, match=r"labels\.json: record 1 is nested too deeply"):
        read_text(b'[{"a":' + b'{"a":' * 1_000_000)


def test_f10_an_integer_of_many_digits_is_a_clear_error(read_text: ReadText) -> None:
    with pytest.raises(ValueError, match=r"labels\.json: record 1: Exceeds the limit"):
        read_text(b'[{"filename": "a.png", "annotations": [{"P1x": ' + b"9" * 1_000_000 + b"}]}]")


def test_f10_a_byte_order_mark_is_read_over(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    path = tiny_labels.write() / "labels.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_labels(tiny_labels.folder, params_with().data).samples) == 20


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_f10_another_encoding_is_a_clear_error(read_text: ReadText, encoding: str) -> None:
    with pytest.raises(ValueError, match=r"labels\.json: not UTF-8 at byte \d"):
        read_text('[{"filename": "é.png"}]'.encode(encoding))


def test_f10_a_key_given_twice_rejects_its_record_only(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    path = tiny_labels.write() / "labels.json"
    path.write_text(path.read_text().replace('"class": "image"', '"class": 1, "class": 2', 1))
    labelled = read_labels(tiny_labels.folder, params_with().data)
    assert [one.detail for one in labelled.rejected] == [
        "labels.json, record 1: key 'class' is repeated"
    ]
    assert len(labelled.samples) == 19


def test_f10_a_key_given_twice_in_dataset_json_is_a_clear_error(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    folder = tiny_labels.write()
    (folder / "dataset.json").write_text('{"name": "a", "name": "b"}')
    with pytest.raises(ValueError, match=r"dataset\.json: key 'name' is repeated"):
        read_labels(folder, params_with().data)
