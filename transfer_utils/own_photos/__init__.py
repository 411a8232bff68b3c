"""From a messy folder to a classifier that can be sent to somebody."""

from transfer_utils.own_photos.classifiers import Bank, Classifier, cross_validate, extract, judge, predict, train
from transfer_utils.own_photos.decode import ORIENTATION, Unreadable, read_bytes, read_photo
from transfer_utils.own_photos.folders import PhotoFolder, read
from transfer_utils.own_photos.reports import report
from transfer_utils.own_photos.saved_models import check_place, folder_card, load, save
from transfer_utils.own_photos.stores import store, store_zip
from transfer_utils.own_photos.twins import alike

__all__ = [
    "Bank",
    "Classifier",
    "ORIENTATION",
    "PhotoFolder",
    "Unreadable",
    "alike",
    "check_place",
    "cross_validate",
    "extract",
    "folder_card",
    "judge",
    "load",
    "predict",
    "read",
    "read_bytes",
    "read_photo",
    "report",
    "save",
    "store",
    "store_zip",
    "train",
]
