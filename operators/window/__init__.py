from operators.resizing import Fit
from operators.window.audio import AudioView
from operators.window.base import View
from operators.window.clip import ClipView, clip_key
from operators.window.image import ImageView
from operators.window.text import TextView
from operators.window.views import FORMS, parse_view

__all__ = ["FORMS", "AudioView", "ClipView", "Fit", "ImageView", "TextView", "View", "clip_key", "parse_view"]
