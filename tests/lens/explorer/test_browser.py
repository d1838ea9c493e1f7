"""The page in a real Chromium: from disk and live, by mouse, keyboard and touch."""

import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from vitrail.lens.attribution.method import Method
from vitrail.lens.attribution.methods import METHODS as OURS
from vitrail.lens.explorer.data import look
from vitrail.lens.explorer.gallery import Gallery, PackedView, fitted
from vitrail.lens.explorer.open import watch_all
from vitrail.lens.explorer.pack import pack_layer, unpack_layer
from vitrail.lens.explorer.page import write_page
from vitrail.lens.explorer.rows import LayerRows
from vitrail.lens.explorer.server import ExplorerServer
from vitrail.lens.watched import Watched
from vitrail.rewrites.registry import rewrite
from vitrail.rewrites.tokens import MergeTokens, PruneTokens

from ..clips import clip, video
from ..detectors import detr
from ..test_texts import checkpoint
from .browser import CONTRAST, Opened, chromium
from .small import METHODS, NAMES, gallery, picture, vit
from .test_data import KINDS, adaptive, corner

BAD = ("<b>broken</b>.png", "truncated")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two models and two pictures in one page, and where it lies."""
    path = tmp_path_factory.mktemp("page ü") / "page.html"
    write_page(gallery(vit(), vit(name="deit_tiny_distilled_patch16_224")), path)
    return path.as_uri()


@pytest.fixture
def opened(browser: Any, file: str) -> Iterator[Opened]:
    opened = Opened(browser, file)
    yield opened
    opened.context.close()
    assert opened.complaints == []
    assert {url.split(":")[0] for url in opened.asked} <= {"file", "data", "blob"}


def percent(value: float) -> str:
    hundred = 100 * value
    return f"{hundred:.2g}\xa0%" if hundred < 0.995 else f"{hundred:.{1 if hundred < 9.95 else 0}f}\xa0%"


def expected(layer: int, head: int | None, query: int, seed: int = 0) -> str:
    """What the page has to say of where a token of the first model looks."""
    name, rows = look(vit(), picture(seed)).layers[layer]
    weights = unpack_layer(
        pack_layer(name, rows)
    )  # as the page has them: which of two alike is brightest depends on it
    row = (weights.mean(0) if head is None else weights[head])[query]
    best = int(row[1:].argmax())
    where = f"looks most at row {best // 4 + 1} column {best % 4 + 1} ({percent(row[1:].max().item())})"
    return f"{where}, {percent(row[0].item())} to the class token." if row[0] >= 0.01 else f"{where}."


def test_opens_from_disk_with_what_the_model_says(opened: Opened) -> None:
    assert opened.said() == f"Layer 3, mean of heads: the class token {expected(2, None, 0)}"
    best = look(vit(), picture()).predictions[0]
    assert best.name in opened.text("#lead")
    assert opened.text("#lead").startswith("vit_tiny_patch16_224 predicts "), "a name stays as it is written"
    assert [name in opened.text("#classes") for name in NAMES] == [True] * 5
    shot = Image.open(io.BytesIO(opened.page.screenshot())).convert("RGB").resize((120, 90))
    assert len(shot.getcolors(120 * 90)) > 100
    opened.until(f"document.getElementById('spoken').textContent.includes({opened.said()!r})")


def test_hover_hold_and_turn_around(opened: Opened) -> None:
    opened.over("#stage .glass", 0.6, 0.1)
    assert opened.said() == f"Layer 3, mean of heads: patch row 3 column 1 {expected(2, None, 9)}"
    opened.page.mouse.down()
    opened.page.mouse.up()
    opened.over("#stage .glass", 0.1, 0.9)
    held = opened.said()
    assert "patch row 3 column 1 looks" in held
    weights = look(vit(), picture()).layers[2][1].weights.mean(0)
    assert f"Below the pointer, row 1 column 4: {percent(weights[9, 4].item())}." in held
    opened.page.get_by_role("button", name="Who looks at it").click()
    best = int(weights[1:, 10 - 1].argmax())
    where = f"row {best // 4 + 1} column {best % 4 + 1} ({percent(weights[1:, 9].max().item())})"
    assert f"patch row 3 column 1 is looked at most by patch {where}" in opened.said()


def test_small_maps_enlarge_and_show_their_layer(opened: Opened) -> None:
    opened.until("document.querySelector('#sheets .above').textContent === 'mean12roll'")
    opened.over("#sheets .field", 0.1, 0.4)
    assert "Layer 1, head 1" in opened.text("#sheets .reading")
    opened.over("#sheets .field", 0.1, 0.6, opened.page.mouse.click)
    assert opened.said() == f"Layer 1, head 2: the class token {expected(0, 1, 0)}"
    opened.over("#sheets .field", 0.9, 0.9, opened.page.mouse.click)
    assert opened.said().startswith("Rollout of layers 1 to 3: the class token looks most at")


def test_layers_by_slider_and_play(opened: Opened) -> None:
    opened.page.locator("#layer").fill("1")
    assert opened.said().startswith("Layer 1,")
    opened.page.get_by_role("button", name="Play through the layers").click()
    opened.until("document.querySelector('#stage .said').textContent.startsWith('Layer 3,')")
    opened.until("document.querySelector('.play').getAttribute('aria-label').startsWith('Play')")


def test_everything_by_keyboard(opened: Opened) -> None:
    opened.keys("ArrowDown")
    assert "patch row 3 column 3" in opened.said()
    opened.keys("ArrowUp", "ArrowLeft", "Shift+L", "h")
    assert opened.said() == f"Layer 2, head 1: patch row 2 column 2 {expected(1, 0, 6)}"
    opened.keys("d")
    assert "is looked at most by" in opened.said()
    opened.keys("d", "t")
    assert "head 1: the class token" in opened.said()
    opened.keys("t")
    assert "the patches together look most at" in opened.said()
    opened.page.locator("#sheets .field").focus()
    opened.keys("ArrowRight", "ArrowUp")
    assert opened.said().startswith("Layer 1, head 2")
    opened.keys("?")
    opened.until("document.getElementById('help').open")
    opened.keys("Escape")
    opened.until("!document.getElementById('help').open")
    opened.keys("v", "s")
    pressed = "[...document.querySelectorAll('.options [aria-pressed=true]')].map((button) => button.textContent)"
    opened.until(f"{pressed}.join() === 'Light,One scale'")
    for _ in range(12):  # the focus is always somewhere that can be seen
        opened.keys("Tab")
        assert opened.page.evaluate("document.activeElement.checkVisibility()")


def test_classes_and_methods(opened: Opened) -> None:
    best, second = look(vit(), picture()).predictions[:2]
    opened.until("document.querySelector('#relevance .said').textContent.startsWith('By class')")
    place = f"strongest at row 1 column {best.index + 1}" if best.index < 4 else "strongest at row 2 column 1"
    assert opened.text("#relevance .said") == f"By class, for {best.name}: {place}. Blue speaks against it."
    opened.page.locator("#classes button").nth(1).click()
    assert f"for {second.name}" in opened.text("#relevance .said")
    opened.keys("n")
    assert f"for {second.name}" not in opened.text("#relevance .said")
    opened.page.locator("#method").select_option("For all")
    opened.until("document.querySelector('#relevance .said').textContent.startsWith('For all, the same for every')")
    assert "row 4 column 4" in opened.text("#relevance .said")


def test_two_models_and_two_pictures_side_by_side(opened: Opened) -> None:
    opened.keys("c")
    opened.until("document.querySelectorAll('#stage .said').length === 2")
    opened.until("document.querySelectorAll('#stage .pane')[1].querySelectorAll('.tokens button').length === 4")
    opened.over("#stage .glass", 0.9, 0.9)
    assert "patch row 4 column 4" in opened.said(1)
    assert "patch row 4 column 4" in opened.said(2)
    assert opened.page.locator("#sheets .field").count() == 2
    opened.page.locator("#stage .pane:nth-child(1)").get_by_label("Image").select_option("1.png")
    opened.page.locator("#stage .pane:nth-child(1) .label").click()
    opened.until("document.getElementById('lead').textContent.includes('1.png')")
    assert opened.said(1).endswith(expected(2, None, 16, seed=1))
    opened.keys("c")
    opened.until("document.querySelectorAll('#stage .pane').length === 1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_width_touch_and_contrast(browser: Any, file: str, scheme: str) -> None:
    opened = Opened(
        browser, file, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, color_scheme=scheme
    )
    opened.page.locator("#stage .glass").scroll_into_view_if_needed()
    opened.over("#stage .glass", 0.6, 0.6, opened.page.touchscreen.tap)
    assert "patch row 3 column 3" in opened.said()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
    opened.keys("c")
    opened.until("document.querySelectorAll('#stage .tokens').length === 2")
    assert opened.page.evaluate(CONTRAST) == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
    opened.context.close()
    assert opened.complaints == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_layer_is_drawn(browser: Any, tmp_path: Path, kind: str) -> None:
    subject = KINDS[kind]()
    shown = gallery(subject, pictures=1)
    write_page(shown, tmp_path / "page.html")
    opened = Opened(browser, (tmp_path / "page.html").as_uri())
    view = look(subject, shown.images[0][1][0])
    for number in sorted({1, len(view.layers) // 2 + 1, len(view.layers)}):
        opened.page.locator("#layer").fill(str(number))
        opened.over("#stage .glass", 0.3, 0.8)
        assert f"Layer {number}, mean of heads: " in opened.said()
        rows = view.layers[number - 1][1]
        if rows.queries.free:
            assert "the learned query looks most at row" in opened.said()
        elif rows.queries.grid == (0, 0):
            assert "only the class token does" in opened.said()
        else:
            assert "looks most at row" in opened.said() or "does not look at anything" in opened.said()
    if kind == "registers":
        names = ["class", "register 1", "register 2", "register 3", "register 4", "all patches"]
        assert opened.page.locator("#stage .tokens span").all_inner_texts() == names
    opened.context.close()
    assert opened.complaints == []


def test_the_live_page_takes_parts_out_and_says_when_the_server_is_gone(browser: Any) -> None:
    with ExplorerServer(gallery(vit())) as server:
        server.start()
        before = vit().model(vit().pixels(picture()))
        opened = Opened(browser, server.url)
        assert {url.split("/")[2] for url in opened.asked if url.startswith("http")} == {server.url.split("/")[2]}
        opened.keys("h", "x", "ArrowDown", "z")
        opened.until("document.querySelector('#classes').textContent.includes('→')")
        opened.until("document.querySelectorAll('.removed li').length === 2")
        assert "layer 3, head 1" in opened.text(".removed")
        assert "patch row 3 column 3" in opened.text(".removed")
        opened.keys("u")
        assert "→" not in opened.text("#classes")
        assert torch.equal(server.gallery.watched[0].model(vit().pixels(picture())), before)
        opened.context.set_offline(True)
        opened.page.locator("#stage").get_by_label("Image").select_option("1.png")
        opened.until("document.querySelector('#stage .problem').textContent.includes('server does not answer')")
        assert opened.text("#stage .problem").startswith("1.png is not shown: ")
        assert opened.text("#stage .problem").endswith(" Shown is 0.png.")
        for _ in range(100):  # the choice goes back to the image that is shown
            if belongs(opened) == {"0.png"}:
                break
            opened.page.wait_for_timeout(20)
        assert belongs(opened) == {"0.png"}
        opened.context.close()
    assert all("Failed to load resource" in line for line in opened.complaints)


def test_patches_of_several_sizes(browser: Any, tmp_path: Path) -> None:
    write_page(
        Gallery([adaptive()], [("corner.png", fitted([adaptive()], corner()))], methods={}), tmp_path / "page.html"
    )
    opened = Opened(browser, (tmp_path / "page.html").as_uri())
    opened.over("#stage .glass", 0.8, 0.9)
    assert "patch row 3 column 3, 2 × 2 cells looks most at" in opened.said()
    opened.keys("ArrowUp")
    assert "patch row 1 column 3, 2 × 2 cells" in opened.said()
    opened.keys("ArrowLeft")
    assert "patch row 2 column 2 looks" in opened.said()
    assert opened.page.locator("#stage .lead path").count() == 1
    box, glass = (opened.page.locator(part).bounding_box() for part in ("#stage .here", "#stage .glass"))
    assert box["width"] == pytest.approx(glass["width"] / 4, rel=0.05)
    opened.context.close()
    assert opened.complaints == []


def test_a_slow_method_says_so_and_a_finger_slides_over_the_sheet(browser: Any) -> None:
    go_on = threading.Event()

    def slow(model: Any, pixels: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        assert go_on.wait(20)
        return torch.ones(len(pixels), 4, 4)

    with ExplorerServer(gallery(vit(), methods={"slow": Method("Slow", slow)})) as server:
        server.start()
        opened = Opened(browser, server.url)
        opened.until("document.querySelector('#relevance .said').textContent.startsWith('Slow is being worked out')")
        opened.over("#stage .glass", 0.6, 0.1)
        assert "patch row 3 column 1" in opened.said()
        go_on.set()
        opened.until("document.querySelector('#relevance .said').textContent.startsWith('Slow, for ')")
        slide = """([down, right]) => {
            const field = document.querySelector('#sheets .field');
            const box = field.getBoundingClientRect();
            const at = { clientX: box.left + right * box.width, clientY: box.top + down * box.height };
            field.dispatchEvent(new PointerEvent('pointermove', { pointerType: 'touch', bubbles: true, ...at }));
        }"""
        opened.page.evaluate(slide, [0.1, 0.6])
        assert opened.said().startswith("Layer 1, head 2")
        opened.context.close()
    assert opened.complaints == []


def test_an_embedding_has_no_probabilities_and_what_cannot_be_read_is_listed(browser: Any, tmp_path: Path) -> None:
    shown = gallery(vit(classes=0), pictures=1, methods={"input_gradient": OURS["input_gradient"]}, unreadable=[BAD])
    write_page(shown, tmp_path / "page.html")
    opened = Opened(browser, (tmp_path / "page.html").as_uri())
    assert opened.text("#predictions-title") == "Where the embedding comes from"
    assert "%" not in opened.text("#classes")
    said = "document.querySelector('#relevance .said').textContent"
    opened.until(f"{said}.startsWith('Input × gradient, for the embedding')")
    assert opened.page.locator("#features img").evaluate("image => [image.naturalWidth, image.naturalHeight]") == [4, 4]
    assert opened.text("#unreadable li") == "<b>broken</b>.png: truncated"
    opened.page.locator("#colour").fill("30")
    assert opened.page.locator("#stage canvas.map").evaluate("canvas => getComputedStyle(canvas).opacity") == "0.3"
    opened.context.close()
    assert opened.complaints == []


def belongs(opened: Opened) -> set[str]:
    """The images that the page names as those of what it shows."""
    named = [opened.text("#lead"), opened.page.locator("header .thumb").get_attribute("alt")]
    named += [opened.page.locator(part).get_attribute("aria-label") for part in ("#stage .glass", "#relevance .glass")]
    chosen = opened.page.locator("#stage").get_by_label("Image").evaluate("select => select.selectedOptions[0].text")
    return {name for text in (*named, chosen) for name in ("0.png", "1.png", "2.png") if name in text}


class Slow(Gallery):
    """A gallery whose second image comes late, and whose third has a fault."""

    go_on = threading.Event()

    def view(self, number: int) -> PackedView:
        found = super().view(number)
        if number == 1:
            assert self.go_on.wait(20)
        if number == 2:
            return PackedView({**found.document, "image": "data:image/png;base64,AAAA"}, found.layers)
        return found


def test_what_is_shown_stays_together_while_another_image_is_on_its_way(browser: Any) -> None:
    images = [(f"{number}.png", [picture(number)]) for number in range(3)]
    with ExplorerServer(Slow([vit()], images, methods={"for all": METHODS["for all"]})) as server:
        server.start()
        opened = Opened(browser, server.url)
        opened.until("document.querySelector('#relevance .said').textContent.startsWith('For all')")
        first, best = opened.said(), look(vit(), picture(0)).predictions[0]
        choose = opened.page.locator("#stage").get_by_label("Image")
        choose.select_option("1.png")
        opened.until("document.querySelector('#stage [role=status]').textContent.startsWith('1.png is on its way.')")
        assert "Shown is 0.png." in opened.text("#stage [role=status]")
        assert opened.said() == first
        assert f"predicts {best.name} ({percent(best.probability)}) for 0.png." in opened.text("#lead")
        assert opened.page.locator("#stage .glass").get_attribute("aria-label").startswith("0.png")
        Slow.go_on.set()
        opened.until("document.getElementById('lead').textContent.includes('1.png')")
        second = look(vit(), picture(1)).predictions[0]
        assert f"predicts {second.name} ({percent(second.probability)}) for 1.png." in opened.text("#lead")
        assert belongs(opened) == {"1.png"}
        assert opened.said().endswith(expected(2, None, 0, seed=1))
        choose.select_option("2.png")  # its image cannot be decoded
        opened.until("document.querySelector('#stage .problem').textContent.startsWith('2.png is not shown')")
        assert belongs(opened) == {"1.png"}
        choose.select_option("0.png")
        opened.until("document.getElementById('lead').textContent.includes('0.png')")
        assert not opened.page.locator("#stage .problem").is_visible()
        opened.context.close()
    assert opened.complaints == []


def test_a_method_whose_answer_was_lost_is_asked_again(browser: Any) -> None:
    with ExplorerServer(gallery(vit(), pictures=1)) as server:
        server.start()
        opened = Opened(browser, server.url)
        opened.page.route("**/api/relevance/0/for%20all", lambda route: route.abort(), times=1)
        opened.page.locator("#method").select_option("For all")
        said = "document.querySelector('#relevance .said').textContent"
        opened.until(f"{said}.startsWith('For all has no map here: The server does not answer')")
        opened.page.locator("#method").select_option("By class")
        opened.until(f"{said}.startsWith('By class, for')")
        opened.page.locator("#method").select_option("For all")
        opened.until(f"{said}.startsWith('For all, the same for every class')")
        opened.context.close()
    assert all("Failed to load resource" in line for line in opened.complaints)


def test_without_a_head_all_of_the_page_is_without_it(browser: Any) -> None:
    shown = gallery(vit(), pictures=1, methods={"rollout": OURS["rollout"]})
    with ExplorerServer(shown) as server:
        server.start()
        opened = Opened(browser, server.url)
        rollout = "document.querySelector('#relevance .said').textContent"
        opened.until(f"{rollout}.startsWith('Rollout, the same')")
        intact = opened.text("#relevance .said")
        opened.page.locator("#layer").fill("1")
        opened.keys("h", "x", "L")
        opened.until("document.getElementById('lead').textContent.includes('without 1 head')")
        number = shown.ablate(0, [(0, 0)], [])["view"]
        weights = unpack_layer(shown.view(number).layers[1])[0, 0, 1:]
        opened.page.locator("#layer").fill("2")
        opened.until("!document.querySelector('#stage .pane .said').textContent.includes('on its way')")
        assert f"({percent(weights.max().item())})" in opened.said()
        best = shown.view(number).document["predictions"][0]
        assert f"predicts {best['name']} ({percent(best['probability'])}) for" in opened.text("#lead")
        opened.until(f"{rollout}.startsWith('Rollout without 1 head, the same')")
        assert "without 1 head" in opened.page.locator("#stage .glass").get_attribute("aria-label")
        assert "without 1 head" in opened.text("#stage .label")
        opened.keys("u")
        opened.until("!document.getElementById('lead').textContent.includes('without')")
        opened.until(f"{rollout} === {intact!r}")
        opened.context.close()
    assert opened.complaints == []


@pytest.mark.parametrize(
    ("kind", "opens"),
    [
        ("mean pool", "the patches together look"),
        ("BEiT", "the patches together look"),
        ("distillation", "the class token and the distillation token together look"),
        ("learned query", "the learned query looks"),
    ],
)
def test_opens_on_what_the_head_reads(browser: Any, tmp_path: Path, kind: str, opens: str) -> None:
    subject = vit(name="beit_base_patch16_224") if kind == "BEiT" else KINDS[kind]()
    shown = gallery(subject, pictures=1)
    write_page(shown, tmp_path / "page.html")
    opened = Opened(browser, (tmp_path / "page.html").as_uri())
    view = look(subject, shown.images[0][1][0])
    rows = view.layers[-1][1].weights.mean(0)
    queries = [0] if kind == "learned query" else list(view.reads.prefix) or slice(len(view.prefix_names), None)
    values = rows[queries].mean(0)[len(view.prefix_names) :]
    assert f": {opens} most at row" in opened.said()
    assert f"({percent(values.max().item())})" in opened.said()
    assert f"where {opens.replace('the learned', 'the pool’s learned'.replace('’', chr(39)))}" in opened.text("#lead")
    opened.context.close()
    assert opened.complaints == []


def test_merged_and_removed_patches(browser: Any, tmp_path: Path) -> None:
    for change in (MergeTokens(r=6), PruneTokens(keep=0.4, blocks=(0,))):
        whole = vit()
        subject = replace(whole, model=rewrite(whole.model, change))
        cover = layer_covers(subject)[2]
        gallery = Gallery([subject], [("0.png", fitted([subject], picture()))], methods={})
        write_page(gallery, tmp_path / "page.html")
        opened = Opened(browser, (tmp_path / "page.html").as_uri())
        assert f"Layer 3, mean of heads · {max(cover) + 1} tokens on 16 cells" in opened.text("#stage .label")
        for cell, token in enumerate(cover):
            opened.over("#stage .glass", (cell // 4 + 0.5) / 4, (cell % 4 + 0.5) / 4)
            said, cells = opened.said(), [other for other in range(16) if cover[other] == token]
            top, left = cells[0] // 4 + 1, min(other % 4 for other in cells) + 1
            if token < 0:
                assert "this patch has no token here: it was removed, or is hidden" in said
            elif scattered(cells):
                first = f"row {cells[0] // 4 + 1} column {cells[0] % 4 + 1}"
                further = len(cells) - 1
                assert f"patch {first} and {further} further cell{'s' if further > 1 else ''} look" in said
                assert opened.page.locator("#stage .here.scattered path").count() == 2
            else:
                assert f"patch row {top} column {left}" in said
                assert opened.page.locator("#stage .here.scattered").count() == 0
        assert opened.page.locator("#stage .lead .absent").count() == (min(cover) < 0)
        opened.context.close()
        assert opened.complaints == []


def layer_covers(subject: Watched) -> list[tuple[int, ...]]:
    """The patch of each cell in every layer."""
    return [rows.keys.cover for _, rows in look(subject, picture()).layers if isinstance(rows, LayerRows)]


def scattered(cells: list[int]) -> bool:
    rows, columns = {cell // 4 for cell in cells}, {cell % 4 for cell in cells}
    return len(cells) < (max(rows) - min(rows) + 1) * (max(columns) - min(columns) + 1)


def test_a_query_of_a_detector_is_chosen_by_its_object(browser: Any, tmp_path: Path) -> None:
    subject, image = detr(), picture(size=(64, 64))
    write_page(Gallery([subject], [("a.png", [image])], methods={}), tmp_path / "page.html")
    view = look(subject, image)
    weights = unpack_layer(pack_layer("last", view.layers[-1][1])).mean(0)
    order = sorted(range(4), key=lambda query: -view.objects[query].found.score)

    def words(query: int) -> str:
        best = int(weights[query].argmax())
        found = view.objects[query].found
        name = f"query {query + 1} ({found.name} {percent(found.score)})"
        where = f"row {best // 2 + 1} column {best % 2 + 1} ({percent(weights[query].max().item())})"
        return f"Layer 5, mean of heads: {name} looks most at {where}."

    opened = Opened(browser, (tmp_path / "page.html").as_uri())
    assert opened.said() == words(order[0])
    opened.keys("t")
    assert opened.said() == words(order[1])
    opened.page.get_by_label("Query", exact=True).select_option(index=order[-1] + 1)
    assert opened.said() == words(order[-1])
    found = view.objects[order[-1]].found
    box = opened.page.locator("#stage .box").first.bounding_box()
    glass = opened.page.locator("#stage .glass > img").first.bounding_box()
    assert box["width"] / glass["width"] == pytest.approx(found.right - found.left, abs=0.02)
    assert (box["y"] - glass["y"]) / glass["height"] == pytest.approx(found.top, abs=0.02)
    opened.page.get_by_label("Query", exact=True).select_option(index=0)
    assert "the 4 queries together look most at" in opened.said()
    assert opened.complaints == []
    opened.context.close()


def test_a_word_of_a_text_is_chosen_like_a_class(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    (subject,) = watch_all(checkpoint(), None, device="cpu", texts=["a red square"])
    write_page(Gallery([subject], [("a.png", [picture()])], methods={"lrp": OURS["lrp"]}), tmp_path / "page.html")
    found = look(subject, picture()).predictions
    opened = Opened(browser, (tmp_path / "page.html").as_uri())
    assert f"compares “a red square” (similarity {found[0].probability:.2f}".replace("-", "−") in opened.text("#lead")
    rows = opened.page.locator("#classes button")
    assert [text.split("\n")[0] for text in rows.all_inner_texts()] == ["a red square", "a", "red", "square"]
    value = rows.nth(2).inner_text().split("\n")[1]
    assert value == f"{found[2].probability:+.2f}".replace("-", "−")
    rows.nth(2).click()
    assert "for the word “red”, its part of the similarity: strongest at row" in opened.text("#relevance .said")
    assert opened.complaints == []
    opened.context.close()


def test_a_frame_of_a_clip_is_asked_and_frames_have_shares(browser: Any, tmp_path: Path) -> None:
    subject, frames = video("joint"), clip("joint")
    method = OURS["lrp"]
    write_page(Gallery([subject], [("a.png", [frames])], methods={"lrp": method}), tmp_path / "page.html")
    rows = look(subject, frames).layers[-1][1]
    weights = unpack_layer(pack_layer("last", rows)).mean(0).reshape(2, 2, 2, 2, 2, 2, 2, 2)
    opened = Opened(browser, (tmp_path / "page.html").as_uri())
    opened.page.get_by_role("button", name="frames 5 to 6").click()
    looks = weights[1, :, 0].mean(dim=(0, 1))  # frame in row 1, column 0 of the mosaic; mean over its 2 by 2 patches
    shares = looks.sum(dim=(1, 3)).flatten()
    chips = opened.page.locator("#stage .tokens button b").all_inner_texts()
    assert chips[1:] == [percent(share.item()) for share in shares]
    best = int(looks.argmax())
    (row, high, column, wide) = (best // 8, best // 4 % 2, best // 2 % 2, best % 2)
    frame = 2 * row + column
    where = (
        f"frames {2 * frame + 1} to {2 * frame + 2} row {high + 1} column {wide + 1} ({percent(looks.max().item())})"
    )
    assert opened.said() == f"Layer 2, mean of heads: the patches of frames 5 to 6 together look most at {where}."
    opened.over("#stage .glass", 0.9, 0.1)
    assert "patch frames 5 to 6 row 2 column 1 looks most at" in opened.said() or "Below the pointer" in opened.said()
    values = method(subject.model, subject.pixels(frames))[0]
    frame, high, wide = (int(index) for index in (values == values.max()).nonzero()[0])
    where = f"strongest at frames {2 * frame + 1} to {2 * frame + 2} row {high + 1} column {wide + 1}."
    assert where in opened.text("#relevance .said")
    assert opened.complaints == []
    opened.context.close()
