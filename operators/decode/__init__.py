from operators.decode.audio import AudioDecoder, DecodedAudio
from operators.decode.base import Cursor, Decoder, OnDamage, Segment
from operators.decode.demux import AvLimits
from operators.decode.film import FilmSettings
from operators.decode.image import DecodedImage, ImageDecoder, ImageLimits, decode_image
from operators.decode.text import DecodedText, TextDecoder, decode_text
from operators.decode.video import DecodedVideo, VideoDecoder, clip_bytes

__all__ = [
    "AudioDecoder",
    "AvLimits",
    "Cursor",
    "DecodedAudio",
    "DecodedImage",
    "DecodedText",
    "DecodedVideo",
    "Decoder",
    "FilmSettings",
    "ImageDecoder",
    "ImageLimits",
    "OnDamage",
    "Segment",
    "TextDecoder",
    "VideoDecoder",
    "clip_bytes",
    "decode_image",
    "decode_text",
]
