"""What a paper takes over: the LaTeX table, the methods and their references."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest
from pypdf import PdfReader

from contract.cell_record import CellRecord
from leaderboards.board import build_leaderboard
from leaderboards.manuscript import bibliography
from leaderboards.manuscript.latex import latex, latex_escape
from leaderboards.manuscript.methods import methods
from leaderboards.manuscript.references import DataSets, references
from leaderboards.markdown import Meta
from leaderboards.tables import build

RowMaker = Callable[..., pd.DataFrame]
EVIL = r"100%_of_{x} & \input{y} $z$ #1 ~^"
DATA = DataSets.of([("montgomery+jsrt", "shenzhen"), (None, "own_films")])


@pytest.fixture
def table(make_rows: RowMaker) -> pd.DataFrame:
    rows = [
        make_rows("unet", {"c1": 0.95, "c2": 0.96}),
        make_rows("scan", {"c1": 0.949, "c2": 0.959}),
        make_rows(EVIL, {"c1": 0.5, "c2": 0.6}),
    ]
    return build(pd.concat(rows), draws=50)


def table_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.endswith(r"\\")]


def test_latex_holds_the_table(table: pd.DataFrame) -> None:
    header, first, second, third = table_lines(latex(table, Meta("smoke", draws=50)))
    assert first.startswith(r"1 & unet~\cite{ronneberger2015} & \textbf{0.9550} [")
    assert r"\textbf{0.9540}" in second
    assert r"\textbf" not in third
    cells = [len(re.findall(r"(?<!\\)&", line)) for line in (header, first, second, third)]
    assert set(cells) == {6}


def test_latex_keeps_names_text(table: pd.DataFrame) -> None:
    text = latex(table, Meta("smoke", draws=50))
    assert latex_escape(EVIL) == (
        r"100\%\_of\_\{x\} \& \textbackslash{}input\{y\} \$z\$ \#1 "
        r"\textasciitilde{}\textasciicircum{}"
    )
    assert r"\input" not in text
    bare = text.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")


def test_latex_tells_who_was_not_trained_here(table: pd.DataFrame) -> None:
    elsewhere = CellRecord("scan", "m_to_s", 0, "done", external={"tool": "another"})
    text = latex(table, Meta("smoke", cells=[elsewhere], draws=50))
    assert "scan (external)" in text and "unet (external)" not in text


def test_latex_takes_the_table_and_the_figures_and_nothing_leaves_its_column(
    make_rows: RowMaker, write_cell: Callable[..., Path]
) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("needs the Debian packages texlive-latex-base and texlive-latex-recommended")
    for name, dice in (("adversarial_attention_unet", 0.95), ("unet", 0.9), ("own_net", 0.8)):
        rows = make_rows(name, {f"c{k}": dice + k / 100 for k in range(4)}, phantom=True)
        suite = write_cell(rows.assign(hausdorff95_mm=4.2, assd_mm=1.3), phantom=True)
    folder = build_leaderboard(suite, draws=20, protocols={"m_to_s": EVIL})
    first, second, *_ = sorted((folder / "figures").glob("*.pdf"))
    text = [
        r"\documentclass[twocolumn]{article}",
        r"\usepackage{booktabs, graphicx}",
        r"\begin{document}",
        r"\input{leaderboard.tex}",
        r"\noindent",
        *(rf"\includegraphics[width=\columnwidth]{{figures/{f.name}}}" for f in (first, second)),
        r"\end{document}",
    ]
    (folder / "article.tex").write_text("\n".join(text))
    call = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "article.tex"]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    log = (folder / "article.log").read_text("latin-1")
    assert "Overfull" not in log and "PDF inclusion" not in log
    said = "".join(page.extract_text() for page in PdfReader(folder / "article.pdf").pages)
    assert said.count("PHANTOM DATA") == 3
    assert "0.9650" in said


def test_the_methods_count_the_validation_cases_of_each_system(table: pd.DataFrame) -> None:
    counted = {"unet": 14, "scan": 0, "late": 14}
    cells = [
        CellRecord(name, "m_to_s", 0, "done", n_train=124, n_validation=seen, n_test=566)
        for name, seen in counted.items()
    ]
    text = methods(table, Meta("smoke", cells=cells, draws=50), DATA)
    assert (
        "`m_to_s`: 124 training and 14 validation cases, 138 labelled ones in all; scan: 124"
        " training and no validation cases, 124 labelled ones in all; 566 test cases." in text
    )


def test_a_latex_table_tells_that_systems_are_reduced(table: pd.DataFrame) -> None:
    said = "Reduced: trained otherwise"
    assert said not in latex(table, Meta("smoke", draws=50))
    assert said in latex(table.assign(reduced=True), Meta("smoke", draws=50))


def test_phantoms_say_so(make_rows: RowMaker) -> None:
    table = build(make_rows("unet", {"c1": 0.9, "c2": 0.8}, phantom=True), draws=20)
    meta = Meta("smoke", draws=20)
    assert "PHANTOM DATA" in latex(table, meta)
    assert "PHANTOM DATA" in methods(table, meta, DATA)


def test_every_citation_of_the_methods_has_its_entry(table: pd.DataFrame) -> None:
    text = methods(table, Meta("smoke", draws=50), DATA)
    cited = set(re.findall(r"@(\w+)", text))
    entries = set(re.findall(r"^@\w+\{(\w+),", references(text), re.MULTILINE))
    assert {"ronneberger2015", "dai2018", "shiraishi2000", "jaeger2014", "holm1979"} <= cited
    assert cited == entries
    assert "jsrt [@shiraishi2000; @vanginneken2006] and montgomery" in text
    assert r"own_films" in text


def test_every_system_and_data_set_is_known() -> None:
    systems = [f.stem for f in Path(str(files("benchmark.systems"))).glob("*.yaml")]
    named = [name for name in systems if not name.startswith("_")]
    assert [name for name in named if bibliography.of_system(name) is None] == []
    for name in ("jsrt", "montgomery", "shenzhen", "lidc_idri", "qin_lung_ct"):
        assert bibliography.of_data_set(name)
    assert bibliography.of_system("my_own_network") is None
    for critic in ("ScanCritic", "PatchCritic", "LganRegressionCritic"):
        assert bibliography.of_part(critic)
    assert bibliography.of_system("slgan_pixel") == ("munawar2020",)


def test_every_entry_is_used_and_every_use_has_an_entry() -> None:
    groups = bibliography.uses().values()
    used = {key for group in groups for keys in group.values() for key in keys}
    assert used == set(bibliography.entries())
    for key, entry in bibliography.entries().items():
        assert entry.count("{") == entry.count("}"), key


WITHOUT_A_NUMBER = {"holm1979", "iakubovskii2019"}
"""Known to have neither a DOI nor an arXiv id: an old journal's article, a piece of software."""


def fields_of(entry: str) -> dict[str, str]:
    found = re.findall(r"^  (\w+) = \{(.*)\},$", entry, re.MULTILINE)
    assert len(found) == len(entry.splitlines()) - 2, "one field a line"
    return dict(found)


@pytest.mark.parametrize("key", bibliography.entries())
def test_every_entry_is_fit_for_a_journal(key: str) -> None:
    fields = fields_of(bibliography.entries()[key])
    venue = {"journal", "booktitle", "publisher", "howpublished"} & set(fields)
    assert {"author", "title", "year"} <= set(fields) and venue
    assert "others" not in re.split(r" and ", fields["author"])
    assert not re.search("be checked|complete them|recorded here", bibliography.entries()[key])
    assert re.fullmatch(r"\d{4}", fields["year"])
    if key in WITHOUT_A_NUMBER:
        assert fields["url"].startswith("https://")
    else:
        assert re.fullmatch(r"10\.\d{4,}/\S+", fields.get("doi", "")) or re.fullmatch(
            r"\d{4}\.\d{4,5}", fields.get("eprint", "")
        )
    assert ("eprint" in fields) == (fields.get("archiveprefix") == "arXiv")


def test_no_work_has_two_entries() -> None:
    fields = [fields_of(entry) for entry in bibliography.entries().values()]
    for name in ("doi", "eprint", "title"):
        said = [entry[name] for entry in fields if name in entry]
        assert len(said) == len(set(said)), name


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(KeyError, match="nobody"):
        bibliography.bibtex(["nobody"])
