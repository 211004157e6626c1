"""What `make run` publishes: photographs that scikit-image and scikit-learn ship, and a caption for each."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from operators.errors import ConfigError

CAPTIONS = {
    "skimage/data/astronaut.png": "A smiling astronaut in an orange suit, a flag and a model space shuttle behind.",
    "skimage/data/brick.png": "A wall of bricks, its mortar joints running level across the picture.",
    "skimage/data/camera.png": "A photographer in a dark coat behind a camera on a tripod.",
    "skimage/data/chelsea.png": "The face of a tabby cat, close up, looking past the camera.",
    "skimage/data/coffee.png": "A cup of coffee and a spoon on a saucer on a wooden table.",
    "skimage/data/coins.png": "Rows of ancient coins on a dark ground, photographed from above.",
    "skimage/data/color.png": "A sheet of colour patches.",
    "skimage/data/grass.png": "Blades of grass, seen from straight above.",
    "skimage/data/gravel.png": "Gravel, seen from straight above.",
    "skimage/data/hubble_deep_field.jpg": "Hundreds of galaxies on black sky: the Hubble extreme deep field.",
    "skimage/data/ihc.png": "A stained section of tissue under a microscope, brown and blue.",
    "skimage/data/moon.png": "The surface of the moon with craters in low light.",
    "skimage/data/motorcycle_left.png": "A motorcycle in a workshop, the left picture of a stereo pair.",
    "skimage/data/motorcycle_right.png": "A motorcycle in a workshop, the right picture of a stereo pair.",
    "skimage/data/page.png": "A page of printed text, unevenly lit.",
    "skimage/data/retina.jpg": "The retina of an eye with its blood vessels, a bright disc to one side.",
    "skimage/data/rocket.jpg": "A rocket on its launch pad at dusk, lightning towers around it.",
    "skimage/data/text.png": "Handwritten mathematics on paper, photographed in slanting light.",
    "sklearn/datasets/images/china.jpg": "The roofs of a palace in China under a pale sky.",
    "sklearn/datasets/images/flower.jpg": "An orange flower in sharp focus before soft green leaves.",
}


@dataclass(frozen=True, slots=True)
class Photograph:
    """A file and what it shows."""

    path: Path
    caption: str


def photographs() -> tuple[Photograph, ...]:
    """The shipped photographs, in order of their names.

    Raises:
        ConfigError: scikit-image or scikit-learn is not installed.
    """
    found: list[Photograph] = []
    for name, caption in sorted(CAPTIONS.items()):
        package, _, rest = name.partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ConfigError(f"the demo's photographs ship with {package}, which is not installed: see the demo group")
        found.append(Photograph(Path(spec.origin).parent / rest, caption))
    return tuple(found)
