"""What the pipeline does, one folder a chapter; nothing in here knows of Prefect.

Reading order: ``keypoints`` (what a point means), ``data`` (labelled faces to crops), ``model``
(crops to weights), ``kpi`` (points to a verdict), ``deploy`` (weights to engines), ``release``
(engines to a registered version); ``params``, ``progress`` and ``provenance`` lie under all of
them, ``stages`` and ``cli`` over all of them.

Shapes: N faces, K keypoints, C channels, H rows, W columns. Points are (x, y), x right, y down,
pixel centres at integers; a name says the frame: ``points_image`` in source-image pixels,
``points_crop`` in 80x80 crop pixels. Missing is NaN plus a boolean mask.
"""
