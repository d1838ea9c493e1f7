"""The report and the card of a run: what they say, that nothing escapes, and that they stand alone."""

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
import yaml
from markdown_it import MarkdownIt

from vitrail.data.samples import BadFile
from vitrail.pages.charts import line_chart, reliability_chart, ticks
from vitrail.pages.html import facts
from vitrail.pages.html import page as html_page
from vitrail.tasks.classification import Classification
from vitrail.tasks.classification_evaluation import ClassEvaluation
from vitrail.tasks.classification_metrics import score
from vitrail.tasks.classification_report import confused_pairs
from vitrail.tasks.outcomes import Mistake
from vitrail.training.publish.model_card import CardFacts, write_card
from vitrail.training.publish.report import DrawnMistake, DrawnSample, Report, report_page, write_report
from vitrail.training.publish.results import run_title

NASTY = ("<script>alert(1)</script>", 'a "quoted" & name', "猫 | it's")


class Page(HTMLParser):
    """Text, tags, and cells of the tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.rows = "", [], []
        self.inside: list[str] = []
        self.feed(html)
        assert self.inside == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img", "rect", "line", "circle", "polyline", "br", "input"}:
            self.inside.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if self.inside and tag in self.inside:
            assert self.inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.inside and self.inside[-1] not in {"script", "style"}:
            self.text += data
        if {"td", "th"} & set(self.inside):
            self.rows[-1][-1] += data


def evaluate(names: Sequence[str], samples: int = 200) -> tuple[ClassEvaluation, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, len(names), (samples,), generator=generator)
    logits = torch.randn(samples, len(names), generator=generator)
    logits[torch.arange(samples), labels] += 1.5
    return score(logits, torch.eye(len(names))[labels], names), labels


def full_report(evaluation: ClassEvaluation) -> Report:
    history = [
        {"epoch": epoch, "step": 9 * epoch, "lr": 1e-4 * epoch, "train_loss": 2 / epoch, "val_loss": None}
        | ({"val_loss": float("nan"), "val_top1": 0.5} if epoch == 2 else {})
        for epoch in (1, 2, 3)
    ]
    mistake = DrawnMistake(
        image=torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8),
        name="a/<i>.png",
        words=Mistake(index=3, predicted=NASTY[0], truth=NASTY[1], size="99%"),
        attention=torch.rand(4, 4),
    )
    return Report(
        title="run of <b>cats</b> & dogs",
        summary={"model": "vit <tiny>"},
        history=history,
        curve=Classification.curve,
        evaluation=evaluation,
        sections=Classification().report(evaluation),
        mistakes=[mistake],
        batch=[
            DrawnSample(torch.randint(0, 256, (3, 200, 160), dtype=torch.uint8), label) for label in (*NASTY[:2], "")
        ],
        recipe_yaml="lr: 0.1\nname: <x>\n",
        versions={"torch": "2.11"},
        commands=["vitrail predict 'runs/a & b' photos/"],
    )


def test_everything_is_escaped_and_said(tmp_path: Path) -> None:
    evaluation = replace(evaluate(NASTY)[0], bad=(BadFile("a.png", "damaged"),))
    write_report(tmp_path / "report.html", full_report(evaluation))
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    for text in (*NASTY, "run of <b>cats</b> & dogs", "vit <tiny>", "a/<i>.png", "name: <x>", "runs/a & b"):
        assert text in page.text
    assert f"{100 * evaluation.top1:.2f} %" in page.text
    assert "top-5" not in page.text
    assert "1 file could not be used" in page.text
    assert "nan" not in page.text
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not re.search(r"https?://", html)
    for tag, attrs in page.tags:
        assert (attrs.get("src") or "data:").startswith("data:")
        assert tag != "img" or attrs.get("alt") is not None


def test_a_report_is_named_for_its_source_and_its_run(tmp_path: Path) -> None:
    assert run_title(tmp_path / "runs" / "flowers-3", "flowers") == "flowers-3", "as runs are named by default"
    assert run_title(tmp_path / "vit small", str(tmp_path / "flowers.csv")) == "flowers.csv: vit small"
    assert run_title(tmp_path / "flowers-3", str(tmp_path / "flowers.csv")) == "flowers-3"
    assert run_title(Path(), "digits") == f"digits: {Path.cwd().name}"


def test_rank_and_spread_are_explained_where_they_are_drawn() -> None:
    evaluation, _ = evaluate(("cat", "dog"))
    known = full_report(evaluation)
    assert "directions" not in Page(report_page(known)).text
    rows = [{**row, "val_rank": 3.0 + row["epoch"], "val_spread": 0.5} for row in known.history]
    text = Page(report_page(replace(known, history=rows))).text
    assert "1 means that all embeddings lie on one line." in text
    assert "0 if all images have the same one." in text


def test_the_matrix_and_the_rows_are_the_evaluations() -> None:
    evaluation, labels = evaluate(("cat", "dog", "bird"))
    rows = Page(report_page(full_report(evaluation))).rows
    for index, name in enumerate(("cat", "dog", "bird")):
        counts = [str(count) for count in evaluation.confusion[index]]
        assert [name, *counts] in rows
        support = str(int((labels == index).sum()))
        assert any(row[:2] == [name, support] and len(row) == 5 for row in rows)


def test_many_classes_show_the_most_confused_pairs() -> None:
    evaluation, _ = evaluate([f"c{index}" for index in range(1000)], samples=3000)
    page = Page(report_page(full_report(evaluation)))
    assert "confusion" not in {attrs.get("class") for _, attrs in page.tags}
    assert "The most confused pairs of 1000 classes" in page.text
    assert "All 1000 classes" in page.text


def test_confused_pairs_by_hand() -> None:
    assert confused_pairs([[5, 2, 0], [0, 0, 0], [1, 2, 1]]) == [
        (2, 1, 2, 0.5),
        (0, 1, 2, 2 / 7),
        (2, 0, 1, 0.25),
    ]


def test_multi_label_and_a_bare_report() -> None:
    targets = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]] * 6 + [[0, 1, 0], [0, 0, 1]])
    evaluation = score(torch.randn(20, 3), targets, NASTY, "many")
    sections = Classification(labels="many").report(evaluation)
    bare = Report(
        title="t", summary={}, history=[], curve=Classification.curve, evaluation=evaluation, sections=sections
    )
    page = Page(report_page(bare))
    assert "mean average precision" in page.text
    assert ">Calibration<" not in page.text
    assert "How it learned" not in page.text


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.13, 0.29, [0.15, 0.2, 0.25]),
        (1, 30, [5, 10, 15, 20, 25, 30]),
        (4, 4, [4]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_line_goes_through_its_points() -> None:
    chart = line_chart({"a<b": [(0, 0.0), (5, 1.0), (10, 2.0), (11, float("inf"))]}, label="Loss", x_label="epoch")
    places = [tuple(map(float, pair.split(","))) for pair in re.search(r'points="([^"]+)"', chart).group(1).split()]
    (x0, y0), (x1, y1), (x2, y2) = places
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.11)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.11)
    assert y2 < y0
    assert "a&lt;b ends at 2" in chart
    assert line_chart({"a": []}, label="", x_label="") == ""
    assert "<circle" in line_chart({"a": [(1, 3.0)]}, label="", x_label="")


def test_reliability_bars_are_as_high_as_the_accuracy() -> None:
    chart = reliability_chart([(0.0, 0.5, 0, 0.0), (0.5, 0.75, 4, 0.5), (0.75, 1.0, 8, 1.0)])
    heights = [float(height) for height in re.findall(r'<rect [^>]*height="([\d.]+)"', chart)]
    assert len(heights) == 2
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.2)


def test_the_card_is_what_hubs_read(tmp_path: Path) -> None:
    evaluation, _ = evaluate(NASTY)
    write_card(
        tmp_path / "README.md",
        full_report(evaluation),
        CardFacts(
            model="vit_tiny",
            dataset="pets: <all>",
            origin="fine-tuned from timm/x on pets",
            gives=Classification().describe(NASTY),
            task="image-classification",
        ),
    )
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    values = yaml.safe_load(front)
    assert values["license"] == "unknown"
    (result,) = values["model-index"][0]["results"]
    assert result["dataset"]["name"] == "pets: <all>"
    assert result["metrics"][0] == {"type": "accuracy", "value": round(evaluation.top1, 4)}
    assert "<script>" not in body
    assert "猫 \\| it's" in body
    assert "vitrail predict ." in body
    assert "fine-tuned from timm/x" in body
    for row in re.findall(r"^\|.*\|$", body, re.MULTILINE):
        assert len(re.findall(r"(?<!\\)\|", row)) == 3


def test_the_card_of_a_model_without_classes_names_commands_that_take_it(tmp_path: Path) -> None:
    facts = CardFacts(model="vit", dataset="photos", origin="fresh", gives="features", task="image-feature-extraction")
    texts = {}
    for predicts in (True, False):
        path, report = tmp_path / f"{predicts}.md", replace(full_report(evaluate(NASTY)[0]), mistakes=[])
        write_card(path, report, replace(facts, predicts=predicts))
        texts[predicts] = path.read_text(encoding="utf-8")
    refused = ("vitrail eval .", "vitrail predict .", "vitrail.predict(", "class_names")
    assert all(command in texts[True] and command not in texts[False] for command in refused)
    taken = ("vitrail embed . ", "vitrail study probe . ", "vitrail train labelled-photos/ --weights . ")
    assert all(command in texts[False] for command in taken)
    assert "curves: `report.html`" in texts[True], "without mistakes none are promised"


def test_the_card_of_a_model_without_attention_calls_it_no_transformer(tmp_path: Path) -> None:
    facts = CardFacts(model="resnet18", dataset="photos", origin="fresh", gives="a class", task="image-classification")
    write_card(tmp_path / "README.md", full_report(evaluate(NASTY)[0]), replace(facts, attends=False))
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "A vision model, resnet18," in text
    assert "transformer" not in text.split("## Recipe")[0].lower()


def test_long_names_among_the_facts_break_after_an_underscore() -> None:
    page = facts([("model", "vit_tiny<b>")])
    assert "<dd>vit_<wbr>tiny&lt;b&gt;</dd>" in page


HOSTILE_NAMES = (
    "[x](javascript:alert(6))", "![x](https://e.com/a.png)", "<img src=x onerror=alert(1)>", "a | b", "`x`",
    "www.e.com", "https://e.com", "me@e.com", "**bold** _em_ ~~gone~~", "[x]: https://e.com", "\\[x](https://e.com)",
    "vit_tiny_patch16",
)  # fmt: skip


def test_names_in_the_card_are_text_only(tmp_path: Path) -> None:
    facts = CardFacts(
        model="`</code><b>",
        dataset=" ".join(HOSTILE_NAMES),
        origin="fresh",
        gives=f"one of: {', '.join(HOSTILE_NAMES)}",
        task="image-classification",
    )
    report = full_report(evaluate(HOSTILE_NAMES)[0])
    report = replace(report, recipe_yaml="weights: 'x\n\n  ```\n\n  [x](https://e.com)'", summary={"model": "<b>"})
    write_card(tmp_path / "README.md", report, facts)
    text = (tmp_path / "README.md").read_text().split("---\n", 2)[2]
    html = MarkdownIt("gfm-like", {"linkify": False}).render(text)
    page = Page(html)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"a", "img", "b", "strong", "em", "s", "del", "script"}
    assert all(" ".join(name.split()) in " ".join(page.text.split()) for name in HOSTILE_NAMES)
    assert not re.search(r"https?://e|www\.|@e\.com", text.split("## Recipe")[0]), "what GitHub would make a link of"


def test_the_policy_of_a_page_lets_its_own_scripts_run_only() -> None:
    body = "<script>alert(1)</script>"
    text = html_page("t", "", [body], scripts=[("module", "a()"), ("", "b()")])
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    nonce = re.search(r"script-src 'nonce-(\w{32})'", policy)[1]
    assert policy.startswith("default-src 'none'; ")
    assert "connect-src 'none'" in policy
    assert "connect-src 'self'" in html_page("t", "", [], connects=True)
    tags = [dict(attributes) for tag, attributes in Page(text).tags if tag == "script"]
    assert tags == [{}, {"type": "module", "nonce": nonce}, {"nonce": nonce}]
    assert nonce not in html_page("t", "", [body, nonce], scripts=[("", "b()")]).replace(nonce, "", 1)
