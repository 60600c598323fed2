"""The crop and its inverse as ONNX, for programs that have ONNX Runtime but not this package.

Output: ``preprocess.onnx`` (an image and face boxes to crops, by the rule of
``data.crops.geometry``), ``place.onnx`` (points of the crops to points of the image), and
``end_to_end.onnx`` (a network between the two).

An anti-aliased resize is a triangle filter in each direction, so a crop is two matrix products:
filter of the rows x image x filter of the columns. Only the part of the image that contains all
faces is read; beyond the image a filter reads the pixels of its edge. A crop that is completely
outside the image shows only edge pixels, independent of its distance, so it is moved to the edge.
All arithmetic is in double precision, so that a value next to a half is rounded in the same
direction as in ``data.crops.geometry``: the points of an INT8 net move by tenths of a pixel when
one grey level changes by one.
"""

import numpy as np
from onnx import ModelProto, compose, helper, parser

from fpenet.data.crops.geometry import A_HALF_IS_ABOVE
from fpenet.data.crops.store import CROP_PX
from fpenet.deploy.onnx.network import opset_of, rebuilt
from fpenet.deploy.onnx.onnx_file import (
    CONFIDENCE,
    INPUT,
    KEYPOINTS,
    KEYPOINTS_IMAGE,
    SQUARES,
)

# Grey is ITU-R 601 luma with the integer weights of Pillow; three equal channels give the grey
# level of one. Types: 1 is float, 7 int64, 11 double.
_PREPROCESS = """
preprocess (uint8[H, W, C] image, float[N, 4] boxes)
    => (float[N, 1, CROP, CROP] input_face_images, float[N, 3] squares)
<
    double[3] luma = {7471.0, 38470.0, 19595.0}, double luma_half = {32768.0},
    double luma_all = {65536.0}, double scale = {SCALE}, double crop_px = {CROP.0},
    double[1, CROP] places = {PLACES}, double half = {0.5}, double raise = {RAISE},
    double one = {1.0}, double nought = {0.0}, int64 zero = {0}, int64 unit = {1},
    int64[1] first = {0}, int64[1] second = {1}, int64[1] third = {2}, int64[2] two_two = {2, 2},
    int64[2] one_one = {1, 1}, int64[3] three_ones = {1, 1, 1}
>
{
    boxes_double = Cast <to = 11> (boxes)
    corner, size = Split <axis = 1> (boxes_double, two_two)
    half_size = Mul (size, half)
    center = Add (corner, half_size)
    size_x, size_y = Split <axis = 1> (size, one_one)
    longer = Max (size_x, size_y)
    side = Mul (longer, scale)
    squares_double = Concat <axis = 1> (center, side)
    squares = Cast <to = 1> (squares_double)

    step = Div (side, crop_px)
    reach = Max (step, one)
    largest_reach = ReduceMax <keepdims = 0> (reach)
    reach_all = Unsqueeze (reach, second)
    offset = Mul (step, places)
    center_x, center_y = Split <axis = 1> (center, one_one)
    shape = Shape (image)
    height, width, channels = Split <axis = 0> (shape, three_ones)

    FILTER(y, height)
    FILTER(x, width)
    rows = Gather <axis = 0> (image, inside_y)
    part = Gather <axis = 1> (rows, inside_x)
    levels = Cast <to = 11> (part)
    shares = Mul (levels, luma)
    luma_sum = ReduceSum <keepdims = 0> (shares, third)
    luma_raised = Add (luma_sum, luma_half)
    luma_share = Div (luma_raised, luma_all)
    grey = Floor (luma_share)

    by_rows = MatMul (filter_y, grey)
    filter_of_columns = Transpose <perm = [0, 2, 1]> (filter_x)
    crops = MatMul (by_rows, filter_of_columns)
    raised = Add (crops, raise)
    whole = Floor (raised)
    crops_float = Cast <to = 1> (whole)
    input_face_images = Unsqueeze (crops_float, second)
}
"""
_FILTER = """
    length_AXIS = Squeeze (LENGTH, first)
    end_AXIS = Sub (length_AXIS, unit)
    last_AXIS = Cast <to = 11> (end_AXIS)
    wanted_AXIS = Add (center_AXIS, offset)
    farthest_AXIS = Add (reach, last_AXIS)
    nearest_AXIS = Neg (reach)
    not_before_AXIS = Max (wanted_AXIS, nearest_AXIS)
    place_AXIS = Min (not_before_AXIS, farthest_AXIS)
    lowest_AXIS = ReduceMin <keepdims = 0> (place_AXIS)
    highest_AXIS = ReduceMax <keepdims = 0> (place_AXIS)
    low_AXIS = Sub (lowest_AXIS, largest_reach)
    high_AXIS = Add (highest_AXIS, largest_reach)
    low_whole_AXIS = Floor (low_AXIS)
    high_whole_AXIS = Floor (high_AXIS)
    from_AXIS = Cast <to = 7> (low_whole_AXIS)
    to_AXIS = Cast <to = 7> (high_whole_AXIS)
    limit_AXIS = Add (to_AXIS, unit)
    pixels_AXIS = Range (from_AXIS, limit_AXIS, unit)
    not_below_AXIS = Max (pixels_AXIS, zero)
    inside_AXIS = Min (not_below_AXIS, end_AXIS)
    floats_AXIS = Cast <to = 11> (pixels_AXIS)
    column_AXIS = Unsqueeze (place_AXIS, third)
    apart_AXIS = Sub (column_AXIS, floats_AXIS)
    distance_AXIS = Abs (apart_AXIS)
    share_AXIS = Div (distance_AXIS, reach_all)
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
    """Network from (H, W, C) ``image`` and (N, 4) ``boxes`` to ``input_face_images``, ``squares``.

    Args:
        box_scale: side of a crop divided by the longer side of its box.
    """
    places = np.arange(CROP_PX) - (CROP_PX - 1) / 2
    text = _PREPROCESS
    for axis, length in (("y", "height"), ("x", "width")):
        nodes = _FILTER.replace("AXIS", axis).replace("LENGTH", length)
        text = text.replace(f"FILTER({axis}, {length})", nodes)
    text = text.replace("PLACES", ", ".join(f"{place:.1f}" for place in places))
    text = text.replace("RAISE", repr(0.5 + A_HALF_IS_ABOVE))
    return _parsed(text.replace("SCALE", repr(float(box_scale))), opset)


def place(opset: int) -> ModelProto:
    """Network from (N, K, 2) ``keypoints`` and ``squares`` to (N, K, 2) ``keypoints_image``."""
    return _parsed(_PLACE.replace("MIDDLE", repr((CROP_PX - 1) / 2)), opset)


def end_to_end(network: ModelProto, box_scale: float) -> ModelProto:
    """``preprocess``, ``network`` and ``place`` as one network.

    Its inputs are ``image`` and ``boxes``, its outputs ``keypoints_image`` and ``confidence``.
    """
    opset = opset_of(network)
    before = compose.add_prefix(preprocess(box_scale, opset), "preprocess/", rename_inputs=False)
    after = compose.add_prefix(place(opset), "place/", rename_outputs=False)
    plain = ModelProto()  # without metadata, because merge_models refuses different values
    plain.CopyFrom(network)
    plain.ClearField("metadata_props")
    for model in (before, after):
        model.ir_version = plain.ir_version
    crops, squares = f"preprocess/{INPUT}", f"preprocess/{SQUARES}"
    names = [KEYPOINTS, CONFIDENCE, squares]
    merged = compose.merge_models(before, plain, [(crops, INPUT)], outputs=names)
    pairs = [(KEYPOINTS, f"place/{KEYPOINTS}"), (squares, f"place/{SQUARES}")]
    merged = compose.merge_models(merged, after, pairs, outputs=[KEYPOINTS_IMAGE, CONFIDENCE])
    merged.graph.name = "fpenet"
    outputs = sorted(merged.graph.output, key=lambda value: value.name != KEYPOINTS_IMAGE)
    del merged.graph.output[:]
    merged.graph.output.extend(outputs)
    return rebuilt(merged, merged.graph.node, merged.graph.initializer)


def _parsed(text: str, opset: int) -> ModelProto:
    graph = parser.parse_graph(text.replace("CROP", str(CROP_PX)))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return rebuilt(model, model.graph.node, model.graph.initializer)
