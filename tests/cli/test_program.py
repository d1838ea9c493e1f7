"""The program as a process: exit statuses, complete output, and what libraries registered for the end."""

import subprocess
import sys

import pytest

RUN = "import sys; sys.argv[1:] = {words!r}; {before}from vitrail.cli.program import program; program()"


def ran(*words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    code = RUN.format(words=list(words), before=before)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "status"), [(["--version"], 0), (["eval", "/nowhere", "digits"], 1), (["predict", "--no-such"], 2)]
)
def test_the_exit_status_and_the_output(words: list[str], status: int):
    found = ran(*words)
    assert found.returncode == status
    assert (found.stdout if status == 0 else found.stderr).startswith("vitrail")


@pytest.mark.parametrize(
    ("end", "status"), [("sys.exit()", 0), ("sys.exit('no')", 1), ("sys.exit(3)", 3), ("raise KeyboardInterrupt", 130)]
)
def test_a_command_that_ends_the_program(end: str, status: int):
    before = (
        "import atexit, vitrail.cli.main as m; exec('''def dispatch(words):\n"
        ' atexit.register(lambda: print("later"))\n print("x" * 100_000)\n ' + end + "'''); m._dispatch = dispatch; "
    )
    found = ran("models", before=before)
    assert found.returncode == status
    assert found.stdout == "x" * 100_000 + "\nlater\n"
