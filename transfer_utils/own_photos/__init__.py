"""From a messy folder to a classifier that can be sent to somebody."""

from transfer_utils.own_photos.classifiers import Bank, Classifier, extract
from transfer_utils.own_photos.commands import answer_files, train_folder
from transfer_utils.own_photos.decode import ORIENTATION, Unreadable, read_photo
from transfer_utils.own_photos.folders import PhotoFolder, read
from transfer_utils.own_photos.saved_models import load, save
from transfer_utils.own_photos.stores import store, store_zip
from transfer_utils.own_photos.twins import alike

__all__ = [
    "Bank",
    "Classifier",
    "ORIENTATION",
    "PhotoFolder",
    "Unreadable",
    "alike",
    "answer_files",
    "extract",
    "load",
    "read",
    "read_photo",
    "save",
    "store",
    "store_zip",
    "train_folder",
]
