"""Which data reach which axis: numbers, limits, labels and legends, not pixels."""

import re
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.collections import LineCollection

from eosflow.analysis import style
from eosflow.results import figures, power_laws, run_summaries
from eosflow.results.figures import curves, drawing, index
from eosflow.results.paper import EXPERIMENTS
from eosflow.storage.errors import UserError
from eosflow.studies import STUDIES

# figure -> panel -> the column it shows, or a function of the frame
SHOWN = {
    "figure03": [f"layer_norm2_{layer}" for layer in (1, 3, 5)],
    "figure06": [
        *("sharpness_hessian", "sharpness_gauss_newton", "sharpness_residual"),
        lambda f: f["sharpness_hessian"] / f["sharpness_gauss_newton"],
    ],
    "figure10": ["m_norm2", "overlap"],
    "figure14": [f"layer_norm2_{layer}" for layer in range(1, 7)],
    "figure19": [
        "activation_ratio_1",
        "activation_norm2_1",
        "criterion_norm2",
        lambda f: f[[f"jacobian_norm2_{layer}" for layer in range(1, 6)]].prod(axis=1),
        "alignment_product",
        "layer_norm2_1",
    ],
    "figure23": [f"activation_ratio_{layer}" for layer in range(1, 7)]
    + [f"activation_growth_{layer}" for layer in range(1, 6)],
    "figure28": [f"alignment_{layer}" for layer in range(1, 6)],
    "figure33": [f"jacobian_norm2_{layer}" for layer in range(1, 6)],
    "figure38": [
        lambda frame, layer=layer: np.exp(
            sum(np.log(frame[f"alignment_{above}"]) for above in range(layer, 6))
        )
        for layer in range(1, 6)
    ],
}


@pytest.fixture(scope="module")
def frames():
    return synthetic.frames(noise=0.05)


def lines_of(axes):
    return [c for c in axes.collections if isinstance(c, LineCollection)]


def legend_texts(figure):
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if not axes.axison)]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def panels_of(figure):
    """The axes that show data; an empty cell of the grid may hold the legend."""
    return [axes for axes in figure.axes if axes.axison]


def test_the_list_is_the_papers():
    assert list(figures.FIGURES) == list(range(1, 43))
    some = (
        "1 sharpness cifar10-ce, 3 layers_three cifar10-ce, 4 factors cifar10-ce, 5 dice_examples "
        "dice-ce, 6 sharpness dice-ce, 9 sharpness sst-ce, 12 overlap atrialfibrillation-ce, 16 "
        "layers cifar10-mse, 22 factors sst-ce, 27 activation_ratios sst-ce, 28 alignment dice-ce, "
        "37 jacobian_norms sst-ce, 42 cumulative_alignment sst-ce"
    )
    for number, *found in map(str.split, some.split(", ")):
        assert figures.FIGURES[int(number)] == figures.Entry(*found)
    # Every kind of curve is drawn of each of the five experiments; one kind is of CIFAR-10 alone.
    for kind in {figures.NAMES[name].kind for name in SHOWN} - {"layers_three"}:
        shown = [e.experiment for e in figures.FIGURES.values() if e.kind == kind]
        assert sorted(shown) == sorted(figures.EXPERIMENTS)


@pytest.mark.parametrize("name", SHOWN)
def test_each_curve_is_one_run_from_iteration_10_on(frames, name):
    decomposition, runs = frames
    entry = figures.NAMES[name]
    sizes = synthetic.EXPERIMENTS[entry.experiment][2]
    own = decomposition[decomposition["experiment"] == entry.experiment]
    later = run_summaries.after_transient(own)
    figure = drawing.draw(name, decomposition, runs)
    assert figure.get_suptitle() == entry.title
    assert panels_of(figure)[-1].get_xlabel() == "iteration"
    assert legend_texts(figure) == [f"N = {n:,}" for n in sizes]
    for axes, column in zip(panels_of(figure), SHOWN[name], strict=True):
        later = later.assign(shown=column(later) if callable(column) else later[column])
        by_size = {c.get_label(): c.get_segments() for c in lines_of(axes)}
        assert list(by_size) == [f"N = {n}" for n in sizes]
        for (n, *_), run in later.groupby(["n", "init_seed", "subset_seed"]):
            curve = by_size[f"N = {n}"].pop(0)
            assert curve[:, 0].tolist() == run["iteration"].tolist()
            assert curve[0, 0] == 10
            assert curve[:, 1] == pytest.approx(run["shown"].to_numpy())
        assert not any(by_size.values())
        low, high = axes.get_ylim()
        assert low < later["shown"].min() and later["shown"].max() < high
        assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
        assert axes.get_xlim() == (0, pytest.approx(1.01 * own["iteration"].max()))
        assert axes.get_title(loc="left")
        assert not axes.patches  # a transient of 10 iterations cannot be seen
    limits = [axes.get_ylim() for axes in panels_of(figure)]
    if name in ("figure10", "figure19"):  # factors of a product, over as many decades
        decades = [np.log10(high / low) for low, high in limits]
        assert decades == pytest.approx([decades[0]] * len(decades))
    elif name != "figure23":
        alike = limits[:3] if name == "figure06" else limits  # its last panel is a ratio
        assert len(set(alike)) == 1
    if name == "figure10":  # no room above a ratio of 1
        assert limits[1][1] == pytest.approx(1.1)


@pytest.mark.parametrize(("against", "start"), [("iteration", 10), ("flow_time", 0.1)])
def test_the_axis_is_logarithmic_where_a_run_is_less_than_a_quarter_of_another(
    frames, against, start
):
    decomposition, runs = frames
    early = (decomposition["n"] != 468) | (decomposition["iteration"] <= 400)
    figure = drawing.draw("figure06", decomposition[early], runs, against=against)
    longest = decomposition[decomposition["experiment"] == "dice-ce"][against].max()
    for axes in panels_of(figure):
        assert axes.get_xscale() == "log"
        assert axes.get_xlim() == pytest.approx((start, 1.05 * longest))
        assert not axes.patches  # the transient ends where the axis begins
    figure.draw_without_rendering()
    ticks = [text.get_text() for text in figure.axes[-1].get_xticklabels()]
    assert [tick for tick in ticks if tick] == ticks
    assert {"10", "100", "1,000"} <= set(ticks) or {"0.1", "1", "10"} <= set(ticks)


def test_a_linear_axis_shades_the_transient_where_it_can_be_seen(frames):
    decomposition, runs = frames
    early = decomposition[decomposition["iteration"] <= 300]
    figure = drawing.draw("figure06", early, runs)
    for axes in panels_of(figure):
        (band,) = axes.patches
        assert (band.get_x(), band.get_width()) == (0, 10)
    assert legend_texts(figure)[-1] == "transient (iteration < 10)"
    against = drawing.draw("figure06", *frames, against="flow_time")
    assert panels_of(against)[-1].get_xlabel() == "gradient-flow time t"
    curve = lines_of(against.axes[0])[0].get_segments()[0]
    assert curve[:2, 0] == pytest.approx([0.1, 1.0])


def test_the_median_of_one_size_lies_between_its_quartiles_as_far_as_all_runs_go(frames):
    decomposition, runs = frames
    dice = run_summaries.after_transient(decomposition[decomposition["experiment"] == "dice-ce"])
    first = drawing.draw("figure06", decomposition, runs).axes[0]
    medians = {line.get_label(): line.get_xydata() for line in first.lines}
    assert list(medians) == [f"median, N = {n}" for n in (468, 937, 1875, 3750)]
    for n, of_size in dice.groupby("n"):
        table = of_size.pivot_table(
            index="iteration", columns=["init_seed", "subset_seed"], values="sharpness_hessian"
        )
        shared = table.dropna()
        drawn = medians[f"median, N = {n}"]
        assert (
            drawn[-1, 0] <= of_size.groupby(["init_seed", "subset_seed"])["iteration"].max().min()
        )
        at = np.isin(drawn[:, 0], shared.index)
        assert drawn[at, 1] == pytest.approx(np.exp(np.log(shared).median(axis=1)).to_numpy())


def test_quartiles_follow_the_drawn_lines_and_break_where_one_has_no_logarithm():
    early = np.array([[1.0, 1.0], [100.0, 100.0]])  # straight on logarithmic axes
    late = np.array([[2.0, 4.0], [10.0, 20.0], [50.0, 100.0]])
    times, low, middle, high = curves.quartiles([early, late], "log")
    assert times.tolist() == [2, 10, 50]
    assert middle == pytest.approx(times * np.sqrt(2))
    assert (low, high) == (pytest.approx(times * 2**0.25), pytest.approx(times * 2**0.75))
    straight = curves.quartiles([early, late], "linear")[2][1]
    assert straight == pytest.approx(np.sqrt(20 * 10 ** (2 * 9 / 99)))
    late[1, 1] = np.nan
    assert np.isnan(curves.quartiles([early, late], "log")[1:]).any(axis=0).tolist() == [
        False,
        True,
        False,
    ]
    assert curves.quartiles([early], "log") is None
    assert curves.quartiles([early, late + np.array([200.0, 0.0])], "log") is None


def test_what_has_no_logarithm_leaves_a_gap_or_is_said(frames):
    decomposition, runs = frames
    gap = decomposition["sharpness_residual"].where(decomposition["iteration"] != 200, -1.0)
    drawn = drawing.draw("figure06", decomposition.assign(sharpness_residual=gap), runs)
    curve = lines_of(drawn.axes[2])[0].get_segments()[0]
    assert (np.isnan(curve[:, 1]) == (curve[:, 0] == 200)).all()
    none = drawing.draw("figure06", decomposition.assign(sharpness_residual=-1.0), runs)
    assert "No run has a value above zero" in none.axes[2].texts[0].get_text()
    assert [len(axes.collections) > 0 for axes in none.axes] == [True, True, False, True]


def test_runs_above_their_target_are_dashed_and_said_so(frames):
    decomposition, runs = frames
    cut = runs.copy()
    cut.loc[(cut["experiment"] == "dice-ce") & (cut["n"] == 468), "stopped"] = "max_iterations"
    figure = drawing.draw("figure06", decomposition, cut)
    assert "above its target loss" in legend_texts(figure)
    dashed, *others = lines_of(figure.axes[0])
    assert dashed.get_linestyles()[0][1] is not None
    assert all(lines.get_linestyles()[0][1] is None for lines in others)


def test_sizes_have_distinct_colours_darker_for_more_examples():
    colors = style.shades([480, 60, 240, 120, 960])
    assert list(colors) == [60, 120, 240, 480, 960]
    red, green, blue = np.array([mpl.colors.to_rgb(c) for c in colors.values()]).T
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    assert (np.diff(luminance) < -0.05).all()
    assert luminance.max() < 0.75  # still seen on white


def titles(figure):
    """What each panel shows, without what is said of it below."""
    return [axes.get_title(loc="left").partition("\n")[0] for axes in figure.axes]


def test_power_law_shows_runs_fit_and_paper(frames):
    decomposition, runs = frames
    figure = drawing.draw("power-law", decomposition, runs)
    assert titles(figure) == list(figures.EXPERIMENTS.values())
    laws = power_laws.fits(decomposition, runs)
    peaks = run_summaries.alignment_peaks(decomposition)
    for axes, law, name in zip(figure.axes, laws.itertuples(), figures.EXPERIMENTS, strict=True):
        (drawn,) = (points.get_offsets() for points in axes.collections if len(points.get_sizes()))
        mine = peaks[peaks["experiment"] == name][["n", "alignment"]].to_numpy()
        assert sorted(drawn.tolist()) == sorted(mine.tolist())
        (fit,) = (line.get_xydata() for line in axes.lines)
        assert fit[:, 1] == pytest.approx(law.a * fit[:, 0] ** law.b)
        paper = next(c for c in axes.collections if c.get_facecolor()[0, 3] == 0.35)
        corners = paper.get_paths()[0].vertices
        _, low, high = power_laws.paper_law(EXPERIMENTS[name], corners[:, 0])
        on_an_edge = np.isclose(corners[:, 1], low) | np.isclose(corners[:, 1], high)
        assert on_an_edge.all()
        text = axes.get_title(loc="left")
        assert f"{law.runs} runs" in text and f"{law.b:.2f}" in text and "bend" in text
        assert axes.get_xscale() == axes.get_yscale() == "log"
    assert len(legend_texts(figure)) == 3


def test_power_law_without_a_fit_says_why():
    decomposition, runs = synthetic.frames(["dice-ce"], seeds=1)
    small = decomposition[decomposition["n"] < 1000], runs[runs["n"] < 1000]
    (axes,) = drawing.draw("power-law", *small).axes
    said = " ".join(axes.get_title(loc="left").split())
    assert "no fit: finished runs at 2 sizes, a fit needs 3" in said
    assert not axes.lines  # no line, and no interval, from two sizes


def test_stable_steps_of_every_finished_run(frames):
    decomposition, runs = frames
    figure = drawing.draw("stable-step", decomposition, runs)
    steps = run_summaries.stable_steps(decomposition)
    for axes, name in zip(figure.axes, figures.EXPERIMENTS, strict=True):
        mine = steps[steps["experiment"] == name]
        for place, which in enumerate(["stable_step", "counterfactual_step"]):
            at = [
                points.get_offsets()
                for points in axes.collections[place::2]
                if len(points.get_offsets())
            ]
            by_size = [sorted(values) for _, values in mine.groupby("n")[which]]
            assert [sorted(points[:, 1]) for points in at] == [pytest.approx(v) for v in by_size]
            medians = axes.lines[place].get_ydata()
            middles = [np.exp(np.median(np.log(values))) for values in by_size]
            assert medians == pytest.approx(middles)
        low, high = axes.get_ylim()
        assert low < mine["stable_step"].min() and mine["counterfactual_step"].max() < high


def test_growth_bars_add_up_on_the_logarithmic_scale(frames):
    figure = drawing.draw("growth", *frames)
    for axes, name in zip(figure.axes, figures.EXPERIMENTS, strict=True):
        sizes = synthetic.EXPERIMENTS[name][2]
        bars = np.array([[1 + bar.get_height() for bar in c] for c in axes.containers])
        assert bars.shape == (len(sizes), 6)
        assert bars[:, 0] == pytest.approx(bars[:, 1:].prod(axis=1))
        assert bars[:, 3] == pytest.approx(synthetic.CRITERION_GROWTH)
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == [f"N = {n:,}" for n in sizes]
        low, high = axes.get_ylim()
        assert low < bars.min() and bars.max() < high


def test_growth_without_a_rise_says_so(frames):
    decomposition, runs = frames
    first = run_summaries.after_transient(decomposition).groupby(run_summaries.IDENTITY).head(1)
    for axes in drawing.draw("growth", first, runs).axes:
        assert "no rise to explain" in axes.texts[0].get_text() and not axes.containers


def test_few_runs_are_drawn_and_none_are_said(frames):
    decomposition, runs = frames
    one, alone = synthetic.run("dice-ce", 468)
    others = decomposition[decomposition["experiment"] != "dice-ce"]
    names = {entry.kind: name for name, entry in figures.NAMES.items() if entry.data is None}
    names["sharpness"] = "figure06"
    for kind, name in names.items():
        none = drawing.draw(name, decomposition.iloc[:0], runs.iloc[:0])
        said = " ".join(text.get_text() for text in none.texts)
        assert not none.axes and re.search(r"No runs .*have finished|No run has reached", said), (
            kind
        )
        if figures.NAMES[name].experiment in ("dice-ce", None):
            assert drawing.draw(name, pd.DataFrame(one), pd.DataFrame([alone])).axes, kind
    (text,) = drawing.draw("figure06", others, runs).texts[-1:]
    assert "No run of Dice, cross-entropy has a decomposition" in text.get_text()


@pytest.mark.registry
def test_experiments_have_the_papers_figures_or_their_own():
    paper = figures.entries(figures.EXPERIMENTS)
    assert paper == figures.NAMES
    fewer = figures.entries(figures.EXPERIMENTS, ["transient"])
    assert paper.keys() - fewer.keys() == {n for n, s in STUDIES.items() if s.drawn} - {"transient"}
    found = figures.entries(["my-exp", "dice-ce", "my-exp"])
    own = {name for name in found if name.startswith("my-exp")}
    assert own == {f"my-exp-{kind.replace('_', '-')}" for kind in figures.OWN_KINDS}
    dice = [n for n, entry in paper.items() if entry.experiment in ("dice-ce", None)]
    assert [*found][: len(dice)] == dice and len(found) == len(dice) + len(own)
    assert found["my-exp-cumulative-alignment"].kind == "cumulative_alignment"
    assert found["my-exp-layers"].title == "Mean squared norm of M, by layer: my-exp"
    with pytest.raises(UserError, match="a-cumulative-alignment could be of two experiments"):
        figures.entries(["a", "a-cumulative"])


@pytest.mark.parametrize("kind", figures.OWN_KINDS)
def test_figures_of_other_experiments_show_or_say_why_not(kind):
    decomposition, runs = synthetic.mixed()
    shallow = drawing.draw(figures.Entry(kind, "iris-gd"), decomposition, runs)
    sizes = {c.get_label() for axes in panels_of(shallow) for c in lines_of(axes)}
    assert sizes == {"N = 30", "N = 60", "N = 120"}
    # Three layers, whatever the networks of the other experiments have.
    counts = {"layers": 3, "alignment": 2, "jacobian_norms": 2, "activation_ratios": 5}
    assert len(panels_of(shallow)) == counts.get(kind, len(panels_of(shallow)))
    conv = drawing.draw(figures.Entry(kind, "my-conv"), decomposition, runs)
    if kind in ("sharpness", "overlap", "layers"):
        assert conv.axes
    else:
        said = " ".join(text.get_text() for text in conv.texts)
        assert not conv.axes and "only a network that is a chain of layers" in said


def test_summaries_show_other_experiments_beside_the_papers():
    decomposition, runs = synthetic.mixed()
    for name in ("power-law", "stable-step", "growth"):
        figure = drawing.draw(name, decomposition, runs)
        assert titles(figure) == ["Dice, cross-entropy", "iris-gd", "my-conv"]
        conv = figure.axes[2]
        lacks = any("have no such numbers" in text.get_text() for text in conv.texts)
        assert lacks == (name != "stable-step")
    drawn = drawing.draw("power-law", decomposition, runs).axes
    dice, own, _ = (axes.get_title(loc="left") for axes in drawn)
    assert "paper" in dice and "paper" not in own


def test_unknown_figures_and_axes_are_refused(frames):
    with pytest.raises(UserError, match=r"no figure 'figure43'.*power-law"):
        drawing.draw("figure43", *frames)
    with pytest.raises(UserError, match="'time'; choose one of iteration, flow_time"):
        drawing.draw("figure01", *frames, against="time")


def test_files_are_the_same_each_time_with_fonts_embedded_and_no_date(frames, tmp_path):
    made = []
    with mpl.rc_context():  # the user's settings count for nothing, and stay
        for size in (10.0, 21.5):
            mpl.rcParams["font.size"] = size
            drawn = drawing.draw("figure06", *frames)
            drawing.save(drawn, tmp_path / "a.pdf", tmp_path / "a.png")
            made.append([(tmp_path / f"a.{end}").read_bytes() for end in ("pdf", "png")])
            assert mpl.rcParams["font.size"] == size
    assert made[0] == made[1]
    pdf, png = made[0]
    assert b"CreationDate" not in pdf
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf
    assert int.from_bytes(png[16:20], "big") == round(style.WIDTH * drawing.PNG_DPI)


def test_the_title_is_left_to_the_caption_in_the_pdf_alone(tmp_path):
    figure = style.notice("Which factor?", "None.")
    drawing.save(figure, tmp_path / "a.pdf", tmp_path / "a.png")
    assert figure.get_suptitle() == "Which factor?"
    figure.suptitle("")
    drawing.save(figure, tmp_path / "b.pdf", tmp_path / "b.png")
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import eosflow.results.figures", ["numpy", "pandas", "matplotlib", "torch"]),
        (
            "import eosflow.results.figures.drawing, eosflow.results.figures.examples, "
            "eosflow.results.report",
            ["torch"],
        ),
    ],
)
def test_imports_stay_light(statement, absent):
    code = f"import sys; {statement}; print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.registry
def test_the_gallery_has_a_small_picture_of_each_kind():
    shown = re.findall(r"images/(.+)\.png", index.page())
    of_experiments = {entry.kind for entry in figures.FIGURES.values()} - {"layers_three"}
    assert of_experiments < {figures.NAMES[name].kind for name in shown}
    for name in shown:
        assert (index.DOCS / "images" / f"{name}.png").stat().st_size < 150_000
