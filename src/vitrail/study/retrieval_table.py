"""A study of retrieval as a table for a terminal, as CSV, and as a page."""

from pathlib import Path

from ..pages.files import ResultFiles, Table, results
from ..pages.html import section
from ..pages.html import table as html_table
from ..tasks.retrieval import RANKS
from .retrieval import RetrievalStudy

_SHOWN = 50
"""Images that the page lists, those whose own caption is farthest behind."""


def table(study: RetrievalStudy) -> Table:
    """Headers and rows: R@k of each direction."""
    headers = ["query", "queries", "candidates", *(f"R@{k}" for k in RANKS)]
    rows = [
        [one.query, f"{one.queries:,}", f"{one.candidates:,}", *(f"{100 * one.recall[k]:.1f} %" for k in RANKS)]
        for one in study.directions
    ]
    return headers, rows


def files(study: RetrievalStudy, model: str) -> ResultFiles:
    """Content of the files that `-o` writes.

    Args:
        study: the study.
        model: name of the checkpoint.
    """
    rows = [
        [one.query, one.queries, one.candidates, *(f"{one.recall[k]:.6g}" for k in RANKS)] for one in study.directions
    ]
    images = [
        [one.name, one.caption, f"{one.similarity:.6g}", one.found, f"{one.found_similarity:.6g}"]
        for one in study.found
    ]
    return ResultFiles(
        name="retrieval",
        title=f"Retrieval with {Path(model).name or model}",
        notes=study.notes,
        cautions=study.evaluation.cautions(),
        table=table(study),
        csv={
            "retrieval": [["query", "queries", "candidates", *(f"r{k}" for k in RANKS)], *rows],
            "images": [["path", "caption", "similarity", "found", "found_similarity"], *images],
        },
        sections=[results(table(study), "retrieval"), _mistakes(study)],
    )


def _mistakes(study: RetrievalStudy) -> str:
    wrong = [one for one in study.found if one.found_similarity > one.similarity]
    worst = sorted(wrong, key=lambda one: one.similarity - one.found_similarity)[:_SHOWN]
    if not worst:
        return ""
    rows = [(one.name, one.caption, f"{one.similarity:.3f}", one.found, f"{one.found_similarity:.3f}") for one in worst]
    head = ("image", "own caption", "similarity", "caption found", "similarity")
    note = f"{len(wrong):,} images find another caption than their own among all; the worst first. All: images.csv."
    return section("Other captions found", html_table(head, rows), note)
