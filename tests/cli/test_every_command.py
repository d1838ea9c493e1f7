"""Every command on a checkpoint of every kind: an answer, or a sentence that names what is in the way."""

import pytest
import torch

from tests.evaluation.small_checkpoint import CLASSES, write_classes
from vitrail import explore
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.cli.main import main
from vitrail.data.preprocess import Preprocess
from vitrail.lens.outputs import run
from vitrail.lens.watched import predictions, watch
from vitrail.models.fields import pair
from vitrail.models.registry import create_model
from vitrail.task_spec import MULTI_LABEL, TaskSpec

pytestmark = pytest.mark.exhaustive  # a minute or two for all of them

VIT = {"image_size": 16, "patch_size": 4, "embed_dim": 16, "num_heads": 2, "depth": 1}
NUMBERS = TaskSpec.of("regression", mean=(40.0, 1.7), scale=(10.0, 0.1))
HEADS = TaskSpec.of(
    "universal",
    tasks=["classification", "detection", "segmentation", "depth"],
    object_names=list(CLASSES),
    pixel_names=list(CLASSES),
)
SEVERAL = {"num_classes": 3, "object_classes": 3, "pixel_classes": 3, "task": HEADS}
DECODER = {"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2}
TEXT = {"text_dim": 16, "text_depth": 1, "text_heads": 2, "vocab_size": 50, "context_length": 8, "joint_dim": 8}
DETECTOR = {"image_size": 32, "embed_dim": 16, "num_heads": 2, "depth": 1, "decoder_depth": 1, "num_queries": 4}
BODY = {"image_size": 32, "stem": ((8, 2), (8, 2)), "embed_dim": 16, "num_heads": 2, "depth": 1}

MODELS = {
    "one label": ("vit_tiny_patch16_224", {**VIT, "num_classes": 3}, CLASSES),
    "many labels": ("vit_tiny_patch16_224", {**VIT, "num_classes": 3, "task": MULTI_LABEL}, CLASSES),
    "numbers": ("vit_tiny_patch16_224", {**VIT, "num_classes": 2, "task": NUMBERS}, ("age", "height")),
    "DINOv2": ("vit_small_patch14_reg4_dinov2", VIT, ()),
    "CLIP tower": ("vit_xsmall_patch16_clip_224", VIT, ()),
    "CLIP": ("clip_vit_base_patch16", {**VIT, **TEXT}, ()),
    "MAE": ("mae_vit_base_patch16", {**VIT, **DECODER}, ()),
    "DETR": ("detr_resnet50", {**DETECTOR, "depths": (1, 1, 1, 1)}, ()),
    "detector": ("compact_detector_small_128", {**BODY, "num_classes": 3}, CLASSES),
    "segmenter": ("compact_segmenter_small_128", {**BODY, "num_classes": 3}, CLASSES),
    "depth": ("compact_depth_small_128", BODY, ()),
    "universal": (
        "compact_universal_small_128",
        {**BODY, **SEVERAL},
        CLASSES,
    ),
    "video": ("compact_video_small_64", {"num_frames": 2, "num_classes": 3}, CLASSES),
}
CPU = ("--device", "cpu")
DONE, ELSEWHERE = "", None
NO_CLASSES, UNUSED = "outputs a vector, not classes", "not trained, evaluated or used for predictions yet"
STUDIES, LABELS, SCORED = "studies need a classifier", "predicts several labels for each image", "predicts no classes"
RETRIEVAL, NO_TOKENIZER = "retrieval needs a model of images and texts", "the checkpoint has no tokenizer"
UNLABELLED = "has no annotations for --task"
VIDEOS, NO_CLIPS = "this model takes videos", "a clip of several frames is needed"
OTHERS = tuple(MODELS)[1:]
PLACED = ("DETR", "detector", "segmenter", "depth", "universal")
NAMELESS = ("DINOv2", "CLIP tower", "CLIP", "MAE", "DETR", "depth")
OTHER = "needs a model for classification or regression or embedding"
EXPECTED: dict[str, dict[str, str | None]] = {
    "predict": {"CLIP": "name the classes to choose from", "MAE": UNUSED},
    "eval": {
        **dict.fromkeys(("DINOv2", "CLIP tower"), NO_CLASSES),
        "CLIP": NO_TOKENIZER,
        "MAE": UNUSED,
        **dict.fromkeys(PLACED, UNLABELLED),
        "video": "images that belong to no clip",
    },
    "embed": {},
    "explain": {"video": "a clip of several frames is needed"},
    "convert": {},
    "plan": {},
    "rename-classes": {"numbers": "no class 'cat'", **dict.fromkeys(NAMELESS, "has no class names")},
    "study anatomy": {"video": VIDEOS},
    "study robustness": {**dict.fromkeys(OTHERS, STUDIES), "video": VIDEOS},
    "study layers": {**dict.fromkeys(OTHERS, STUDIES), "video": VIDEOS},
    "study probe": {"video": VIDEOS},
    "study retrieval": {**dict.fromkeys(MODELS, RETRIEVAL), "CLIP": NO_TOKENIZER},
    "study attribution": {**dict.fromkeys(OTHERS, SCORED), "many labels": LABELS, "video": NO_CLIPS},
    "train": {
        **dict.fromkeys(("one label", "many labels", "numbers"), ELSEWHERE),
        **dict.fromkeys(("CLIP", *PLACED), OTHER),
        "video": "is a model for clips",
    },
    "pretrain": {**dict.fromkeys(MODELS, "objective mae"), "MAE": DONE},
}
"""What each command prints as its error for a model of MODELS; not named: it works; ELSEWHERE: other tests run it."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Images in class folders, the same as tables of zeros and ones and of numbers, and the checkpoints."""
    root = tmp_path_factory.mktemp("every")
    write_classes(root / "images", each=4)
    many, numbers = ["path,cat,dog,fox"], ["path,age,height"]
    for row, name in enumerate(CLASSES):
        for index in range(4):
            many.append(f"images/{name}/{index}.png,{index % 2},{row % 2},{int(index > 1)}")
            numbers.append(f"images/{name}/{index}.png,{30.5 + 7 * index},{1.6 + 0.1 * row}")
    (root / "many.csv").write_text("\n".join(many) + "\n")
    (root / "numbers.csv").write_text("\n".join(numbers) + "\n")
    for kind, (variant, fields, names) in MODELS.items():
        torch.manual_seed(0)
        model = create_model(variant, **fields).eval()
        size = pair(fields.get("image_size", 64))
        preprocess = Preprocess(image_size=size, crop=1.0, frames=model.config.frames)
        save(Checkpoint(model, names, preprocess, {}), root / kind)
    return root


def words(command, root, kind, out):
    """The command line, with options that make it fast."""
    checkpoint, images = root / kind, root / "images"
    labelled = {"many labels": root / "many.csv", "numbers": root / "numbers.csv"}.get(kind, images)
    fast = ["--set", "steps=1", "batch_size=4", "-o", out, *CPU]
    study = [checkpoint, labelled, *CPU]
    return {
        "predict": ["predict", checkpoint, images, *CPU],
        "eval": ["eval", checkpoint, labelled, *CPU],
        "embed": ["embed", checkpoint, images, "-o", out.with_suffix(".csv"), *CPU],
        "explain": ["explain", checkpoint, images / "cat" / "0.png", "--methods", "rollout", "-o", out, *CPU],
        "convert": ["convert", checkpoint, "-o", out],
        "plan": ["plan", checkpoint, "--batch-size", "1", "--precision", "float32"],
        "rename-classes": ["rename-classes", checkpoint, "cat=Katze", "-o", out],
        "study anatomy": [
            "study",
            "anatomy",
            checkpoint,
            images / "cat",
            "--blocks",
            "1",
            "-o",
            out / "page.html",
            *CPU,
        ],
        "study robustness": ["study", "robustness", *study, "--tests", "sketch", "-o", out.with_suffix(".csv")],
        "study layers": ["study", "layers", *study],
        "study probe": ["study", "probe", checkpoint, images, *CPU],
        "study retrieval": ["study", "retrieval", *study],
        "study attribution": ["study", "attribution", *study, "--methods", "rollout", "-o", out.with_suffix(".csv")],
        "train": ["train", labelled, "--weights", checkpoint, "--recipe", "finetune", *fast],
        "pretrain": ["pretrain", images, "--weights", checkpoint, *fast],
    }[command]


@pytest.mark.parametrize("command", EXPECTED)
def test_an_answer_or_a_sentence(command, home, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where a list of bad files is written
    for number, kind in enumerate(MODELS):
        sentence = EXPECTED[command].get(kind, DONE)
        if sentence is ELSEWHERE:
            continue
        out = tmp_path / str(number)
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words(command, home, kind, out)])
        errors = capsys.readouterr().err
        assert (end.value.code or 0) == bool(sentence), f"{kind}: {errors}"
        assert sentence in errors, kind
        assert "fault of vitrail" not in errors, f"{kind}: {errors}"
        assert sentence == DONE or not out.exists(), f"{kind}: a refused command left {out}"


@pytest.mark.parametrize("kind", MODELS)
def test_the_explorer_opens_and_stops(kind, home):
    with explore(home / kind, home / "images" / "cat", device="cpu", limit=1) as server:
        assert server.url.startswith("http://127.0.0.1")


@pytest.mark.parametrize("kind", MODELS)
def test_only_classifiers_have_probabilities(kind, home):
    watched = watch(load(home / kind), device="cpu")
    with torch.inference_mode():
        output = run(watched.model, torch.zeros(1, *watched.model.config.pixels_shape))
    assert len(predictions(watched, output, 5)) == (3 if kind in ("one label", "many labels", "video") else 0)


def test_pretraining_goes_on_with_the_masks_of_its_recipe(home, tmp_path):
    changed = ["--set", "steps=1", "batch_size=4", "objective.mask_ratio=0.5", "-o", str(tmp_path / "run"), *CPU]
    with pytest.raises(SystemExit) as end:
        main(["pretrain", str(home / "images"), "--weights", str(home / "MAE"), *changed])
    assert not end.value.code
    assert load(tmp_path / "run").model.config.mask_ratio == 0.5
