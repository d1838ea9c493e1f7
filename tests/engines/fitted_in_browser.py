"""Run in a process of its own: resizes images in a page of a browser, and prints what the page shows.

Reads {"folder": ..., "cases": [[bytes as a list, preprocess], ...]} from standard input and prints {"fitted": [...],
"state": ...}. In the process of the other tests, whose libraries have threads and signal handlers, the browser's
driver ended the whole process now and then.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tests.engines.served_folder import served_folder
from tests.lens.explorer.browser import chromium

FITTED = """async ([bytes, preprocess]) => {
  const { decode, fit } = await import("./preprocess.js");
  return Array.from(fit(await decode(new Blob([new Uint8Array(bytes)])), preprocess));
}"""


def main() -> None:
    given: dict[str, Any] = json.load(sys.stdin)
    with served_folder(Path(given["folder"])) as address, chromium() as browser:
        page = browser.new_page()
        page.goto(address)
        fitted = [page.evaluate(FITTED, case) for case in given["cases"]]
        page.wait_for_selector("#state.fault")
        print(json.dumps({"fitted": fitted, "state": page.inner_text("#state.fault")}))


if __name__ == "__main__":
    main()
