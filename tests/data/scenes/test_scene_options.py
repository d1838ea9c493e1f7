"""Options of scenes as text."""

from pathlib import Path

import pytest

from vitrail.data.open import open_source
from vitrail.data.scenes import SceneOptions
from vitrail.errors import VitrailError

LONG = SceneOptions(64, 10, 5, 6, (2, 4), 5, 3, None, 90.0, ("y", "x"), 0.25, 6, "straight")


@pytest.mark.parametrize("options", [SceneOptions(), LONG, SceneOptions(cutouts="a folder", objects=(3, 3))])
def test_the_text_of_options_is_read_again(options: SceneOptions) -> None:
    assert SceneOptions.parse(str(options)) == options


def test_every_option_can_be_written() -> None:
    text = "size=64,train=10,val=5,test=6,objects=2-4,classes=5,seed=3,turn=90,numbers=y+x,unseen=.25,frames=6"
    assert SceneOptions.parse(f"{text},motions=straight") == LONG
    assert SceneOptions.parse("objects=4").objects == (4, 4)
    assert SceneOptions.parse("cutouts=~/cut").cutouts == str(Path.home() / "cut")
    assert SceneOptions.parse("") == SceneOptions()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sise=64", "'sise' is no option; did you mean size"),
        ("size", "size cannot be read: write size=128"),
        ("size=big", "size=big cannot be read: write size=128"),
        ("size=31", "size=31 is not allowed: use 32 to 1024"),
        ("size=64,size=64", "size is given twice"),
        ("cutouts=a,b", "'b' is no option: values cannot have commas"),
        ("cutouts=", "write cutouts=DIR"),
        ("objects=6-3", "objects=6-3 is not allowed: use 1 to 12"),
        ("objects=0", "objects=0-0 is not allowed"),
        ("objects=-3", "objects=-3 cannot be read: write objects=3-6"),
        ("classes=17", "classes=17 is not allowed: use 2 to 16"),
        ("train=-1", "train=-1 is not allowed"),
        ("train=0,val=0,test=0", "are all 0"),
        ("turn=nan", "turn=nan is not allowed"),
        ("unseen=0.6", "unseen=0.6 is not allowed: use 0 to 0.5"),
        ("unseen=0.1,cutouts=x", "cut-outs have no named colours"),
        ("numbers=x+w", "numbers=w is not known; valid are x, y, size, count"),
        ("numbers=x+x", "has a name twice"),
        ("motions=round", "motions=round is not known: use paths or straight"),
        ("frames=100", "use 4 to 64"),
        ("cutouts=/nowhere", "cutouts=/nowhere cannot be read: No such file or directory"),
    ],
)
def test_mistakes_are_sentences(text: str, message: str) -> None:
    with pytest.raises(VitrailError, match=r"^scenes: ") as error:
        open_source(f"scenes:{text}")
    assert message in str(error.value)
