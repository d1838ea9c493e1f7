"""Registry of attribution methods. Each method has a file with a `METHOD`, and a row here."""

from importlib import import_module

from ...errors import VitrailError, nearest
from ...plugins import find_plugin, plugin_names
from .method import Attribution, Method

FILES = {
    "lrp": "relevance",
    "generic": "generic",
    "grad_cam": "grad_cam",
    "rollout": "rollout",
    "attention": "attention",
    "flow": "flow",
    "perception": "perception",
    "input_gradient": "input_gradient",
    "integrated_gradients": "integrated_gradients",
    "smooth_gradient": "smooth_gradient",
    "occlusion": "occlusion",
}
"""Name -> file, in the order of a page."""

METHODS: dict[str, Method] = {
    name: vars(import_module(f".{file}", __package__))["METHOD"] for name, file in FILES.items()
}
"""Name -> method, in the order of a page."""

QUICK = tuple(name for name, method in METHODS.items() if method.quick)
"""The methods of a page that is written to a file, by default."""


def method_names() -> list[str]:
    """Names of all methods, the built-in ones first, without importing plugins."""
    return [*METHODS, *(name for name in plugin_names("method") if name not in METHODS)]


def find_method(name: str) -> Attribution:
    """Return a method by name: one of `METHODS`, or a plugin's.

    A package adds methods through the entry point group `vitrail.methods`; each names an object of the `Attribution`
    interface, such as a `Method`.

    Raises:
        VitrailError: unknown method, or the plugin's object is not a method.
    """
    if name in METHODS:
        return METHODS[name]
    found = find_plugin("method", name)
    if found is None:
        raise VitrailError(f"there is no attribution method {name!r}: {nearest(name, method_names())}")
    if not isinstance(found, Attribution):
        raise VitrailError(
            f"attribution method {name!r} of another package is a {type(found).__name__} without title, signed and"
            " by_class: its package can wrap a function, vitrail.lens.attribution.method.Method(title, function)"
        )
    return found
