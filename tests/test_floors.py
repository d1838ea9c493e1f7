"""A room imports only from lower floors; docs/architecture.md has the table, and this test reads it there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "vitrail"


def floors() -> dict[str, int]:
    rows = re.findall(r"^\| (\d) \| (.+) \|$", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    return {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)`", rooms)}


def imports(file: Path) -> set[str]:
    """The rooms of ours that a file imports, wherever in it."""
    package = ["vitrail", *file.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = [*base, *(node.module or "").split(".")] if node.module else base
            found |= {".".join([*stem, alias.name]) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("vitrail.")}


def imported_at_once(file: Path) -> set[str]:
    """Full names that a file imports when it is imported itself: not those in functions or for type checkers."""
    package = ["vitrail", *file.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found |= {stem, *(f"{stem}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_lists_recipes_and_advice_import_no_torchvision() -> None:
    """It imports torch.compile, which takes as long as torch itself."""
    waiting = {"vitrail.training.recipes", "vitrail.training.recipe_file", "vitrail.planning.listing"}
    waiting |= {"vitrail.planning.cost", "vitrail.study.advice"}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        assert name.split(".")[0] != "torchvision"
        path = PACKAGE.parent / name.replace(".", "/")
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                waiting |= imported_at_once(file) - seen
    assert "vitrail.objectives.supervised" in seen


def test_every_room_is_in_the_table() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms <= floors().keys()


def test_no_arrow_runs_up() -> None:
    level = floors()
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue  # the public face joins all rooms
        for other in imports(file) - {room}:
            same_ground = level[room] == 0 and other in (
                "errors",
                "progress",
                "tables",
                "task_spec",
                "plugins",
                "machine",
                "plain",
                "typed",
            )
            assert other in level, f"{file} imports {other}, which is no room"
            assert level[other] < level[room] or same_ground, f"{file}: {room} imports {other}"


def test_nn_imports_nothing_of_ours_and_nobody_imports_cli() -> None:
    for file in PACKAGE.rglob("*.py"):
        rooms = imports(file)
        inside = file.relative_to(PACKAGE).parts[0]
        assert inside != "nn" or rooms <= {"nn"}, file
        assert inside in ("cli", "__main__.py") or "cli" not in rooms, file
