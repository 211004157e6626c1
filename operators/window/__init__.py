from operators.window.base import View
from operators.window.image import Fit, ImageView
from operators.window.text import TextView
from operators.window.views import FORMS, parse_view

__all__ = ["FORMS", "Fit", "ImageView", "TextView", "View", "parse_view"]
