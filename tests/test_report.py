"""The report as a file, and in a real browser."""

import html
import html.parser
import itertools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import synthetic
from project import HANGS

from eosflow.analysis import style
from eosflow.results import (
    claims,
    explorer,
    figures,
    paper,
    report,
    report_chain,
    report_provenance,
    run_summaries,
    tables,
)
from eosflow.results.figures import drawing
from eosflow.storage.errors import UserError
from eosflow.studies import STUDIES as known_studies
from eosflow.workflow import config, plan

WIDTHS = (360, 800, 1400)
KEPT = Path(__file__).parent.parent / "docs" / "reproduction" / "flow" / "studies"
STUDIES = {path.parent.name: pd.read_csv(path) for path in sorted(KEPT.glob("*/table.csv"))}
NO_IMAGES = pd.DataFrame(columns=["class", "x", "y", "cex", "lwd", "lend", "dx", "dy"])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder of Dice runs, with every file the report is made from."""
    folder = tmp_path_factory.mktemp("results")
    decomposition, runs = synthetic.frames(["dice-ce"], noise=0.05)
    runs.loc[0, "stopped"] = "max_iterations"
    write_results(folder, decomposition, runs)
    return folder


def write_results(folder, decomposition, runs, studies=STUDIES):
    """Frames, tables, figures and report of some runs."""
    tables.write_parquet(decomposition, folder / "decomposition.parquet")
    tables.write_parquet(runs, folder / "runs.parquet")
    tables.write_all(folder, decomposition, runs)
    made = {"table3": tables.table3(NO_IMAGES)}
    for name, table in studies.items():
        made[f"studies/{name}/table"] = table
        if known_studies[name].judged:
            made[f"studies/{name}/claims"] = known_studies[name].judge(table)
    for name, table in made.items():
        tables.write_csv(table, folder / f"{name}.csv")
    # One picture stands for all: those of real drawings are in the tests of the kept evidence.
    drawn = [folder / f"any{end}" for end in (".pdf", ".png")]
    drawing.save(style.notice("Any", "A picture."), *drawn)
    (folder / "figures").mkdir()
    for name in figures.entries(runs["experiment"], studies):
        for path in drawn:
            shutil.copy(path, folder / "figures" / f"{name}{path.suffix}")
    report.render(folder, folder / "report.html", studies=studies)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(results):
    return Page((results / "report.html").read_text(encoding="utf-8"))


class Page(html.parser.HTMLParser):
    """Start tags with their attributes, and the text between tags."""

    EMPTY = ("meta", "img", "link", "br", "hr", "input")

    def __init__(self, source):
        super().__init__()
        self.source, self.tags, self.open, self.words = source, [], [], []
        self.scripts = []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        else:
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.words))


def test_the_page_is_whole_and_needs_no_other_file(page):
    assert not page.open
    for attributes in page.all("img"):
        assert attributes["src"].startswith("data:image/png;base64,")
    assert not page.all("link") and not any("src" in a for a in page.all("script"))
    style = page.source[page.source.index("<style>") : page.source.index("</style>")]
    assert not re.search(r"url\(|@import", style)
    assert len(page.source) < 3_000_000
    elsewhere = {a["href"] for a in page.all("a") if "//" in a["href"]}
    assert elsewhere == {"https://arxiv.org/abs/2406.00127"}


def test_links_and_structure(page, results):
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for attributes in page.all("a"):
        target = attributes["href"]
        if target.startswith("#"):
            assert target[1:] in ids
        elif "//" not in target:
            assert (results / target).exists(), target
    assert page.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(page.all("table")) == len(page.all("caption")) >= 4
    assert all(a.get("scope") in ("col", "row", "rowgroup") for a in page.all("th"))
    alternatives = [a["alt"] for a in page.all("img")]
    assert len(set(alternatives)) == len(alternatives) and all(len(a) > 20 for a in alternatives)
    assert all(int(a["width"]) > 0 and int(a["height"]) > 0 for a in page.all("img"))
    regions = [tag for tag, _ in page.tags if tag in ("header", "nav", "main", "footer")]
    assert regions == ["header", "nav", "main", "footer"]


def test_content(page, results):
    shown = figures.entries(["dice-ce"], STUDIES)
    assert {a["id"] for a in page.all("figure")} == set(shown)
    assert "runs at their target loss15 of 16" in page.text
    law = pd.read_csv(results / "table2.csv").iloc[0]
    assert f"{law['b']:.3g} [{law['b_low']:.2g}, {law['b_high']:.2g}]" in page.text
    law_table = page.text[page.text.index("Table 2.") : page.text.index("Alignment at each N")]
    assert "CIFAR-10" not in law_table  # of what nobody asked for
    found = pd.read_csv(results / "claims.csv")
    assert set(found["claim"]) == report_chain.SHOWN.keys()
    said = page.text[page.text.index("The paper's claims on") : page.text.index("Look closer The")]
    assert not re.search(r"\w[_^][\w½]", said)
    for verdict, count in found["verdict"].value_counts().items():
        assert f"claims: {verdict}{count} of {len(found)}" in page.text
        shown = re.findall(f">[✓✗?–] {verdict}</span></h3>", page.source)
        assert len(shown) == count
    assert "6 affine layers of width 64, elu" in page.text
    assert "exponential Euler with steps of at most 0.01, eigenpairs in float32" in page.text
    assert "2.13.0" in page.text
    assert "cheb-4, η = 0.2, " in page.text
    assert known_studies["edge-of-stability"].title in page.text


def test_the_same_files_give_the_same_page(page, results, tmp_path):
    report.render(results, tmp_path / "again.html", studies=STUDIES)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page.source


def test_a_claim_leads_to_its_figure_its_runs_and_its_worst_run(page, results):
    assert report_chain.SHOWN.keys() == claims.CLAIMS.keys()
    assert {shown.kind for shown in report_chain.SHOWN.values()} <= set(figures.KINDS)
    looks = [a for a in page.all("a") if a.get("class") == "look"]
    data = json.loads(page.scripts[0])
    assert {a["data-quantity"] for a in looks} <= {name for name, _ in data["quantities"]}
    known = {run["run"] for run in data["runs"]}
    assert {a["data-run"] for a in looks} <= known | {""}
    assert len(looks) == len(claims.CLAIMS)
    rows = {a["id"] for a in page.all("tr") if "id" in a}
    assert rows == {"run-" + name.replace("/", "-") for name in known}
    targets = {a["href"] for a in page.all("a")}
    worst = set(pd.read_csv(results / "claims.csv")["worst_run"]) & known
    assert worst and {"#run-" + name.replace("/", "-") for name in worst} <= targets
    assert {"#figure06", "#figure19", "#growth", "#power-law"} <= targets


def test_the_chain_of_the_argument_multiplies(page):
    decomposition, runs = synthetic.frames(["dice-ce"], noise=0.05)
    rows = report_chain.growth(decomposition, runs)
    assert [(row["n"], row["runs"]) for row in rows] == [(n, 4) for n in (468, 937, 1875, 3750)]
    for row in rows:
        assert row["m_norm2"] * row["overlap"] == pytest.approx(row["sharpness_gauss_newton"])
        product = 1.0
        for factor in run_summaries.FACTORS:
            product *= row[factor]
        assert product == pytest.approx(row["layer_norm2_1"])
        assert f"{row['alignment']:.3g}" in page.text
    assert "λ₁(𝓗) ≈ λ₁(G) = E‖M‖² · ω" in page.text


@pytest.mark.parametrize("layer", ["demo", "choices", "studies-demo"])
def test_the_configuration_of_the_page_plans_the_same_again(tmp_path, layer):
    folder = Path(__file__).parent.parent
    layers = [folder / "config.yaml", folder / "config" / f"{layer}.yaml"]
    here = {"device": "cpu", "mirror": str(tmp_path)}
    asked = plan.Plan(config.load(layers, here))
    (tmp_path / "same-runs.yaml").write_text(report_provenance.configuration(asked.config))
    again = plan.Plan(config.load([layers[0], tmp_path / "same-runs.yaml"], here))
    assert again.record()["runs"] == asked.record()["runs"] != {}
    assert again.record()["measurements"] == asked.record()["measurements"]
    assert (again.selected, again.studies) == (asked.selected, asked.studies)
    assert (again.results, again.figures) == (asked.results, asked.figures)
    assert str(tmp_path) not in report_provenance.configuration(asked.config)


def test_the_chart_shows_every_run_from_the_end_of_its_transient_on():
    decomposition, runs = synthetic.frames(["dice-ce"])
    decomposition.loc[decomposition["iteration"] == 300, "sharpness_residual"] = -1.0
    later = decomposition[decomposition["iteration"] >= 10]
    data = explorer.data(decomposition, runs)
    by_name = dict(list(later.groupby(run_summaries.run_names(later))))
    assert {run["run"] for run in data["runs"]} == by_name.keys()
    for run in data["runs"]:
        whole = by_name[run["run"]].set_index("iteration")
        assert run["points"]["iteration"] == whole.index.tolist()
        for name, column in (("sharpness_hessian",) * 2, ("alignment", "alignment_product")):
            assert run["points"][name] == pytest.approx(whole[column].to_numpy(), rel=1e-3)
        # What has no logarithm stays a gap.
        place = run["points"]["iteration"].index(300)
        assert run["points"]["sharpness_residual"][place] == -1.0


def test_the_papers_sizes_are_those_of_the_paper() -> None:
    settings = config.load([Path(__file__).parent.parent / "config.yaml"])
    sizes = {name: tuple(each["n"]) for name, each in settings["experiments"].items()}
    assert sizes == {name: each.sizes for name, each in paper.EXPERIMENTS.items()}


def test_the_headline_says_of_what_runs_the_results_are(results):
    _, runs = synthetic.frames(["dice-ce"])
    runs = runs.assign(network=report.PAPER_NETWORK)
    assert report.scale(runs) == (
        "The paper's network and sizes: 6 affine layers of width 512, elu; "
        "Dice, cross-entropy, N = 468 to 3,750 of the paper's 468 to 7,500 (16 runs)."
    )
    for other in ({"network": "3 affine layers of width 8, elu"}, {"n": 60}):
        assert report.scale(runs.assign(**other)).startswith("Not the paper's settings: ")
    page = (results / "report.html").read_text()
    head = page[page.index("<header>") : page.index("</header>")]
    assert "Not the paper's settings" in html.unescape(head)


@pytest.mark.slow
def test_other_experiments_have_rows_figures_and_a_section(tmp_path):
    page = write_results(tmp_path, *synthetic.mixed(seeds=1))
    assert not page.open
    shown = {a["id"] for a in page.all("figure")}
    assert {"my-conv-sharpness", "iris-gd-alignment", "figure06", "power-law"} <= shown
    assert "experiments that are not the paper's: my-conv, iris-gd" in page.text
    assert "No fit: " in page.text and "3 finished runs without alignments" in page.text
    assert "3 convolutions, relu" in page.text and "gradient descent, learning rate" in page.text
    assert "Iris flowers" in page.text
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids)) and {"#others"} <= {a["href"] for a in page.all("a")}


@pytest.mark.parametrize(
    "name", ["claims.csv", "figures/figure06.png", "figures/transient.png", "runs.parquet"]
)
def test_a_missing_file_is_named_with_the_command_that_makes_it(results, tmp_path, name):
    shutil.copytree(results, tmp_path / "copy")
    (tmp_path / "copy" / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing.*snakemake .*{name}"):
        report.render(tmp_path / "copy", tmp_path / "report.html", studies=STUDIES)
    assert not (tmp_path / "report.html").exists()


def contrast(first, second):
    def luminance(color):
        values = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_is_readable_in_light_and_dark(page):
    schemes = re.findall(r":root \{(.*?)\}", page.source, re.DOTALL)[:2]
    assert len(schemes) == 2
    for scheme in schemes:
        colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", scheme))
        for ink in ("ink", "muted", "link", "good", "bad", "open"):
            for ground in ("ground", "panel"):
                assert contrast(colors[ink], colors[ground]) >= 4.5, (ink, ground)


@pytest.fixture(scope="module")
def measured(results, tmp_path_factory):
    """The page at three widths in headless Chromium: widths, images, and what overflows."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if browser is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    frames = "".join(
        f'<iframe id="w{w}" style="width:{w}px;height:900px;border:0" srcdoc="{{page}}"></iframe>'
        for w in WIDTHS
    )
    source = (results / "report.html").read_text(encoding="utf-8")
    escaped = source.replace("&", "&amp;").replace('"', "&quot;")
    script = """
    const wait = ms => new Promise(done => setTimeout(done, ms));
    const until = async ready => { for (let i = 0; i < 100 && !ready(); i++) await wait(100); };
    const sorted = page => {
      const table = page.getElementById('every-run').closest('table');
      const column = [...table.tHead.rows[0].cells].findIndex(c => c.textContent === 'N');
      table.tHead.rows[0].cells[column].querySelector('button').click();
      table.tHead.rows[0].cells[column].querySelector('button').click();
      return [table.tHead.rows[0].cells[column].getAttribute('aria-sort'),
        [...table.tBodies[0].rows].map(r => r.cells[column].textContent.trim())];
    };
    window.addEventListener('load', async () => {
      const found = {};
      for (const frame of document.querySelectorAll('iframe')) {
        const page = frame.contentDocument;
        await until(() => page.querySelector('#course-chart svg .mark-line path'));
        const look = page.querySelector('a.look[data-run]:not([data-run=""])');
        look.addEventListener('click', event => event.preventDefault());  // or the frame would go
        look.click();
        await until(() => / from /.test(page.getElementById('explore-status').textContent));
      }
      for (const frame of document.querySelectorAll('iframe')) {
        const page = frame.contentDocument, root = page.documentElement;
        const within = e => e.closest('.scroll, .sheet, pre, .hidden, .skip') === null;
        found[frame.id] = {
          client: root.clientWidth, scroll: root.scrollWidth,
          images: [...page.images].map(i => [i.complete, i.naturalWidth, i.clientWidth]),
          wide: [...page.body.querySelectorAll('*')].filter(within)
            .filter(e => e.getBoundingClientRect().right > root.clientWidth + 1)
            .map(e => e.tagName + '.' + e.className),
          unreachable: [...page.querySelectorAll('.scroll, .sheet, pre')]
            .filter(e => e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0).length,
          lines: page.querySelectorAll('#course-chart svg .mark-line path').length,
          chart: page.querySelector('#course-chart svg')?.getAttribute('aria-label')
            ?? page.querySelector('#course-chart [aria-label]')?.getAttribute('aria-label'),
          status: page.getElementById('explore-status').textContent,
          sorted: sorted(page),
          smallest: Math.min(...[...page.querySelectorAll('p, td, th, a, li')]
            .map(e => parseFloat(page.defaultView.getComputedStyle(e).fontSize))),
        };
      }
      document.body.innerHTML = '<pre id="found">' + JSON.stringify(found) + '</pre>';
    });"""
    folder = tmp_path_factory.mktemp("browser")
    wrapper = folder / "wrapper.html"
    body = frames.replace("{page}", escaped)
    head = '<!DOCTYPE html><meta charset="utf-8">'
    wrapper.write_text(f"{head}<body>{body}<script>{script}</script>", encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    flags += " --disable-background-networking --disable-component-update --window-size=1600,1000"
    flags += " --virtual-time-budget=60000"
    command = [browser, *flags.split(), f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [*command, wrapper.as_uri()],
        capture_output=True,
        text=True,
        timeout=HANGS,
        env={**os.environ, "HOME": str(folder)},
        check=True,
    )
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match, done.stdout[:500] + done.stderr[-500:]
    return json.loads(match.group(1).replace("&amp;", "&"))


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_in_a_browser(measured, width, page):
    found = measured[f"w{width}"]
    assert width - 20 <= found["client"] <= width
    assert found["scroll"] <= found["client"], found["wide"]
    assert found["wide"] == []
    assert len(found["images"]) == len(page.all("img"))
    assert all(complete and natural > 1000 for complete, natural, _ in found["images"])
    assert all(shown >= min(width - 80, 560) for _, _, shown in found["images"])
    assert found["unreachable"] == 0
    assert found["smallest"] >= 12
    assert found["lines"] == 16
    assert found["chart"].startswith("Line chart of λ₁(R), of the residual against iteration, 16")
    assert re.match(r"16 of 16 runs are shown\. dice-ce/n\d+/\S+: from ", found["status"])
    direction, sizes = found["sorted"]
    assert direction == "descending" and sizes[0] == "3,750" and sizes[-1] == "468"
    assert len(sizes) == 16


def test_studies_alone_are_a_report_too(results, tmp_path):
    report.render(results, tmp_path / "report.html", studies=STUDIES, experiments=False)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'<h3 id="study-([^"]+)"', text) == [n for n in known_studies if n in STUDIES]
    assert len(re.findall("<figure id=", text)) == 3
    made = pd.read_csv(results / "studies" / "edge-of-stability" / "claims.csv")
    assert set(made["verdict"]) <= {"not enough runs", "not run"}  # of five seeds
    for verdict, count in made["verdict"].value_counts().items():
        assert text.count(f"? {verdict}</span></td>") == count
        assert f"<dt>{verdict}</dt><dd>{count}</dd>" in text
    assert "Its problem is fixed; seeds 0 to 4." in text
    for other in ("table2", "every-run", "power-law", 'id="spectra"'):
        assert other not in text
