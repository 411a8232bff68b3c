"""Networks as named stages: load, freeze, save, cost, explain, export."""

from transfer_utils.backbones.checkpoints import (
    checkpoint_card,
    checkpoint_folder,
    load_checkpoint,
    save_checkpoint,
    shipped,
    shipped_card,
)
from transfer_utils.backbones.costs import (
    activation_bytes,
    by_depth,
    optimiser_bytes,
    prefix_flops,
    step_flops,
    step_seconds,
    training_bytes,
    weight_bytes,
)
from transfer_utils.backbones.explain import grad_cam
from transfer_utils.backbones.export import (
    FromPixels,
    load_onnx,
    load_program,
    missing_for_onnx,
    save_onnx,
    save_program,
)
from transfer_utils.backbones.freezing import (
    count_parameters,
    drift,
    freeze,
    frozen_state,
    hold_statistics,
    parameter_groups,
)
from transfer_utils.backbones.networks import course_resnet, load_backbone
from transfer_utils.backbones.stages import StagedModel, keeping_modes, unwrapped, watch

__all__ = [
    "FromPixels",
    "StagedModel",
    "activation_bytes",
    "by_depth",
    "checkpoint_card",
    "checkpoint_folder",
    "count_parameters",
    "course_resnet",
    "drift",
    "freeze",
    "frozen_state",
    "grad_cam",
    "hold_statistics",
    "keeping_modes",
    "load_backbone",
    "load_checkpoint",
    "load_onnx",
    "load_program",
    "missing_for_onnx",
    "optimiser_bytes",
    "parameter_groups",
    "prefix_flops",
    "save_checkpoint",
    "save_onnx",
    "save_program",
    "shipped",
    "shipped_card",
    "step_flops",
    "step_seconds",
    "training_bytes",
    "unwrapped",
    "watch",
    "weight_bytes",
]
