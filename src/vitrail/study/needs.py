"""Words of `vitrail advise`; a file of its own, because the command line reads it without importing torch."""

from typing import Literal

Target = Literal["server", "laptop", "phone", "gpu"]
Need = Literal["fine-detail", "global-context", "robustness", "explanations"]
Answer = Literal["yes", "no", "unknown"]
