"""TAO's experiment_spec.yaml of FPENet: the fields and values that NVIDIA ships."""

SPEC = """\
__class_name__: FpeNetTrainer
checkpoint_dir: /results
checkpoint_n_epoch: 1
num_epoch: 40
num_keypoints: 80
random_seed: 35
log_every_n_secs: 10
infrequent_summary_every_n_steps: 0
enable_visualization: true
visualize_num_images: 3
hooks: null
key: secret
dataloader:
  __class_name__: FpeNetDataloader
  batch_size: 64
  num_keypoints: 80
  image_info:
    image: {channel: 1, height: 80, width: 80}
  dataset_info:
    image_extension: png
    root_path: null
    tfrecords_directory_path: /data
    tfrecords_set_id_train: s1 s2
    tfrecords_set_id_val: s3
    tfrecord_folder_name: FpeTfRecords
    tfrecord_file_name: data.tfrecords
    use_extra_dataset: false
    no_occlusion_masking_sets: none
  kpiset_info:
    tfrecords_set_id_kpi: s4
  augmentation_info:
    enable_online_augmentation: true
    enable_occlusion_augmentation: true
    enable_resize_augmentation: true
    augmentation_resize_probability: 0.5
    augmentation_resize_scale: 1.6
    patch_probability: 0.5
    size_to_image_ratio: 0.5
    mask_augmentation_patch: true
    gamma_augmentation:
      {gamma_type: uniform, gamma_min: 0.6, gamma_max: 1.6, gamma_probability: 0.1}
    modulus_spatial_augmentation:
      hflip_probability: 0.25
      rotate_rad_max: 0.35
      translate_max_x: 10
      translate_max_y: 8
      zoom_min: 0.8
      zoom_max: 1.2
    modulus_color_augmentation: {hue_rotation_max: 0.0}
loss:
  __class_name__: FpeLoss
  loss_type: wing_loss
  kpts_coeff: 0.01
  mask_occ: true
  weights_dict: {face: 0.5, eyes: 0.3, mouth: 0.2}
  elt_loss_info:
    enable_elt_loss: true
    elt_alpha: 0.5
    modulus_spatial_augmentation: {hflip_probability: 0.0, rotate_rad_max: 0.35}
model:
  __class_name__: FpeNetBaseModel
  model_parameters:
    type: FpeNet_public
    beta: 0.1
    use_upsampling_layer: false
    pretrained_model_path: null
    regularizer_type: l2
    regularizer_weight: 1.0e-05
  visualization_parameters: null
optimizer:
  __class_name__: AdamOptimizer
  beta1: 0.9
  beta2: 0.999
  epsilon: 1.0e-08
  learning_rate_schedule:
    __class_name__: SoftstartAnnealingLearningRateSchedule
    base_learning_rate: 0.0005
    min_learning_rate: 1e-07
    soft_start: 0.3
    annealing: 0.5
    last_step: 1000000
"""
