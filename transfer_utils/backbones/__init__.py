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
from transfer_utils.backbones.export import export
from transfer_utils.backbones.freezing import (
    count_parameters,
    drift,
    freeze,
    hold_statistics,
    parameter_groups,
    refuse_untrainable,
)
from transfer_utils.backbones.gpt import GPT, LONGEST, course_gpt, speaker
from transfer_utils.backbones.in_use import guarded, keeping_modes, taking_turns
from transfer_utils.backbones.lora import add_lora, merge_lora
from transfer_utils.backbones.networks import course_resnet, load_backbone
from transfer_utils.backbones.stages import StagedModel, unwrapped
from transfer_utils.backbones.text_models import Mean, TextModel
from transfer_utils.backbones.vocabulary import END, PAD, to_text, to_tokens
from transfer_utils.backbones.writing import next_words, write

__all__ = [
    "END",
    "GPT",
    "LONGEST",
    "Mean",
    "PAD",
    "StagedModel",
    "TextModel",
    "activation_bytes",
    "add_lora",
    "by_depth",
    "checkpoint_card",
    "checkpoint_folder",
    "count_parameters",
    "course_gpt",
    "course_resnet",
    "drift",
    "export",
    "freeze",
    "grad_cam",
    "guarded",
    "hold_statistics",
    "keeping_modes",
    "load_backbone",
    "load_checkpoint",
    "merge_lora",
    "next_words",
    "optimiser_bytes",
    "parameter_groups",
    "prefix_flops",
    "refuse_untrainable",
    "save_checkpoint",
    "shipped",
    "shipped_card",
    "speaker",
    "step_flops",
    "step_seconds",
    "taking_turns",
    "to_text",
    "to_tokens",
    "training_bytes",
    "unwrapped",
    "weight_bytes",
    "write",
]
