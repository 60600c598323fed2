"""Every field of FPENet's experiment_spec.yaml: its keys in params.yaml, or why it has none.

``tao.spec`` uses this table and computes the values.
"""

from typing import Literal

Conversion = Literal["taken", "added", "changed", "ignored"]
AUGMENTATION = "dataloader.augmentation_info"
MODEL = "model.model_parameters"
RATE = "optimizer.learning_rate_schedule"
_SET = "dataloader.dataset_info"
FieldConversion = tuple[Conversion, tuple[str, ...], str]


def _param(key: str, reason: str = "") -> FieldConversion:
    return ("changed" if reason else "taken"), (key,), reason


def _ignored(reason: str) -> FieldConversion:
    return "ignored", (), reason


_FOLDERS = "the name of a stage's folder is its key, or the value of --root"
_NO_RECORDS = "TFRecords are not used: data.labels is the JSON file that dataset_convert reads"
_SPLIT = "section split assigns the subjects to train, val and kpi"
_SHOWN = "the live view of MLflow and the progress bar show it"
_NEVER_APPLIED = "TAO accepts this key, but does not apply it"
_UNUSED = "TAO does not use this key"
_TEACHER_VIEW = "the second view of elt_weight is the crop without augmentation"

FIELDS: dict[str, FieldConversion] = {
    "checkpoint_dir": _ignored(_FOLDERS),
    "checkpoint_n_epoch": _param("train.checkpoint_every_epochs"),
    "num_epoch": _param("train.epochs"),
    "num_keypoints": _param("data.keypoints"),
    "random_seed": _param("train.seed"),
    "log_every_n_secs": _ignored(_SHOWN),
    "infrequent_summary_every_n_steps": _ignored(_SHOWN),
    "enable_visualization": _ignored(_SHOWN),
    "visualize_num_images": _ignored(_SHOWN),
    "hooks": _ignored("training has no hooks"),
    "key": _ignored("TAO models are not decrypted here"),
    "log_resources": _ignored("resources are not logged"),
    "dataloader.batch_size": _param(
        "train.batch_size", "the total batch size; in TAO it is the size for each GPU"
    ),
    "dataloader.num_keypoints": _param("data.keypoints"),
    **{
        f"dataloader.image_info.image.{name}": _ignored("the input of the nets is 1x80x80")
        for name in ("channel", "height", "width")
    },
    f"{_SET}.image_extension": _ignored("the content of a file shows whether it is PNG or JPEG"),
    f"{_SET}.root_path": _ignored("image paths in the labels are relative to the label file"),
    f"{_SET}.tfrecords_directory_path": _ignored(_NO_RECORDS),
    f"{_SET}.tfrecord_folder_name": _ignored(_NO_RECORDS),
    f"{_SET}.tfrecord_file_name": _ignored(_NO_RECORDS),
    f"{_SET}.test_file_name": _ignored(_NO_RECORDS),
    f"{_SET}.tfrecords_set_id_train": _ignored(_SPLIT),
    f"{_SET}.tfrecords_set_id_val": _ignored(_SPLIT),
    "dataloader.kpiset_info.tfrecords_set_id_kpi": _ignored(_SPLIT),
    f"{_SET}.use_extra_dataset": _ignored(_UNUSED),
    f"{_SET}.no_occlusion_masking_sets": _ignored("train.mask_hidden applies to every face"),
    f"{AUGMENTATION}.enable_online_augmentation": (
        "taken",
        (),
        "if it is false, every key of train.augment is 0",
    ),
    f"{AUGMENTATION}.enable_occlusion_augmentation": _param("train.augment.patch_probability"),
    f"{AUGMENTATION}.enable_resize_augmentation": _param(
        "train.augment.low_resolution_probability"
    ),
    f"{AUGMENTATION}.augmentation_resize_probability": _param(
        "train.augment.low_resolution_probability",
        "the value is the probability; in TAO the probability is 1 minus the value",
    ),
    f"{AUGMENTATION}.augmentation_resize_scale": _param(
        "train.augment.low_resolution_px",
        "a crop is reduced to at least 80 px divided by the value; TAO enlarges crops too",
    ),
    f"{AUGMENTATION}.patch_probability": _param(
        "train.augment.patch_probability",
        "the value is the probability; in TAO the probability is 1 minus the value",
    ),
    f"{AUGMENTATION}.size_to_image_ratio": _param(
        "train.augment.patch_px",
        "the patch has a random position; in TAO it is always in the centre",
    ),
    f"{AUGMENTATION}.mask_augmentation_patch": _param("train.augment.patch_hides"),
    **{
        f"{AUGMENTATION}.gamma_augmentation.{name}": _param(
            "train.augment.gamma",
            "it is the largest relative change in both directions, sampled for every face",
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
    f"{AUGMENTATION}.modulus_spatial_augmentation.hflip_probability": _param(
        "train.augment.flip_probability"
    ),
    f"{AUGMENTATION}.modulus_spatial_augmentation.rotate_rad_max": _param(
        "train.augment.rotate_deg", "the value is converted from radians to degrees"
    ),
    **{
        f"{AUGMENTATION}.modulus_spatial_augmentation.translate_max_{axis}": _param(
            "train.augment.shift_px",
            "it is the larger of the two axes, and a shift is not rounded to whole pixels",
        )
        for axis in "xy"
    },
    **{
        f"{AUGMENTATION}.modulus_spatial_augmentation.zoom_{end}": _param(
            "train.augment.zoom",
            "it is the larger relative change in both directions, about the centre of the crop",
        )
        for end in ("min", "max")
    },
    **{
        f"{AUGMENTATION}.modulus_color_augmentation.{name}": _ignored(_NEVER_APPLIED)
        for name in (
            "hue_rotation_max",
            "saturation_shift_max",
            "contrast_scale_max",
            "contrast_center",
            "brightness_scale_max",
        )
    },
    f"{AUGMENTATION}.blur_augmentation.kernel_sizes": _ignored(_NEVER_APPLIED),
    f"{AUGMENTATION}.blur_augmentation.blur_probability": _ignored(_NEVER_APPLIED),
    f"{AUGMENTATION}.random_shift_bbx_augmentation.shift_percent_max": _ignored(_NEVER_APPLIED),
    f"{AUGMENTATION}.random_shift_bbx_augmentation.shift_probability": _ignored(_NEVER_APPLIED),
    "loss.loss_type": _param(
        "train.loss", "the loss is a mean over the coordinates that are not masked"
    ),
    "loss.kpts_coeff": _ignored("the step of Adam does not depend on the scale of the loss"),
    "loss.mask_occ": _param("train.mask_hidden"),
    "loss.weights_dict": _param("train.region_weights"),
    **{
        f"loss.weights_dict.{name}": _param(
            "train.region_weights",
            "the weights are shares of the loss, and pupils have the weight of the eyes; there are"
            " none for keypoints without regions",
        )
        for name in ("face", "eyes", "mouth")
    },
    "loss.elt_loss_info.enable_elt_loss": _param("train.elt_weight"),
    "loss.elt_loss_info.elt_alpha": _param(
        "train.elt_weight", "each face has a separate transform, and needs no label"
    ),
    **{
        f"loss.elt_loss_info.modulus_spatial_augmentation.{name}": _ignored(_TEACHER_VIEW)
        for name in (
            "hflip_probability",
            "rotate_rad_max",
            "translate_max_x",
            "translate_max_y",
            "zoom_min",
            "zoom_max",
        )
    },
    f"{MODEL}.type": _param("train.net"),
    f"{MODEL}.use_upsampling_layer": _param("train.net"),
    f"{MODEL}.beta": _ignored(
        "beta of the soft-argmax is 0.1; import-tao scales the heat maps for another value"
    ),
    f"{MODEL}.pretrained_model_path": _ignored(
        "convert its ONNX file with import-tao, and set train.start_from to the new folder"
    ),
    f"{MODEL}.regularizer_type": _param(
        "train.weight_decay", "l1 is not supported, and the weight decay is 0"
    ),
    f"{MODEL}.regularizer_weight": _param(
        "train.weight_decay", "AdamW decays kernels only, separately from the gradient"
    ),
    **{
        f"{MODEL}.{name}": _ignored(_UNUSED)
        for name in ("dropout_rate", "freeze_Convlayer", "train_fpe_model", "use_less_face_layers")
    },
    "model.visualization_parameters": _ignored(_SHOWN),
    f"{MODEL}.visualization_parameters": _ignored(_SHOWN),
    **{
        f"optimizer.{name}": _ignored("AdamW uses 0.9, 0.999 and 1e-8")
        for name in ("beta1", "beta2", "epsilon")
    },
    f"{RATE}.base_learning_rate": _param("train.learning_rate"),
    f"{RATE}.min_learning_rate": _param("train.min_learning_rate"),
    f"{RATE}.soft_start": _param(
        "train.warmup_fraction", "the rate rises linearly; in TAO it rises exponentially"
    ),
    f"{RATE}.annealing": _param(
        "train.flat_fraction", "the value is annealing minus soft_start, and a cosine follows"
    ),
    f"{RATE}.last_step": _ignored("TAO replaces the value by the number of steps"),
}
"""Key of the spec -> its conversion, the keys of params.yaml for it, and the reason of a change."""

ADDED = {
    "train.max_minutes": "TAO has no time limit",
    "train.heatmap_weight": "TAO has no loss on the heat maps",
    "train.weak_fraction": "the augmentation of TAO is the same in all epochs",
    "train.ema_decay": "TAO does not average the weights",
    "train.wing_w": "the value is a constant in TAO",
    "train.wing_epsilon": "the value is a constant in TAO",
    **{
        f"train.augment.{name}": "TAO has no such augmentation"
        for name in ("contrast", "shade", "noise", "blur_probability", "sharpen_probability")
    },
}
