"""Reports: what is in the folder, that its numbers agree, and that no clip's name becomes code."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE, ToyPipeline, list_dir, noise, run_fails, run_ok, write_wav
from html_tree import Element, Page

from dcase2018.data.labels import read_labels
from dcase2018.evaluation.evaluate import OVERALL, evaluate
from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.models.hparams import HParams, Preset
from dcase2018.report import writer as folder
from dcase2018.report.writer import check_report, report, report_sides
from dcase2018.training.experiment import Experiment
from dcase2018.training.fit import fit
from dcase2018.utils.errors import InputError


@pytest.fixture(scope="module")
def made(toy_pipeline: ToyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 14 clips of seven classes, by the command."""
    folder = tmp_path_factory.mktemp("made")
    y_true = pd.read_csv(toy_pipeline.test_labels).query("usage != 'Ignored'").sort_values("label")[:14]
    y_true.to_csv(folder / "truth.csv", index=False)
    said = run_ok(
        "report", toy_pipeline.test, folder / "truth.csv", toy_pipeline.run, "--output", folder / "report",
        "--audio", toy_pipeline.data / "audio_test",
    )  # fmt: skip
    assert said == f"{folder / 'report' / 'index.html'}\n"
    return folder / "report"


@pytest.fixture(scope="module")
def page(made: Path) -> Element:
    return Page(made / "index.html").root


@pytest.fixture(scope="module")
def numbers(made: Path) -> dict[str, Any]:
    return json.loads((made / "report.json").read_text())


def test_the_folder_has_all_and_nothing_else(made: Path) -> None:
    assert list_dir(made) == [
        "classes.csv", "clips", "clips.csv", "confusion.csv", "history.csv", "index.html",
        "reliability.csv", "report.json",
    ]  # fmt: skip
    assert all(re.fullmatch(r"\d\d\.(ogg|webp)", name) for name in list_dir(made / "clips"))
    assert list_dir(made.parent) == ["report", "truth.csv"]


def test_the_numbers_are_those_of_evaluate(
    toy_pipeline: ToyPipeline, made: Path, numbers: dict[str, Any]
) -> None:
    labels = read_labels(made.parent / "truth.csv")
    evaluation = evaluate(Ensemble.open([toy_pipeline.run], [Store(toy_pipeline.test)]), labels)
    table = pd.read_csv(made / "classes.csv").set_index("label")
    expected = evaluation.table
    pd.testing.assert_frame_equal(table[expected.columns], expected, check_dtype=False)
    clips = pd.read_csv(made / "clips.csv")
    pd.testing.assert_frame_equal(clips[evaluation.clips.columns], evaluation.clips, check_dtype=False)
    confusion = pd.read_csv(made / "confusion.csv").set_index("label")
    assert list(confusion.columns) == list(confusion.index) == numbers["classes"]
    assert confusion.to_numpy().trace() == (clips["top_1"] == clips["truth"]).sum()


def test_tables_and_json_are_equal(made: Path, numbers: dict[str, Any]) -> None:
    (side,) = numbers["sides"]
    tables = {
        "classes": [*side["classes"], {"label": OVERALL} | side["overall"]],
        "clips": side["clips"],
        "reliability": side["reliability"],
    }
    for name, rows in tables.items():
        table = pd.read_csv(made / f"{name}.csv")
        expected = pd.DataFrame(rows).replace("", None)
        pd.testing.assert_frame_equal(table, expected, check_dtype=False, check_exact=True)
    assert pd.read_csv(made / "confusion.csv").iloc[:, 1:].to_numpy().tolist() == side["confusion"]
    history = pd.read_csv(made / "history.csv").drop(columns="run")
    assert history.to_dict("records") == side["runs"][0]["history"]


def test_the_page_shows_the_numbers(page: Element, numbers: dict[str, Any]) -> None:
    (side,) = numbers["sides"]
    (table,) = page.all("table", class_="classes sortable")
    shown = {
        row.children_text[0]: row.children_text for row in map(EpochLog, table.all("tbody")[0].all("tr"))
    }
    assert len(shown) == 41
    for row in side["classes"]:
        cells = shown[row["label"]]
        assert cells[1] == str(row["clips"])
        assert cells[2] == ("-" if row["MAP@3"] is None else f"{row['MAP@3']:.4f}")
        if row["clips"]:
            assert cells[4] == f"{row['low']:.4f} to {row['high']:.4f}"
        assert cells[5] == (f"{row['taken_for']} {row['taken_for_clips']}" if row["taken_for"] else "")
    stats = {
        part.attributes["data-part"]: part.text for part in page.walk() if "data-part" in part.attributes
    }
    for part, prefix in (("all", ""), ("Private", "Private "), ("Public", "Public ")):
        values = [side["overall"][prefix + name] for name in ("MAP@3", "low", "high")]
        assert re.findall(r"\d\.\d{4}", stats[part]) == [f"{value:.4f}" for value in values]
    assert f"is {side['calibration_error']:.4f}." in page.text
    cards = page.all("article")
    assert len(cards) == len(side["shown"]) == 14
    for card in cards:
        clip = side["clips"][int(card.attributes["id"].removeprefix("clip-")) - 1]
        assert card.all("h4")[0].text == clip["fname"]
        answers = [EpochLog(row).children_text for row in card.all("tbody")[0].all("tr")]
        for rank, answer in enumerate(answers[:3], 1):
            name, score = clip[f"top_{rank}"], f"{clip[f'score_{rank}']:.4f}"
            assert answer == [str(rank), f"{name} ✓" if name == clip["truth"] else name, "", score]
        assert [answer[1] for answer in answers if "✓" in answer[1]] == [f"{clip['truth']} ✓"]


class EpochLog:
    def __init__(self, row: Element) -> None:
        self.children_text = [cell.text for cell in row.children if isinstance(cell, Element)]


def test_each_cell_of_the_matrix_leads_to_its_clips(page: Element, numbers: dict[str, Any]) -> None:
    (side,) = numbers["sides"]
    links = [link for link in page.all("a") if link.attributes["href"].startswith("#cell-")]
    assert {link.attributes["href"] for link in links}
    for link in links:
        row, column = map(int, link.attributes["href"].removeprefix("#cell-").split("-"))
        assert link.text == str(side["confusion"][row][column])
        (cell,) = page.all("div", id=link.attributes["href"][1:])
        names = {item.all("a")[0].text for item in cell.all("li")}
        assert len(names) == side["confusion"][row][column]
        y_true, answer = numbers["classes"][row], numbers["classes"][column]
        assert names == {
            clip["fname"] for clip in side["clips"] if (clip["truth"], clip["top_1"]) == (y_true, answer)
        }


def check_links(folder: Path, page: Element) -> None:
    """Everything that a page asks for or leads to lies in its folder, or on the page."""
    ids = [element.attributes["id"] for element in page.walk() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for element in page.walk():
        for name in ("href", "src", "xlink:href", "aria-labelledby"):
            target = element.attributes.get(name)
            if target in (None, "data:,"):
                continue
            if name == "aria-labelledby" or target.startswith("#"):
                assert target.removeprefix("#") in ids
            else:
                assert re.fullmatch(r"[\w.-]+(/[\w.-]+)?", target)
                assert (folder / target).is_file()
    assert "url(http" not in (folder / "index.html").read_text()
    assert "@import" not in (folder / "index.html").read_text()


def test_it_asks_for_nothing_from_elsewhere(made: Path, page: Element) -> None:
    check_links(made, page)
    assert len(page.all("audio", preload="none")) == len(page.all("img", loading="lazy")) == 14


def test_it_can_be_read_without_seeing_it(page: Element) -> None:
    check_reading(page)


def check_reading(page: Element) -> None:
    """A page has headings in order, and words for all that is to be seen or pressed."""
    assert page.all("html")[0].attributes["lang"] == "en"
    headings = [int(element.tag[1]) for element in page.walk() if re.fullmatch("h[1-6]", element.tag)]
    assert headings.count(1) == 1
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))
    assert all(element.attributes.get("scope") for element in page.all("th"))
    assert all(element.all("caption") for element in page.all("table"))
    assert all(element.attributes["alt"] for element in page.all("img"))
    assert all(element.attributes["aria-label"] for element in [*page.all("audio"), *page.all("svg")])


def test_a_report_that_stands_is_replaced_and_nothing_else_is(
    toy_pipeline: ToyPipeline, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = read_labels(made.parent / "truth.csv")[:2]
    ensemble = Ensemble.open([toy_pipeline.run], [Store(toy_pipeline.test)])
    page = report(ensemble, labels, tmp_path / "out")
    first = page.read_text()
    assert json.loads((tmp_path / "out" / "report.json").read_text())["sides"][0]["overall"]["clips"] == 2

    def broken(*_: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folder, "render", broken)
        with pytest.raises(OSError, match="No space"):
            report(ensemble, labels[:1], tmp_path / "out")
    assert page.read_text() == first
    assert list_dir(tmp_path) == ["out"]

    assert report(ensemble, labels[:1], tmp_path / "out") == page
    assert json.loads((tmp_path / "out" / "report.json").read_text())["sides"][0]["overall"]["clips"] == 1
    assert list_dir(tmp_path) == ["out"]
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds 'notes.txt', which is no part of the report"):
        report(ensemble, labels, tmp_path / "out")


def test_without_sound_it_says_how_to_get_players(
    toy_pipeline: ToyPipeline, made: Path, tmp_path: Path
) -> None:
    labels = read_labels(made.parent / "truth.csv")[:1]
    page = report(Ensemble.open([toy_pipeline.run], [Store(toy_pipeline.test)]), labels, tmp_path / "out")
    text = page.read_text()
    assert "<audio" not in text
    assert "dcase2018 report … --audio FOLDER" in text
    assert list_dir(tmp_path / "out" / "clips") == ["1.webp"]


def test_what_cannot_be_written_or_heard_is_refused_first(
    toy_pipeline: ToyPipeline, made: Path, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    (tmp_path / "file").write_text("")
    arguments = ("report", toy_pipeline.test, made.parent / "truth.csv", toy_pipeline.run, "--output")
    said = run_fails(2, *arguments, tmp_path / "full")
    assert said == f"dcase2018: {tmp_path / 'full'} exists and is no report; name another folder\n"
    said = run_fails(2, *arguments, tmp_path / "new", "--audio", toy_pipeline.data / "audio_train")
    assert "14 of 14 clips are not in" in said
    assert "loading Keras" not in said
    assert list_dir(tmp_path) == ["file", "full"]
    labels = pd.DataFrame({"fname": ["a.wav"], "label": ["x"]})
    with pytest.raises(InputError, match="is a file; name a folder for the report"):
        check_report(tmp_path / "file", labels)


def train(store: Path, labels: pd.DataFrame, run: Path) -> Path:
    """Train the least network for an epoch."""
    classifier = "logistic" if "labels" in labels else "softmax"
    fit(Experiment.create(run, Preset("mlp", HParams(nh=8, classifier=classifier), 1), Store(store), labels))
    return run


HOSTILE = {
    "<script>alert(1)</script>.wav": "<b>x</b>",
    "\"quote' onerror=alert(1).wav": 'a"b',
    "$\\frac{.wav": "$\\frac{",
    "{{ 7 * 7 }}.wav": "{{_7*7_}}",
    "sub/../odd.wav": "ü,x",
    "caf\udce9.wav": "a&amp;b",
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of clips and classes whose names would be code, one without samples and one cut off since."""
    root = tmp_path_factory.mktemp("hostile")
    for fname in HOSTILE:
        (root / "clips" / fname).parent.mkdir(parents=True, exist_ok=True)
    for seed, fname in enumerate(HOSTILE):
        write_wav(root / "new.wav", noise(9000, seed)).rename(root / "clips" / fname)
    write_wav(root / "clips" / "empty.wav", noise(0))
    write_wav(root / "clips" / "cut.wav", noise(9000, 9))
    names = HOSTILE | {"empty.wav": "empty", "cut.wav": "cut"}
    extract(root / "clips", root / "s.h5", BASELINE, list(names))
    labels = pd.DataFrame({"fname": list(names), "label": list(names.values())}, dtype=object)
    run = train(root / "s.h5", labels, root / "run")
    with (root / "clips" / "cut.wav").open("r+b") as file:
        file.truncate(5000)
    ensemble = Ensemble.open([run], [Store(root / "s.h5")])
    report(ensemble, labels, root / "report", root / "clips")
    return root / "report"


def test_hostile_names_are_text_and_no_files(hostile: Path) -> None:
    page = Page(hostile / "index.html").root
    check_links(hostile, page)
    assert len(page.all("script")) == 1
    assert not any(name.startswith("on") for element in page.walk() for name in element.attributes)
    cards = {card.all("h4")[0].text for card in page.all("article")}
    assert cards == {fname.replace("\udce9", "\\udce9") for fname in HOSTILE} | {"empty.wav", "cut.wav"}
    rows = page.all("table", class_="classes sortable")[0].all("tbody")[0].all("tr")
    assert {row.all("th")[0].text for row in rows} == {*HOSTILE.values(), "empty", "cut"}
    assert all(re.fullmatch(r"\d\.(ogg|webp)", name) for name in list_dir(hostile / "clips"))
    assert list_dir(hostile.parent) == ["clips", "report", "run", "s.h5"]
    numbers = json.loads((hostile / "report.json").read_text())
    assert [clip["fname"] for clip in numbers["sides"][0]["clips"]][:6] == list(HOSTILE)


def test_clips_that_cannot_be_seen_or_heard_say_why(hostile: Path) -> None:
    cards = {card.all("h4")[0].text: card for card in Page(hostile / "index.html").root.all("article")}
    assert not cards["empty.wav"].all("img")
    assert not cards["empty.wav"].all("audio")
    assert "No picture: no samples." in cards["empty.wav"].text
    assert "No player: no samples." in cards["empty.wav"].text
    assert cards["cut.wav"].all("img")
    assert not cards["cut.wav"].all("audio")
    assert "No player: truncated: 4956 of 18000 bytes of samples." in cards["cut.wav"].text


def test_a_name_that_leads_out_of_the_folder_of_audio_is_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "outside.wav", noise(900))
    (tmp_path / "clips").mkdir()
    labels = pd.DataFrame({"fname": ["../outside.wav"], "label": ["x"]})
    with pytest.raises(InputError, match=r"'\.\./outside\.wav' leads out of"):
        check_report(tmp_path / "out", labels, tmp_path / "clips")


def test_clips_of_several_labels_folds_and_two_sides(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fnames = [f"{number}.wav" for number in range(8)]
    for seed, fname in enumerate(fnames):
        write_wav(tmp_path / "clips" / fname, noise(9000, seed))
    stores = []
    for name in ("baseline", "waveform16k"):
        extract(tmp_path / "clips", tmp_path / f"{name}.h5", FEATURE_CONFIGS[name])
        stores.append(tmp_path / f"{name}.h5")
    several = [",".join(rng.choice(["a", "b", "c"], rng.integers(1, 3), replace=False)) for _ in fnames]
    labels = pd.DataFrame({"fname": fnames, "labels": several}, dtype=object)
    one, two = (train(stores[0], labels, tmp_path / "folds" / f"fold-{i}") for i in (1, 2))
    other = train(stores[1], labels, tmp_path / "samples")
    opened = [Store(path) for path in stores]
    folds = Ensemble.open([two.parent], opened)
    mixed = Ensemble.open([one, other], opened)
    sides = [(ensemble, evaluate(ensemble, labels)) for ensemble in (folds, mixed)]
    page = Page(report_sides(sides, tmp_path / "out", tmp_path / "clips")).root
    check_links(tmp_path / "out", page)
    check_reading(page)
    assert page.all("h1")[0].text == "folds (2 folds) and fold-1, samples"
    assert list_dir(tmp_path / "out")[:3] == ["a-classes.csv", "a-clips.csv", "a-confusion.csv"]
    numbers = json.loads((tmp_path / "out" / "report.json").read_text())
    for side, (_, evaluation) in zip(numbers["sides"], sides, strict=True):
        assert side["overall"]["mAP"] == pytest.approx(evaluation.table.loc[OVERALL, "mAP"])
        assert len(side["runs"]) == 2
    assert "of its labels" in page.text
    precisions = [evaluation.clips["average_precision"] for _, evaluation in sides]
    gains = {fname: gain for fname, gain in zip(fnames, precisions[1] - precisions[0], strict=True) if gain}
    assert {row["fname"]: row["gain"] for row in numbers["changes"]} == gains
    assert [row["gain"] for row in numbers["changes"]] == sorted(gains.values(), reverse=True)
    rows = page.all("section", id="changes")[0].all("tbody")[0].all("tr")
    assert {row.all("th")[0].text for row in rows} == set(gains)

    alone = report(Ensemble.open([other], opened[::-1]), labels, tmp_path / "alone")
    assert Page(alone).root.all("h1")[0].text == "samples"
    first = report(folds, labels[:1], tmp_path / "first")
    assert Page(first).root.all("h1")[0].text == "folds (2 folds)"
    again = report(folds, labels[:1], tmp_path / "again")
    for path in ("index.html", "report.json", "clips/1.webp"):
        assert (again.parent / path).read_bytes() == (first.parent / path).read_bytes()
