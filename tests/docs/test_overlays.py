"""The README's overlays: phantoms, as `predict` segments them with the weights that ship."""

import numpy as np
import pytest
from docs_scripts import docs_script
from PIL import Image


@pytest.fixture(scope="module")
def script():
    return docs_script("make_overlays")


@pytest.fixture(scope="module")
def shown(script, tmp_path_factory):
    return list(script.overlays(tmp_path_factory.mktemp("overlays")))


def test_three_phantoms_are_segmented_by_the_shipped_weights(shown):
    assert len(shown) == 3
    for one in shown:
        assert one.film.shape == one.predicted.shape == one.reference.shape
        both = np.count_nonzero(one.predicted & one.reference)
        dice = 2 * both / (one.predicted.sum() + one.reference.sum())
        assert 0.8 < dice < 1
        assert one.caption.startswith("phantom in ") and one.caption.endswith(f"Dice {dice:.3f}")


def test_the_same_films_give_the_same_drawing(script, shown):
    drawn = script.drawn(shown)
    assert script.drawn(shown) == drawn
    assert all(one.caption in drawn.replace("&#39;", "'") for one in shown)
    assert "PHANTOM" in drawn
    assert drawn.count('class="reference"') == drawn.count('class="prediction"') == 4  # and a key
    other = [*shown[:2], script.Overlay("", shown[2].film, shown[2].reference, shown[2].reference)]
    assert script.drawn(other) != drawn


def test_the_picture_is_of_the_weights_that_ship(script):
    told = Image.open(script.PICTURE).text[docs_script("make_pictures").DRAWN_FROM]
    assert told == script.weights_digest(), "run docs/make_readme.py"
