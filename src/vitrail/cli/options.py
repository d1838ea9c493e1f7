"""Options of the command line: the class `Option`, and the options that several commands share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

COMPUTE, OUTPUT = "Running the model", "Output"


@dataclass(frozen=True, slots=True)
class Option:
    """Command-line appearance of a field of a command; attached to its type with `Annotated`.

    Attributes:
        help: help text; a docstring under the field replaces it.
        metavar: placeholder of the value in help and messages; by default it follows from the type.
        short: one-letter alias such as "-o".
        section: heading of the option in `--help`.
        positional: whether the value is a positional argument.
        shown_default: text for the default in the help if it is None.
    """

    help: str = ""
    metavar: str = ""
    short: str = ""
    section: str = "Options"
    positional: bool = False
    shown_default: str = ""


PrecisionName = Literal["auto", "float32", "bfloat16", "float16"]
EnginePrecisionName = Literal["auto", "float32", "bfloat16", "float16", "float8"]
SplitName = Literal["auto", "train", "val", "test", "all"]

CheckpointArgument = Annotated[
    str,
    Option(
        "A run folder, a checkpoint folder or file, weights of another library, or a hub id.",
        "CHECKPOINT",
        positional=True,
    ),
]
SourceArgument = Annotated[
    str,
    Option(
        "Labelled images: class folders, a CSV, tar shards, or a named data set such as digits or cifar10.",
        "SOURCE",
        positional=True,
    ),
]
SourcesArgument = Annotated[
    list[str],
    Option(
        "Images: a file, a folder of any depth, a glob, a CSV, tar shards, or a named data set such as digits.",
        "SOURCE",
        positional=True,
    ),
]
Out = Annotated[Path, Option("Where to write.", "PATH", short="-o", section=OUTPUT)]
OptionalOut = Annotated[Path | None, Option("Where to write.", "PATH", short="-o", section=OUTPUT)]
Json = Annotated[bool, Option("Print only JSON on standard output.", section=OUTPUT)]
Split = Annotated[
    SplitName,
    Option("Part of the source to use. auto: test, else val, else every image that the run did not train on.", "PART"),
]
SkipBad = Annotated[bool, Option("Skip files that cannot be read instead of stopping; they are listed.")]
Strict = Annotated[
    bool, Option("Also use damaged files that can still be decoded, such as JPEGs of which a part is grey.")
]
"""A field that is true by default, with the flag --no-strict."""
Limit = Annotated[int | None, Option("Use at most N images of each source.", "N", shown_default="all")]
LimitDrawn = Annotated[
    int | Literal["all"], Option("Use at most N images of a part, drawn at random by the seed.", "N|all")
]
BatchSize = Annotated[int, Option("Images in one forward pass.", "N", section=COMPUTE)]
Engine = Annotated[
    str,
    Option(
        "What runs the model: torch, compiled (torch.compile), openvino, onnxruntime, or one of another package. auto: "
        "what `vitrail optimize` chose for this machine, else torch.",
        "ENGINE",
        section=COMPUTE,
    ),
]
Device = Annotated[str, Option("auto, cpu, cuda or cuda:1.", "DEVICE", section=COMPUTE)]
_PRECISION = "Number format of matrix products. auto: bfloat16 if the hardware supports it, else float32."
Precision = Annotated[PrecisionName, Option(_PRECISION, "FORMAT", section=COMPUTE)]
EnginePrecision = Annotated[EnginePrecisionName, Option(_PRECISION, "FORMAT", section=COMPUTE)]
OptionalPrecision = Annotated[PrecisionName | None, Option(_PRECISION, "FORMAT", section=COMPUTE, shown_default="auto")]
Prompts = Annotated[
    Path | None,
    Option(
        "File with templates, a line each, with a pair of braces in the place of the class; the texts are averaged.",
        "FILE",
        shown_default="one that suits the model",
    ),
]
Tta = Annotated[
    Literal["none", "flip", "crops"],
    Option(
        "flip: the mean of the predictions for each image and its mirror image; crops: also for both shifted.",
        "KIND",
        section=COMPUTE,
    ),
]
Seed = Annotated[int, Option("Seed of all random numbers.", "N", section=COMPUTE)]
