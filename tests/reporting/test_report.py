"""Reports: content of the folder, consistent numbers, and safe handling of hostile names."""

import base64
import itertools
import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE, ToyPipeline, dcase, list_dir, noise, run_fails, run_ok, write_wav
from html_tree import Element, Page

from dcase2018.data.labels import read_labels
from dcase2018.evaluation.evaluate import OVERALL, evaluate
from dcase2018.evaluation.significance import compare
from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.models.hparams import HParams, Preset
from dcase2018.reporting import error_analysis, writer
from dcase2018.reporting.clip_media import MAX_SECONDS
from dcase2018.reporting.writer import check_report, report, report_comparison
from dcase2018.runs.training_state import StoppingCriteria
from dcase2018.training.cross_validation import fit_folds, plan_folds, save_out_of_fold
from dcase2018.training.experiment import Experiment
from dcase2018.training.fit import fit
from dcase2018.utils.errors import InputError
from dcase2018.utils.parallel import INLINE


@pytest.fixture(scope="module")
def report_folder(toy_pipeline: ToyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 14 clips of seven classes, written by the command."""
    folder = tmp_path_factory.mktemp("reports")
    labels = pd.read_csv(toy_pipeline.test_labels).query("usage != 'Ignored'").sort_values("label")[:14]
    labels.to_csv(folder / "labels.csv", index=False)
    printed = run_ok(
        "report", toy_pipeline.test, folder / "labels.csv", toy_pipeline.run, "-o", folder / "report",
        "--audio", toy_pipeline.data / "audio_test",
    )  # fmt: skip
    assert printed == f"{folder / 'report' / 'index.html'}\n"
    return folder / "report"


@pytest.fixture(scope="module")
def page(report_folder: Path) -> Element:
    return Page(report_folder / "index.html").root


@pytest.fixture(scope="module")
def data(report_folder: Path) -> dict[str, Any]:
    return json.loads((report_folder / "report.json").read_text())


def overall_row(data: dict[str, Any], part: str = "all") -> dict[str, Any]:
    """The overall scores of the first system."""
    rows = data["systems"][0]["scores"]
    (row,) = (row for row in rows if (row["part"], row["label"]) == (part, OVERALL))
    return row


def test_folder_has_the_documented_files_only(report_folder: Path) -> None:
    assert list_dir(report_folder) == [
        "classes.csv", "clips", "clips.csv", "confusion.csv", "confusion.png", "confusion.svg",
        "confusion_percent.png", "confusion_percent.svg", "history.csv", "index.html", "reliability.csv",
        "report.json",
    ]  # fmt: skip
    assert all(re.fullmatch(r"\d\d\.(ogg|webp)", name) for name in list_dir(report_folder / "clips"))
    assert list_dir(report_folder.parent) == ["labels.csv", "report"]


def test_numbers_equal_those_of_evaluate(
    toy_pipeline: ToyPipeline, report_folder: Path, data: dict[str, Any]
) -> None:
    labels = read_labels(report_folder.parent / "labels.csv")
    evaluation = evaluate(Ensemble.open([toy_pipeline.run], [Store(toy_pipeline.test)]), labels)
    table = pd.read_csv(report_folder / "classes.csv")
    expected = evaluation.table
    pd.testing.assert_frame_equal(table[expected.columns], expected, check_dtype=False)
    clips = pd.read_csv(report_folder / "clips.csv")
    pd.testing.assert_frame_equal(clips[evaluation.clips.columns], evaluation.clips, check_dtype=False)
    confusion = pd.read_csv(report_folder / "confusion.csv").set_index("label")
    assert list(confusion.columns) == list(confusion.index) == data["classes"]
    assert confusion.to_numpy().trace() == (clips["top_1"] == clips["label"]).sum()


def test_tables_equal_the_json(report_folder: Path, data: dict[str, Any]) -> None:
    (system,) = data["systems"]
    for name, key in (("classes", "scores"), ("clips", "clips"), ("reliability", "reliability")):
        table = pd.read_csv(report_folder / f"{name}.csv")
        expected = pd.DataFrame(system[key]).replace("", None)
        pd.testing.assert_frame_equal(table, expected, check_dtype=False, check_exact=True)
    confusion = pd.read_csv(report_folder / "confusion.csv")
    assert confusion.iloc[:, 1:].to_numpy().tolist() == system["confusion"]
    history = pd.read_csv(report_folder / "history.csv").drop(columns="run")
    assert history.to_dict("records") == system["runs"][0]["history"]


def test_head_names_corpus_model_preset_features_date_and_clips(
    report_folder: Path, page: Element, data: dict[str, Any]
) -> None:
    (facts,) = page.all("dl", class_="head facts")
    names, values = ([item.text for item in facts.all(tag)] for tag in ("dt", "dd"))
    assert dict(zip(names, values, strict=True)) == {
        "corpus": str(report_folder.parent / "labels.csv"),
        "test clips": "14",
        "model": "mlp",
        "preset": "quick, with epochs=5",
        "feature config": "baseline",
        "date": data["date"],
    }
    assert abs(date.fromisoformat(data["date"]) - datetime.now(UTC).date()) <= timedelta(days=1)


def cell_texts(row: Element) -> list[str]:
    return [cell.text for cell in row.children if isinstance(cell, Element)]


def test_page_shows_the_scores(page: Element, data: dict[str, Any]) -> None:
    (system,) = data["systems"]
    (table,) = page.all("table", class_="classes sortable")
    shown = {cells[0]: cells for cells in map(cell_texts, table.all("tbody")[0].all("tr"))}
    assert len(shown) == 41
    rows = [row for row in system["scores"] if row["part"] == "all" and row["label"] != OVERALL]
    assert len(rows) == 41
    for row in rows:
        cells = shown[row["label"]]
        assert cells[1] == str(row["n_clips"])
        assert cells[2] == ("-" if row["map3"] is None else f"{row['map3']:.4f}")
        if row["n_clips"]:
            assert cells[4] == f"{row['ci_low']:.4f} to {row['ci_high']:.4f}"
            scores = [f"{row[name]:.4f}" for name in ("precision", "recall", "f1", "map")]
            assert cells[5:9] == scores
        tie = " each" if ", " in row["most_confused_with"] else ""
        confused = f"{row['most_confused_with']} {row['n_confused']}{tie}"
        assert cells[9] == (confused if row["most_confused_with"] else "")
    assert data["parts"] == ["all", "Private", "Public"]
    for part in data["parts"]:
        row = overall_row(data, part)
        columns = {"map3": ["ci_low", "ci_high"], "accuracy": ["accuracy_ci_low", "accuracy_ci_high"]}
        for metric, bounds in (columns | ({"f1": [], "map": []} if part == "all" else {})).items():
            (stat,) = page.all("div", **{"data-part": part, "data-metric": metric})
            expected = [f"{row[column]:.4f}" for column in (metric, *bounds)]
            assert re.findall(r"\d\.\d{4}", stat.text) == expected
    assert f"is {system['calibration_error']:.4f}." in page.text


def test_page_shows_the_clips(page: Element, data: dict[str, Any]) -> None:
    (system,) = data["systems"]
    cards = page.all("article")
    assert len(cards) == len(system["media"]) == 14
    for card in cards:
        clip = system["clips"][int(card.attributes["id"].removeprefix("clip-")) - 1]
        assert card.all("h4")[0].text == clip["fname"]
        rows = [cell_texts(row) for row in card.all("tbody")[0].all("tr")]
        for rank, row in enumerate(rows[:3], 1):
            name, score = clip[f"top_{rank}"], f"{clip[f'score_{rank}']:.4f}"
            assert row == [str(rank), f"{name} ✓" if name == clip["label"] else name, "", score]
        assert [row[1] for row in rows if "✓" in row[1]] == [f"{clip['label']} ✓"]


def test_each_cell_of_the_matrix_links_to_its_clips(page: Element, data: dict[str, Any]) -> None:
    (system,) = data["systems"]
    links = [link for link in page.all("a") if link.attributes["href"].startswith("#cell-")]
    assert {link.attributes["href"] for link in links}
    for link in links:
        row, column = map(int, link.attributes["href"].removeprefix("#cell-").split("-"))
        assert link.text == str(system["confusion"][row][column])
        (cell,) = page.all("div", id=link.attributes["href"][1:])
        fnames = {item.all("a")[0].text for item in cell.all("li")}
        assert len(fnames) == system["confusion"][row][column]
        expected = (data["classes"][row], data["classes"][column])
        clips = [clip for clip in system["clips"] if (clip["label"], clip["top_1"]) == expected]
        assert fnames == {clip["fname"] for clip in clips}


def check_links(folder: Path, page: Element) -> None:
    """All resources and link targets of a page are in its folder or on the page."""
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


def test_page_loads_nothing_from_outside_its_folder(report_folder: Path, page: Element) -> None:
    check_links(report_folder, page)
    assert len(page.all("audio", preload="none")) == len(page.all("img", loading="lazy")) == 14


def test_figures_of_the_matrix_have_its_classes_and_numbers(
    report_folder: Path, data: dict[str, Any]
) -> None:
    counts = np.array(data["systems"][0]["confusion"])
    percentages = np.round(100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).astype(int)
    for name, numbers in (("confusion", counts), ("confusion_percent", percentages)):
        texts = re.findall(r"<text[^>]*>([^<]+)</text>", (report_folder / f"{name}.svg").read_text())
        assert all(texts.count(label) == 2 for label in data["classes"])
        shown = sorted(int(text) for text in texts if text.isdecimal())
        assert shown == sorted(numbers[counts > 0].tolist())
        assert (report_folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_single_file_contains_everything(
    toy_pipeline: ToyPipeline, report_folder: Path, tmp_path: Path
) -> None:
    labels = read_labels(report_folder.parent / "labels.csv")[:2]
    ensemble = Ensemble.open([toy_pipeline.run], [Store(toy_pipeline.test)])
    audio = toy_pipeline.data / "audio_test"
    path = report(ensemble, labels, tmp_path / "report.html", audio, single_file=True)
    assert list_dir(tmp_path) == ["report.html"]
    page = Page(path).root
    sources = [
        element.attributes[name]
        for element in page.walk()
        for name in ("src", "href")
        if name in element.attributes
    ]
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert len([source for source in sources if source.startswith("data:audio/ogg")]) == 2
    (link,) = page.all("a", download="report.json")
    encoded = link.attributes["href"].removeprefix("data:application/json;base64,")
    assert json.loads(base64.b64decode(encoded))["n_clips"] == 2
    with pytest.raises(InputError, match=r"must end in \.html for a report in a single file"):
        check_report(tmp_path / "report", labels, single_file=True)
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(InputError, match="is a folder; choose a file"):
        check_report(tmp_path / "folder.html", labels, single_file=True)


@pytest.mark.slow
def test_all_clips_have_audio_up_to_the_size_limit(
    toy_pipeline: ToyPipeline, report_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = read_labels(report_folder.parent / "labels.csv")
    ensemble = Ensemble.open([toy_pipeline.run], [Store(toy_pipeline.test)])
    monkeypatch.setattr(error_analysis, "MAX_CLIPS", 3)
    audio = toy_pipeline.data / "audio_test"
    path = report(ensemble, labels, tmp_path / "all", audio)
    (system,) = json.loads((path.parent / "report.json").read_text())["systems"]
    assert [entry["clip_number"] for entry in system["media"]] == [
        clip["clip_number"] for clip in system["clips"]
    ]
    assert sum(entry["spectrogram"] is not None for entry in system["media"]) == 3
    page = Page(path).root
    assert len(page.all("article")) == 3
    cells = [cell for cell in page.all("div") if cell.attributes.get("class") == "cell"]
    assert sum(len(cell.all("audio")) for cell in cells) == 11  # the others are in the cards that are linked
    check_links(tmp_path / "all", page)

    seconds = [min(entry["seconds"], MAX_SECONDS) for entry in system["media"] if entry["spectrogram"]]
    monkeypatch.setattr(writer, "MAX_AUDIO_SECONDS", sum(seconds) + 1e-6)
    path = report(ensemble, labels, tmp_path / "few", audio)
    assert len(list((tmp_path / "few" / "clips").glob("*.ogg"))) == 3
    assert "3 of 14 clips have sound" in Page(path).root.text


def test_page_is_accessible(page: Element) -> None:
    check_accessibility(page)


def check_accessibility(page: Element) -> None:
    """Headings are in order, and tables, images and players have a text alternative."""
    assert page.all("html")[0].attributes["lang"] == "en"
    headings = [int(element.tag[1]) for element in page.walk() if re.fullmatch("h[1-6]", element.tag)]
    assert headings.count(1) == 1
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))
    assert all(element.attributes.get("scope") for element in page.all("th"))
    assert all(element.all("caption") for element in page.all("table"))
    assert all(element.attributes["alt"] for element in page.all("img"))
    assert all(element.attributes["aria-label"] for element in [*page.all("audio"), *page.all("svg")])


@pytest.mark.slow
def test_an_existing_report_is_replaced_and_other_files_are_kept(
    toy_pipeline: ToyPipeline, report_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = read_labels(report_folder.parent / "labels.csv")[:2]
    ensemble = Ensemble.open([toy_pipeline.run], [Store(toy_pipeline.test)])
    page = report(ensemble, labels, tmp_path / "out")
    first = page.read_text()
    json_path = tmp_path / "out" / "report.json"
    assert overall_row(json.loads(json_path.read_text()))["n_clips"] == 2

    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "render", fail)
        with pytest.raises(OSError, match="No space"):
            report(ensemble, labels[:1], tmp_path / "out")
    assert page.read_text() == first
    assert list_dir(tmp_path) == ["out"]

    assert report(ensemble, labels[:1], tmp_path / "out") == page
    assert overall_row(json.loads(json_path.read_text()))["n_clips"] == 1
    assert list_dir(tmp_path) == ["out"]
    (tmp_path / "out" / "notes.txt").write_text("notes")
    with pytest.raises(InputError, match=r"contains 'notes.txt', which is not part of the report"):
        report(ensemble, labels, tmp_path / "out")


def test_report_without_audio_has_no_players(
    toy_pipeline: ToyPipeline, report_folder: Path, tmp_path: Path
) -> None:
    labels = read_labels(report_folder.parent / "labels.csv")[:1]
    page = report(Ensemble.open([toy_pipeline.run], [Store(toy_pipeline.test)]), labels, tmp_path / "out")
    text = page.read_text()
    assert "<audio" not in text
    assert "dcase2018 report … --audio FOLDER" in text
    assert list_dir(tmp_path / "out" / "clips") == ["1.webp"]


def test_output_and_audio_are_checked_before_the_work(
    toy_pipeline: ToyPipeline, report_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("")
    (tmp_path / "file").write_text("")
    labels_csv = report_folder.parent / "labels.csv"
    command = ("report", toy_pipeline.test, labels_csv, toy_pipeline.run, "-o")
    message = run_fails(2, *command, tmp_path / "full")
    assert message == f"dcase2018: {tmp_path / 'full'} exists and is not a report; choose another folder\n"
    message = run_fails(2, *command, tmp_path / "new", "--audio", toy_pipeline.data / "audio_train")
    assert "14 of 14 clips are not in" in message
    assert "loading Keras" not in message
    assert list_dir(tmp_path) == ["file", "full"]
    labels = pd.DataFrame({"fname": ["a.wav"], "label": ["x"]})
    with pytest.raises(InputError, match="is a file; choose a folder for the report"):
        check_report(tmp_path / "file", labels)


def train(store: Path, labels: pd.DataFrame, run: Path) -> Path:
    """Train the smallest network for one epoch."""
    classifier = "logistic" if "labels" in labels else "softmax"
    fit(Experiment.create(run, Preset("mlp", HParams(nh=8, classifier=classifier), 1), Store(store), labels))
    return run


HOSTILE = {
    "<script>alert(1)</script>.wav": "<b>x</b>",
    "\"quote' onerror=alert(1).wav": 'a"b',
    "$\\frac{.wav": "$\\frac{",
    "{{ 7 * 7 }}.wav": "{{_7*7_}}",
    "sub/odd.wav": "ü,x",
    "caf\udce9.wav": "a&amp;b",
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of clips with hostile names, one without samples and one truncated after extraction."""
    root = tmp_path_factory.mktemp("hostile")
    for fname in HOSTILE:
        (root / "clips" / fname).parent.mkdir(parents=True, exist_ok=True)
    for seed, fname in enumerate(HOSTILE):
        write_wav(root / "new.wav", noise(9000, seed)).rename(root / "clips" / fname)
    write_wav(root / "clips" / "empty.wav", noise(0))
    write_wav(root / "clips" / "truncated.wav", noise(9000, 9))
    names = HOSTILE | {"empty.wav": "empty", "truncated.wav": "truncated"}
    extract(root / "clips", root / "s.h5", BASELINE, list(names))
    labels = pd.DataFrame({"fname": list(names), "label": list(names.values())}, dtype=object)
    run = train(root / "s.h5", labels, root / "run")
    with (root / "clips" / "truncated.wav").open("r+b") as file:
        file.truncate(5000)
    ensemble = Ensemble.open([run], [Store(root / "s.h5")])
    report(ensemble, labels, root / "report", root / "clips", allow_trained=True)
    return root / "report"


def test_hostile_names_are_escaped_and_name_no_files(hostile: Path) -> None:
    page = Page(hostile / "index.html").root
    check_links(hostile, page)
    assert len(page.all("script")) == 1
    assert not any(name.startswith("on") for element in page.walk() for name in element.attributes)
    cards = {card.all("h4")[0].text for card in page.all("article")}
    assert cards == {fname.replace("\udce9", "\\udce9") for fname in HOSTILE} | {"empty.wav", "truncated.wav"}
    rows = page.all("table", class_="classes sortable")[0].all("tbody")[0].all("tr")
    assert {row.all("th")[0].text for row in rows} == {*HOSTILE.values(), "empty", "truncated"}
    assert all(re.fullmatch(r"\d\.(ogg|webp)", name) for name in list_dir(hostile / "clips"))
    assert list_dir(hostile.parent) == ["clips", "report", "run", "s.h5"]
    data = json.loads((hostile / "report.json").read_text())
    assert [clip["fname"] for clip in data["systems"][0]["clips"]][:6] == list(HOSTILE)


def test_clips_without_spectrogram_or_audio_have_a_reason(hostile: Path) -> None:
    cards = {card.all("h4")[0].text: card for card in Page(hostile / "index.html").root.all("article")}
    assert not cards["empty.wav"].all("img")
    assert not cards["empty.wav"].all("audio")
    assert "No spectrogram: no samples." in cards["empty.wav"].text
    assert "No player: no samples." in cards["empty.wav"].text
    assert cards["truncated.wav"].all("img")
    assert cards["truncated.wav"].all("audio")
    warning = "Warning: incomplete: header promises 0.2 s, 0.1 s are there."
    assert warning in cards["truncated.wav"].text


def test_path_traversal_is_rejected(tmp_path: Path) -> None:
    write_wav(tmp_path / "outside.wav", noise(900))
    (tmp_path / "clips").mkdir()
    labels = pd.DataFrame({"fname": ["../outside.wav"], "label": ["x"]})
    with pytest.raises(InputError, match=r"such as '\.\./outside\.wav'"):
        check_report(tmp_path / "out", labels, tmp_path / "clips")


@pytest.mark.slow
def test_two_systems_of_folds_and_mixed_features_on_several_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fnames = [f"{i}.wav" for i in range(8)]
    for seed, fname in enumerate(fnames):
        write_wav(tmp_path / "clips" / fname, noise(9000, seed))
    paths = []
    for name in ("baseline", "waveform16k"):
        extract(tmp_path / "clips", tmp_path / f"{name}.h5", FEATURE_CONFIGS[name])
        paths.append(tmp_path / f"{name}.h5")
    label_lists = [",".join(rng.choice(["a", "b", "c"], rng.integers(1, 3), replace=False)) for _ in fnames]
    labels = pd.DataFrame({"fname": fnames, "labels": label_lists}, dtype=object)
    first, second = (train(paths[0], labels, tmp_path / "folds" / f"fold-{i}") for i in (1, 2))
    waveform = train(paths[1], labels, tmp_path / "samples")
    stores = [Store(path) for path in paths]
    folds = Ensemble.open([second.parent], stores)
    mixed = Ensemble.open([first, waveform], stores)
    systems = [(ensemble, evaluate(ensemble, labels, allow_trained=True)) for ensemble in (folds, mixed)]
    comparison = compare([systems[0][1]], [systems[1][1]], resamples=100)
    page = Page(report_comparison(systems, comparison, tmp_path / "out", tmp_path / "clips")).root
    check_links(tmp_path / "out", page)
    check_accessibility(page)
    assert page.all("h1")[0].text == "A: folds (2 folds) and B: fold-1, samples"
    assert list_dir(tmp_path / "out")[:3] == ["a-classes.csv", "a-clips.csv", "a-confusion.csv"]
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    for system, (_, evaluation) in zip(data["systems"], systems, strict=True):
        assert [row["map"] for row in system["scores"]] == pytest.approx(list(evaluation.table["map"]))
        assert len(system["runs"]) == 2
    assert "of its labels" in page.text
    a_ap, b_ap = (evaluation.ap_at_3 for _, evaluation in systems)
    changes = {fname: change for fname, change in zip(fnames, b_ap - a_ap, strict=True) if change}
    assert data["comparison"] == comparison
    assert {row["fname"]: row["difference"] for row in comparison["changed_clips"]} == pytest.approx(changes)
    table_rows = page.all("section", id="changes")[0].all("tbody")[0].all("tr")
    assert {row.all("th")[0].text for row in table_rows} == set(changes)
    check_comparison(tmp_path / "out", page, comparison)

    ensemble = Ensemble.open([waveform], stores[::-1])
    waveform_page = report(ensemble, labels, tmp_path / "waveform", allow_trained=True)
    assert Page(waveform_page).root.all("h1")[0].text == "samples"


def check_comparison(folder: Path, page: Element, comparison: dict[str, Any]) -> None:
    """The page starts with the comparison and has one class table, with the names A and B."""
    (section,) = page.all("section", id="comparison")
    assert page.all("section")[0] is section
    assert section.all("h2")[0].text == comparison["conclusion"]
    (stats,) = section.all("dl", **{"data-part": "all"})
    low, high = comparison["interval"]
    expected = [f"{comparison['a']:.4f}", f"{comparison['b']:.4f}", f"{comparison['difference']:+.4f}"]
    expected += [f"{low:+.4f}", f"{high:+.4f}", f"{comparison['p_value']:.4f}"]
    assert re.findall(r"[+-]?\d\.\d{4}", stats.text) == expected
    (table,) = page.all("table", class_="classes sortable")
    headings = [heading.text for heading in table.all("thead")[0].all("th")]
    assert headings == ["class", "clips", "A", "B", "B - A", ""]
    shown = [cell_texts(row)[:5] for row in table.all("tbody")[0].all("tr")]
    assert shown == [
        [name, str(row["n_clips"]), f"{row['a']:.4f}", f"{row['b']:.4f}", f"{row['difference']:+.4f}"]
        for name, row in comparison["classes"].items()
    ]
    written = pd.read_csv(folder / "compared_classes.csv").set_index("label").to_dict("index")
    assert written == {name: pytest.approx(row) for name, row in comparison["classes"].items()}


@pytest.mark.slow
def test_same_input_gives_the_same_report(tmp_path: Path) -> None:
    write_wav(tmp_path / "clips" / "0.wav", noise(9000))
    write_wav(tmp_path / "clips" / "1.wav", noise(9000, 1))
    extract(tmp_path / "clips", tmp_path / "s.h5", BASELINE)
    labels = pd.DataFrame({"fname": ["0.wav", "1.wav"], "label": ["a", "b"]}, dtype=object)
    folds = [train(tmp_path / "s.h5", labels, tmp_path / "folds" / f"fold-{i}") for i in (1, 2)]
    ensemble = Ensemble.open([folds[0].parent], [Store(tmp_path / "s.h5")])
    first, second = (
        report(ensemble, labels[:1], tmp_path / name, allow_trained=True) for name in ("first", "second")
    )
    page = Page(first).root
    assert page.all("h1")[0].text == "folds (2 folds)"
    assert page.all("p", class_="warning")[0].text.startswith(
        "Training clips: folds (2 folds) was trained on 1 of these 1 clip."
    )
    for path in ("index.html", "report.json", "clips/1.webp"):
        assert (second.parent / path).read_bytes() == (first.parent / path).read_bytes()


def test_clips_without_audio_are_allowed_on_request(tmp_path: Path) -> None:
    write_wav(tmp_path / "audio" / "a.wav", noise(900))
    (tmp_path / "audio" / "b.wav").symlink_to("nothing")
    labels = pd.DataFrame({"fname": ["a.wav", "b.wav", "c.wav"], "label": ["x", "y", "x"]})
    with pytest.raises(InputError, match=r"1 of 3 clips are not in .*: 'c.wav'; .* with --missing skip"):
        check_report(tmp_path / "report", labels, tmp_path / "audio")
    assert check_report(tmp_path / "report", labels, tmp_path / "audio", skip_missing=True) == {
        "b.wav": f"a link to nothing, 'nothing' (not fetched?) in {tmp_path / 'audio'}",
        "c.wav": f"no such file in {tmp_path / 'audio'}",
    }


@pytest.mark.slow
def test_out_of_fold_report_shows_the_folds(tmp_path: Path) -> None:
    fnames = [f"{i}.wav" for i in range(12)]
    for seed, fname in enumerate(fnames):
        write_wav(tmp_path / "clips" / fname, noise(9000, seed))
    extract(tmp_path / "clips", tmp_path / "s.h5", BASELINE)
    labels = pd.DataFrame({"fname": fnames, "label": [*"abc"] * 4}, dtype=object)
    preset = Preset("mlp", HParams(nh=8), 1)
    store = Store(tmp_path / "s.h5")
    folds = plan_folds(tmp_path / "folds", np.arange(12) // 4, preset, store, labels)
    fit_folds(folds, StoppingCriteria(), 250, False, 1)
    out_of_fold = save_out_of_fold(tmp_path / "folds", folds, INLINE)
    (tmp_path / "clips" / "3.wav").unlink()
    done = dcase(
        "report", tmp_path / "s.h5", "--out-of-fold", tmp_path / "folds", "-o", tmp_path / "report",
        "--audio", tmp_path / "clips", "--missing", "skip",
    )  # fmt: skip
    path, skipped = done.stdout.splitlines()
    assert (done.returncode, skipped) == (3, f"skipped: 3.wav: no such file in {tmp_path / 'clips'}")
    page = Page(Path(path)).root
    check_links(tmp_path / "report", page)
    check_accessibility(page)
    assert page.all("h1")[0].text == "folds (3 folds), out-of-fold scores"
    table = out_of_fold.fold_table()
    shown = [cell_texts(row) for row in page.all("table", class_="folds")[0].all("tbody")[0].all("tr")]
    assert [row[:2] for row in shown] == [["1", "4"], ["2", "4"], ["3", "4"]]
    assert [row[2] for row in shown] == [f"{value:.4f}" for value in table["accuracy"]]
    mean, spread = table["accuracy"].mean(), table["accuracy"].std(ddof=1)
    assert f"accuracy {mean:.3f} ± {spread:.3f}" in page.text
    written = pd.read_csv(tmp_path / "report" / "folds.csv", index_col="fold")
    pd.testing.assert_frame_equal(written, table, check_names=False)
    (system,) = json.loads((tmp_path / "report" / "report.json").read_text())["systems"]
    assert [fold["accuracy"] for fold in system["folds"]] == pytest.approx(table["accuracy"].tolist())
