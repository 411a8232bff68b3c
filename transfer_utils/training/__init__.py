"""From a network and photos to accuracy: features, probes, loop, recipes."""

from transfer_utils.training.answers import accuracy, predict
from transfer_utils.training.features import by_stage, extract, extract_views, nearest, run_network
from transfer_utils.training.finder import try_rates
from transfer_utils.training.language import Reading, read, stream, surprise
from transfer_utils.training.loop import Epoch, Step, fit, fit_until_flat, train
from transfer_utils.training.probes import PENALTIES, Probe, best_probe, linear_probe, linear_probes
from transfer_utils.training.recipes import Phase, Recipe, with_epochs

__all__ = [
    "Epoch",
    "PENALTIES",
    "Phase",
    "Probe",
    "Reading",
    "Recipe",
    "Step",
    "accuracy",
    "best_probe",
    "by_stage",
    "extract",
    "extract_views",
    "fit",
    "fit_until_flat",
    "linear_probe",
    "linear_probes",
    "nearest",
    "predict",
    "read",
    "run_network",
    "stream",
    "surprise",
    "train",
    "try_rates",
    "with_epochs",
]
