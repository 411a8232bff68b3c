"""Remembers that a widget asked for Colab's widget manager, which the real module would then load into the page."""

from types import SimpleNamespace

_widgets = SimpleNamespace(_installed_url=None)


def enable_custom_widget_manager():
    _widgets._installed_url = "asked for"
