"""The report says what the evidence says, is one file, and draws points where they are."""

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpenet.data.crops.store import open_crops
from fpenet.kpi.report import SliceMetrics
from fpenet.kpi.slices.group_spread import GroupSpread
from fpenet.release.evidence import read_evidence
from fpenet.release.report.charts import draw_slices
from fpenet.release.report.faces import faces_lost, png_uri, show_face, worst_faces
from fpenet.release.report.page import Page
from fpenet.release.report.report import templates

VOID = {"meta", "br", "image", "circle", "path", "use", "rect", "img", "link", "input"}


class Parsed(HTMLParser):
    """Every element with its attributes, the ids, and the text of each section."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.sections: dict[str, str] = {"": ""}
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("h2", "section") and dict(attrs).get("id"):
            self.sections[str(dict(attrs)["id"])] = ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & set(self.open):
            self.sections[list(self.sections)[-1]] += data


@pytest.fixture(scope="session")
def page(report_dir: Path) -> Parsed:
    return Parsed((report_dir / "report.html").read_text())


def test_the_page_needs_nothing_but_itself(page: Parsed, report_dir: Path) -> None:
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        for name in ("href", "src", "xlink:href", "srcset", "poster"):
            target = attributes.get(name) or "data:"
            assert target.startswith("data:") or target.removeprefix("#") in ids, target
    text = (report_dir / "report.html").read_text()
    assert not re.search(r"@import|url\((?!#)", text)
    assert 'name="viewport" content="width=device-width' in text
    assert "@media print" in text


def test_the_verdict_comes_first_and_then_all_that_was_asked_for(page: Parsed) -> None:
    kpi, curves = "kpi", ("curves", "slices", "robustness")
    judged = ("parity", "engines", "gate", "faces", "data", "gaps", "origin")
    assert list(page.sections) == ["", "verdict", kpi, *curves, *judged]


def test_a_refused_release_says_so_with_its_reasons(finished: dict[str, Path]) -> None:
    evidence = read_evidence(finished)
    template = templates().get_template("report.html.j2")
    refused = Page(evidence, ["eyes are <3 px> too bad"]).context(False)
    text = template.render(refused)
    assert "eyes are &lt;3 px&gt; too bad" in text
    assert "Refused" in Parsed(text).sections["verdict"]
    passed = Parsed(template.render(refused | {"reasons": []}))
    assert "it may be promoted" in passed.sections["verdict"]


def test_its_numbers_are_those_of_the_evidence(page: Parsed, finished: dict[str, Path]) -> None:
    kpi = json.loads((finished["evaluate"] / "kpi.json").read_text())
    theirs = json.loads((finished["gate"] / "champion/cpu.fp32.kpi.json").read_text())
    for region in kpi["regions"]:
        value = kpi["metrics"][f"tight/image_px/{region}"]
        ends = kpi["intervals"][f"tight/image_px/{region}"]
        if value is not None:
            said = f"{value:.2f} [{ends[0]:.2f}, {ends[1]:.2f}]"
            assert said in page.sections["kpi"], region
        assert f"{theirs['metrics'][f'tight/image_px/{region}'] or 0:.2f}" in page.sections["kpi"]
    assert {"6.10", "3.33", "2.96"} <= set(re.findall(r"\d\.\d\d", page.sections["kpi"]))
    assert "not comparable" in page.sections["kpi"]
    for row in json.loads((finished["build"] / "engines.json").read_text())["engines"]:
        assert row["target"] in page.sections["engines"]
        assert row["parity_px"] is None or f"{row['parity_px']:.2g}" in page.sections["engines"]
    for check in json.loads((finished["build"] / "parity.json").read_text())["checks"]:
        assert f"{check['mean_px']:.2g}" in page.sections["parity"]
    for one in kpi["slices"]:
        value = one["metrics"].get(f"nme_{kpi['normaliser']}/all")
        said = f"({one['num_faces']} of " if one["too_few"] else f"{100 * value:.2f} %"
        assert str(one["value"]) in page.sections["slices"]
        assert said in page.sections["slices"]
    assert re.search(r"occluded\s*1,000", page.sections["data"])
    assert re.search(r"unreadable\s*224", page.sections["data"])


def test_what_was_not_measured_is_said(page: Parsed) -> None:
    gaps = page.sections["gaps"]
    assert "Engines that did not run, pending: nano" in gaps
    assert "NVIDIA's KPI: it is defined" in gaps
    assert "Error by age, sex, ethnicity: not in the labels." in gaps
    assert "Check of the labels 'twins': only 10 faces." in gaps
    assert "balance" not in gaps


def test_what_leaves_the_machine_has_no_face_and_no_name_of_one(
    report_dir: Path, finished: dict[str, Path]
) -> None:
    published = report_dir / "published"
    text, here = (published / "report.html").read_text(), (report_dir / "report.html").read_text()
    store = open_crops(finished["crop"])
    faces = [png_uri(store.crops[row]) for row in store.rows("kpi")]
    assert [face in here for face in faces] == [True] * 4
    assert text.count("data:image") == here.count("data:image") - 5  # one is shown twice
    assert not re.search(r"\d\.png|subject \d", text)
    drawn = sorted(path.name for path in published.glob("*.png"))
    assert {"cumulative_error.png", "error_on_mean_face.png", "error_by_yaw.png"} <= set(drawn)
    for name in drawn:
        with Image.open(published / name) as picture:
            assert picture.width >= 500
            assert len(picture.getcolors(1 << 24) or ()) > 20


def test_points_are_drawn_on_the_pixels_that_they_mark(finished: dict[str, Path]) -> None:
    store = open_crops(finished["crop"])
    rows = store.rows("kpi")
    points = store.points_crop(rows).astype(np.float64) + 3.0
    face = show_face(store, 1, points, points - 3.0, np.array([np.nan, 0.1, 0.2, 0.3]), 0.05)
    with Image.open(io.BytesIO(base64.b64decode(face.image.partition(",")[2]))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), store.crops[rows[1]])
    edge = (112 - 80) / 2 + 0.5  # the centre of pixel (0, 0) of a picture is at (.5, .5) of an SVG
    expected = store.points_crop(rows)[1] + edge
    np.testing.assert_allclose(face.label, expected, atol=0.006)
    np.testing.assert_allclose(face.champion, expected, atol=0.006)
    np.testing.assert_allclose(face.ours, expected + 3.0, atol=0.006)
    assert (face.caption, face.error, face.change) == ("7.png, subject 7", 0.1, 0.05)


def test_faces_are_the_worst_and_those_where_most_was_lost(finished: dict[str, Path]) -> None:
    store = open_crops(finished["crop"])
    points = store.points_crop(store.rows("kpi")).astype(np.float64)
    ours, champion = np.array([0.3, np.nan, 0.1, 0.2]), np.array([0.4, 0.1, 0.05, 0.19])
    worst = worst_faces(store, points, ours, 2)
    assert [one.caption for one in worst] == ["6.png, subject 6", "9.png, subject 9"]
    lost = faces_lost(store, points, ours, points, champion, 3)
    assert [one.caption for one in lost] == ["8.png, subject 8", "9.png, subject 9"]
    assert [one.change for one in lost] == pytest.approx([0.05, 0.01])


def test_the_only_face_that_the_champion_did_better_on_is_shown(finished: dict[str, Path]) -> None:
    worst, lost = Page(read_evidence(finished), []).faces()
    assert len(worst) == 4
    assert [one.error for one in worst] == sorted((one.error for one in worst), reverse=True)
    assert [one.caption for one in lost] == ["8.png, subject 8"]
    assert lost[0].error == pytest.approx(lost[0].change)
    np.testing.assert_allclose(lost[0].champion, lost[0].label, atol=0.01)


def test_a_chart_of_slices_shows_the_whole_marker_of_the_worst_one() -> None:
    rows = [
        SliceMetrics("side", name, 9, 9, {"nme/all": error}, {"nme/all": None}, too_few=None)
        for name, error in (("left", 0.60), ("right", 0.77))
    ]
    (axes,) = draw_slices(rows, "nme/all", ()).axes
    _, worst_px = axes.transData.transform((1, 77.0))
    marker_px = 5 / 2 * axes.figure.dpi / 72  # half of 5 points
    assert axes.bbox.y1 - worst_px > marker_px


def test_a_set_whose_slices_all_have_too_few_faces_has_a_report(finished: dict[str, Path]) -> None:
    evidence = read_evidence(finished)
    slices = tuple(
        replace(row, metrics={}, intervals={}, too_few="too few: 1 faces of 1 people")
        for row in evidence.kpi.slices
    )
    few = replace(evidence, kpi=replace(evidence.kpi, slices=slices))
    text = templates().get_template("report.html.j2").render(Page(few, []).context(False))
    section = Parsed(text).sections["slices"]
    assert "too few faces or subjects: 15 (2 of 2), 30 (2 of 2)" in " ".join(section.split())


def test_the_spread_between_groups_is_shown_with_its_interval_or_its_reason(
    finished: dict[str, Path],
) -> None:
    evidence = read_evidence(finished)
    template = templates().get_template("report.html.j2")
    none = Parsed(template.render(Page(evidence, []).context(False))).sections["slices"]
    assert "n/a: the labels have no attribute of the subjects." in none
    spreads = (
        GroupSpread("sex", 2, "female", "male", 1.254, (0.981, 1.502), None),
        GroupSpread("skin_tone", 1, None, None, None, None, "1 of 3 groups with enough faces"),
    )
    some = replace(evidence, kpi=replace(evidence.kpi, spreads=spreads))
    text = Parsed(template.render(Page(some, []).context(False))).sections["slices"]
    words = " ".join(re.sub(r"\s+", " ", text).split())
    assert "sex2femalemale1.25 [0.98, 1.50]" in words
    assert "skin tone1n/a: 1 of 3 groups with enough faces" in words
    gaps = Parsed(template.render(Page(some, []).context(False))).sections["gaps"]
    assert "Spread between groups by skin_tone: 1 of 3 groups with enough faces." in gaps


def test_a_number_by_the_distance_of_the_eyes_says_over_how_many_faces(
    page: Parsed, finished: dict[str, Path]
) -> None:
    kpi = json.loads((finished["evaluate"] / "kpi.json").read_text())
    value, faces = (kpi[key]["nme_interocular/all"] for key in ("metrics", "metric_faces"))
    text = " ".join(page.sections["kpi"].split())
    assert f"{100 * value:.2f} % over {faces} of 4 faces by the inter-ocular distance" in text
    assert "NME: error of a face divided by the square root of the face box's area" in text
