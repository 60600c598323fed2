"""Label Studio's JSON_MIN export: one record for each annotation, its regions below their tags.

It has no ids of regions: a hidden point and the parent of a point are not in it.
"""

from collections.abc import Mapping
from typing import Any

_LABEL_KEYS = ("keypointlabels", "rectanglelabels", "labels")


def is_json_min(record: Any) -> bool:
    """Whether a record is one of JSON_MIN: its regions are below the names of the tags."""
    if not isinstance(record, Mapping) or "annotations" in record:
        return False
    return "annotation_id" in record or any(map(_regions, record.values()))


def _regions(value: Any) -> bool:
    return isinstance(value, list) and any(
        isinstance(item, Mapping) and "original_width" in item for item in value
    )


def task_of_json_min(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of JSON_MIN as a task."""
    results: list[Any] = []
    for value in record.values():
        if _regions(value):
            for item in value:
                kind = next((key for key in _LABEL_KEYS if key in item), None)
                results.append({**item, "type": kind, "value": item})
    level = record.get("occlusion")
    if level is not None:
        chosen = level.get("choices") if isinstance(level, Mapping) else level
        results.append({"type": "choices", "value": {"choices": chosen}})
    annotation = {"result": results, "completed_by": record.get("annotator")}
    return {"data": record, "annotations": [annotation]}
