"""The crop and its inverse as ONNX, so that whoever has ONNX Runtime needs no Python of ours.

Output: ``preprocess.onnx`` (an image and face boxes to crops, by the rule of
``components.data.crop``), ``place.onnx`` (points of the crops to points of the image), and both
around a network, ``end_to_end.onnx``.

An anti-aliased resize is a triangle filter in each direction, so a crop is two matrix products:
filter of the rows x image x filter of the columns. What a filter reads beyond the image is the
image's edge, so the image is padded with its edge first. A crop farther outside shows nothing but
that edge wherever it lies, so it is moved to the edge, and the padding stays small.
"""

import numpy as np
from onnx import ModelProto, compose, helper, parser

from components.data.crop_store import CROP_PX
from components.deploy.network import opset_of, rebuilt
from components.deploy.onnx_file import (
    CONFIDENCE,
    INPUT,
    KEYPOINTS,
    KEYPOINTS_IMAGE,
    SQUARES,
)

# Grey is ITU-R 601 luma; one grey channel, repeated in three, is itself. Axis 1 of positions and
# sizes is y, then x.
_PREPROCESS = """
preprocess (uint8[H, W, C] image, float[N, 4] boxes)
    => (float[N, 1, CROP, CROP] input_face_images, float[N, 3] squares)
<
    float[3] luma = {0.114, 0.587, 0.299}, float scale = {SCALE}, float crop_px = {CROP.0},
    float[1, 1, CROP] places = {PLACES},
    float half = {0.5}, float one = {1.0}, float nought = {0.0},
    int64 zero = {0}, int64 unit = {1}, int64[1] second = {1}, int64[1] third = {2},
    int64[2] y_x = {1, 0}, int64[2] two_two = {2, 2}, int64[2] one_one = {1, 1}, int64[1] four = {4}
>
{
    levels = Cast <to = 1> (image)
    shares = Mul (levels, luma)
    luma_sum = ReduceSum <keepdims = 0> (shares, third)
    grey = Round (luma_sum)

    corner, size = Split <axis = 1> (boxes, two_two)
    half_size = Mul (size, half)
    center = Add (corner, half_size)
    size_x, size_y = Split <axis = 1> (size, one_one)
    longer = Max (size_x, size_y)
    side = Mul (longer, scale)
    squares = Concat <axis = 1> (center, side)

    step = Div (side, crop_px)
    step_all = Unsqueeze (step, second)
    reach = Max (step_all, one)
    offset = Mul (step_all, places)
    center_y_x = Gather <axis = 1> (center, y_x)
    center_all = Unsqueeze (center_y_x, third)
    wanted = Add (center_all, offset)
    shape = Shape (grey)
    shape_float = Cast <to = 1> (shape)
    last = Sub (shape_float, one)
    last_all = Unsqueeze (last, second)
    farthest = Add (last_all, reach)
    nearest = Neg (reach)
    not_before = Max (wanted, nearest)
    place = Min (not_before, farthest)
    place_y, place_x = Split <axis = 1> (place, one_one)

    largest_reach = ReduceMax <keepdims = 0> (reach)
    both_sides = Add (largest_reach, largest_reach)
    margin = Ceil (both_sides)
    margin_whole = Cast <to = 7> (margin)
    pads = Expand (margin_whole, four)
    padded = Pad <mode = "edge"> (grey, pads)
    padded_shape = Shape (padded)
    height, width = Split <axis = 0> (padded_shape, one_one)

    FILTER(y, height)
    FILTER(x, width)
    by_rows = MatMul (filter_y, padded)
    filter_of_columns = Transpose <perm = [0, 2, 1]> (filter_x)
    crops = MatMul (by_rows, filter_of_columns)
    raised = Add (crops, half)
    whole = Floor (raised)
    input_face_images = Unsqueeze (whole, second)
}
"""
_FILTER = """
    count_AXIS = Squeeze (LENGTH)
    numbers_AXIS = Range (zero, count_AXIS, unit)
    floats_AXIS = Cast <to = 1> (numbers_AXIS)
    pixels_AXIS = Sub (floats_AXIS, margin)
    column_AXIS = Transpose <perm = [0, 2, 1]> (place_AXIS)
    apart_AXIS = Sub (column_AXIS, pixels_AXIS)
    distance_AXIS = Abs (apart_AXIS)
    share_AXIS = Div (distance_AXIS, reach)
    left_AXIS = Sub (one, share_AXIS)
    weight_AXIS = Max (left_AXIS, nought)
    sum_AXIS = ReduceSum <keepdims = 1> (weight_AXIS, third)
    filter_AXIS = Div (weight_AXIS, sum_AXIS)
"""
_PLACE = """
place (float[N, K, 2] keypoints, float[N, 3] squares) => (float[N, K, 2] keypoints_image)
<
    float middle = {MIDDLE}, float crop_px = {CROP.0}, int64[2] parts = {2, 1},
    int64[1] second = {1}
>
{
    center, side = Split <axis = 1> (squares, parts)
    step = Div (side, crop_px)
    step_all = Unsqueeze (step, second)
    center_all = Unsqueeze (center, second)
    offset = Sub (keypoints, middle)
    scaled = Mul (offset, step_all)
    keypoints_image = Add (scaled, center_all)
}
"""


def preprocess(box_scale: float, opset: int) -> ModelProto:
    """(H, W, C) ``image`` and (N, 4) ``boxes`` to ``input_face_images`` and ``squares``.

    Args:
        box_scale: side of a crop by the longer side of its box.
    """
    places = np.arange(CROP_PX) - (CROP_PX - 1) / 2
    text = _PREPROCESS
    for axis, length in (("y", "height"), ("x", "width")):
        written = _FILTER.replace("AXIS", axis).replace("LENGTH", length)
        text = text.replace(f"FILTER({axis}, {length})", written)
    text = text.replace("PLACES", ", ".join(f"{place:.1f}" for place in places))
    return _parsed(text.replace("SCALE", repr(float(box_scale))), opset)


def place(opset: int) -> ModelProto:
    """(N, K, 2) ``keypoints`` and ``squares`` to (N, K, 2) ``keypoints_image``."""
    return _parsed(_PLACE.replace("MIDDLE", repr((CROP_PX - 1) / 2)), opset)


def end_to_end(network: ModelProto, box_scale: float) -> ModelProto:
    """``image`` and ``boxes`` to ``keypoints_image`` and ``confidence``, around the network."""
    opset = opset_of(network)
    before = compose.add_prefix(preprocess(box_scale, opset), "preprocess/", rename_inputs=False)
    after = compose.add_prefix(place(opset), "place/", rename_outputs=False)
    plain = ModelProto()  # without metadata, which would have to agree
    plain.CopyFrom(network)
    plain.ClearField("metadata_props")
    for model in (before, after):
        model.ir_version = plain.ir_version
    crops, squares = f"preprocess/{INPUT}", f"preprocess/{SQUARES}"
    kept = [KEYPOINTS, CONFIDENCE, squares]
    whole = compose.merge_models(before, plain, [(crops, INPUT)], outputs=kept)
    pairs = [(KEYPOINTS, f"place/{KEYPOINTS}"), (squares, f"place/{SQUARES}")]
    whole = compose.merge_models(whole, after, pairs, outputs=[KEYPOINTS_IMAGE, CONFIDENCE])
    whole.graph.name = "fpenet"
    outputs = sorted(whole.graph.output, key=lambda value: value.name != KEYPOINTS_IMAGE)
    del whole.graph.output[:]
    whole.graph.output.extend(outputs)
    return rebuilt(whole, whole.graph.node, whole.graph.initializer)


def _parsed(text: str, opset: int) -> ModelProto:
    graph = parser.parse_graph(text.replace("CROP", str(CROP_PX)))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return rebuilt(model, model.graph.node, model.graph.initializer)
