"""Some people are held aside to choose by, and nobody who is judged is among them."""

from pathlib import Path

from fpenet.data.crops.store import hold_aside, open_crops


def test_people_of_train_are_held_aside_and_nobody_else_is_watched(dots_dir: Path) -> None:
    store = open_crops(dots_dir)
    held = hold_aside(store, 0.3, 35)
    train, aside = (set(held.subjects(held.rows(part))) for part in ("train", "val"))
    assert train | aside == set(store.subjects(store.rows("train")))
    assert not train & aside
    assert 4 <= len(aside) <= 20  # 12 of 40 expected
    assert not (train | aside) & set(store.subjects(store.rows("val")))
    assert len(held.rows("unused")) == 8
    assert len(held.tight_faces().images) == 0
    assert list(hold_aside(store, 0.3, 35).rows("val")) == list(held.rows("val"))
    assert list(hold_aside(store, 0.3, 36).rows("val")) != list(held.rows("val"))
    assert list(store.rows("val")) == list(range(40, 48))  # the store itself is as it was
