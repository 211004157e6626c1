from operators.decode.base import Cursor, Decoder, Segment
from operators.decode.image import DecodedImage, ImageDecoder, ImageLimits, OnDamage, decode_image
from operators.decode.text import DecodedText, TextDecoder, decode_text

__all__ = [
    "Cursor",
    "DecodedImage",
    "DecodedText",
    "Decoder",
    "ImageDecoder",
    "ImageLimits",
    "OnDamage",
    "Segment",
    "TextDecoder",
    "decode_image",
    "decode_text",
]
