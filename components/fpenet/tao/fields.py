"""Every field of FPENet's experiment_spec.yaml: its keys in params.yaml, or why it has none.

The table of ``tao.spec``, which computes the values.
"""

from typing import Literal

How = Literal["taken", "added", "changed", "ignored"]
VIEWS = "dataloader.augmentation_info"
MODEL = "model.model_parameters"
RATE = "optimizer.learning_rate_schedule"
_SET = "dataloader.dataset_info"
Became = tuple[How, tuple[str, ...], str]


def _same(ours: str, why: str = "") -> Became:
    return ("changed" if why else "taken"), (ours,), why


def _out(why: str) -> Became:
    return "ignored", (), why


_FOLDERS = "a stage's folder is named by its key, or by --root"
_NO_RECORDS = "no TFRecords: data.labels names the JSON that dataset_convert read"
_SPLIT = "section split says who is in train, val and kpi, by subject"
_SHOWN = "MLflow's live view and the progress bar show it"
_NEVER_APPLIED = "TAO accepts it and applies nothing"
_UNUSED = "TAO does not use it"
_OWN_VIEW = "the averaged net answers the plain crop of the view that is trained on"

FIELDS: dict[str, Became] = {
    "checkpoint_dir": _out(_FOLDERS),
    "checkpoint_n_epoch": _same("train.checkpoint_every_epochs"),
    "num_epoch": _same("train.epochs"),
    "num_keypoints": _same("data.keypoints"),
    "random_seed": _same("train.seed"),
    "log_every_n_secs": _out(_SHOWN),
    "infrequent_summary_every_n_steps": _out(_SHOWN),
    "enable_visualization": _out(_SHOWN),
    "visualize_num_images": _out(_SHOWN),
    "hooks": _out("there are none"),
    "key": _out("nothing here is encrypted"),
    "log_resources": _out("not logged"),
    "dataloader.batch_size": _same("train.batch_size", "in all; TAO's is that of each GPU"),
    "dataloader.num_keypoints": _same("data.keypoints"),
    **{
        f"dataloader.image_info.image.{name}": _out("the nets take 1x80x80")
        for name in ("channel", "height", "width")
    },
    f"{_SET}.image_extension": _out("PNG and JPEG are told apart by their content"),
    f"{_SET}.root_path": _out("paths in the labels count from the label file"),
    f"{_SET}.tfrecords_directory_path": _out(_NO_RECORDS),
    f"{_SET}.tfrecord_folder_name": _out(_NO_RECORDS),
    f"{_SET}.tfrecord_file_name": _out(_NO_RECORDS),
    f"{_SET}.test_file_name": _out(_NO_RECORDS),
    f"{_SET}.tfrecords_set_id_train": _out(_SPLIT),
    f"{_SET}.tfrecords_set_id_val": _out(_SPLIT),
    "dataloader.kpiset_info.tfrecords_set_id_kpi": _out(_SPLIT),
    f"{_SET}.use_extra_dataset": _out(_UNUSED),
    f"{_SET}.no_occlusion_masking_sets": _out("train.mask_hidden holds for every face"),
    f"{VIEWS}.enable_online_augmentation": (
        "taken",
        (),
        "where false, every key of train.augment is 0",
    ),
    f"{VIEWS}.enable_occlusion_augmentation": _same("train.augment.patch_probability"),
    f"{VIEWS}.enable_resize_augmentation": _same("train.augment.low_resolution_probability"),
    f"{VIEWS}.augmentation_resize_probability": _same(
        "train.augment.low_resolution_probability", "as written; TAO fires with 1 minus it"
    ),
    f"{VIEWS}.augmentation_resize_scale": _same(
        "train.augment.low_resolution_px",
        "a crop loses resolution down to 80 px over it; TAO enlarges and reduces",
    ),
    f"{VIEWS}.patch_probability": _same(
        "train.augment.patch_probability", "as written; TAO fires with 1 minus it"
    ),
    f"{VIEWS}.size_to_image_ratio": _same(
        "train.augment.patch_px", "anywhere; TAO's patch is always in the middle"
    ),
    f"{VIEWS}.mask_augmentation_patch": _same("train.augment.patch_hides"),
    **{
        f"{VIEWS}.gamma_augmentation.{name}": _same(
            "train.augment.gamma", "its largest change either way, drawn for every face"
        )
        for name in (
            "gamma_type",
            "gamma_min",
            "gamma_max",
            "gamma_mu",
            "gamma_std",
            "gamma_probability",
        )
    },
    f"{VIEWS}.modulus_spatial_augmentation.hflip_probability": _same(
        "train.augment.flip_probability"
    ),
    f"{VIEWS}.modulus_spatial_augmentation.rotate_rad_max": _same(
        "train.augment.rotate_deg", "in degrees"
    ),
    **{
        f"{VIEWS}.modulus_spatial_augmentation.translate_max_{axis}": _same(
            "train.augment.shift_px", "the larger of the two, and not whole pixels"
        )
        for axis in "xy"
    },
    **{
        f"{VIEWS}.modulus_spatial_augmentation.zoom_{end}": _same(
            "train.augment.zoom", "the larger change either way, about the crop's centre"
        )
        for end in ("min", "max")
    },
    **{
        f"{VIEWS}.modulus_color_augmentation.{name}": _out(_NEVER_APPLIED)
        for name in (
            "hue_rotation_max",
            "saturation_shift_max",
            "contrast_scale_max",
            "contrast_center",
            "brightness_scale_max",
        )
    },
    f"{VIEWS}.blur_augmentation.kernel_sizes": _out(_NEVER_APPLIED),
    f"{VIEWS}.blur_augmentation.blur_probability": _out(_NEVER_APPLIED),
    f"{VIEWS}.random_shift_bbx_augmentation.shift_percent_max": _out(_NEVER_APPLIED),
    f"{VIEWS}.random_shift_bbx_augmentation.shift_probability": _out(_NEVER_APPLIED),
    "loss.loss_type": _same("train.loss", "a mean over the coordinates that count"),
    "loss.kpts_coeff": _out("Adam's step does not change with the scale of the loss"),
    "loss.mask_occ": _same("train.mask_hidden"),
    "loss.weights_dict": _same("train.region_weights"),
    **{
        f"loss.weights_dict.{name}": _same(
            "train.region_weights",
            "as shares of the loss; pupils weigh as eyes; without known regions none",
        )
        for name in ("face", "eyes", "mouth")
    },
    "loss.elt_loss_info.enable_elt_loss": _same("train.elt_weight"),
    "loss.elt_loss_info.elt_alpha": _same(
        "train.elt_weight", "each face has a map of its own, and needs no label"
    ),
    **{
        f"loss.elt_loss_info.modulus_spatial_augmentation.{name}": _out(_OWN_VIEW)
        for name in (
            "hflip_probability",
            "rotate_rad_max",
            "translate_max_x",
            "translate_max_y",
            "zoom_min",
            "zoom_max",
        )
    },
    f"{MODEL}.type": _same("train.net"),
    f"{MODEL}.use_upsampling_layer": _same("train.net"),
    f"{MODEL}.beta": _out("the soft-argmax has 0.1; import-tao folds another into the heat maps"),
    f"{MODEL}.pretrained_model_path": _out(
        "import its ONNX with import-tao and name that folder in train.start_from"
    ),
    f"{MODEL}.regularizer_type": _same("train.weight_decay", "l1: none, for want of it"),
    f"{MODEL}.regularizer_weight": _same(
        "train.weight_decay", "AdamW's, beside the gradient, of kernels only"
    ),
    **{
        f"{MODEL}.{name}": _out(_UNUSED)
        for name in ("dropout_rate", "freeze_Convlayer", "train_fpe_model", "use_less_face_layers")
    },
    "model.visualization_parameters": _out(_SHOWN),
    f"{MODEL}.visualization_parameters": _out(_SHOWN),
    **{
        f"optimizer.{name}": _out("AdamW has 0.9, 0.999 and 1e-8")
        for name in ("beta1", "beta2", "epsilon")
    },
    f"{RATE}.base_learning_rate": _same("train.learning_rate"),
    f"{RATE}.min_learning_rate": _same("train.min_learning_rate"),
    f"{RATE}.soft_start": _same("train.warmup_fraction", "a line; TAO's rises exponentially"),
    f"{RATE}.annealing": _same("train.flat_fraction", "less soft_start; then a cosine"),
    f"{RATE}.last_step": _out("TAO puts the number of steps in its place"),
}
"""Key of the spec -> what becomes of it, the keys of params.yaml that have it, and why."""

ADDED = {
    "train.max_minutes": "TAO trains all epochs, however long",
    "train.heatmap_weight": "TAO has no loss on the heat maps",
    "train.weak_fraction": "TAO augments alike to the end",
    "train.ema_decay": "TAO ships the last weights, not their average",
    "train.wing_w": "fixed in TAO",
    "train.wing_epsilon": "fixed in TAO",
    **{
        f"train.augment.{name}": "not in TAO"
        for name in ("contrast", "shade", "noise", "blur_probability", "sharpen_probability")
    },
}
