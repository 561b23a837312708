"""The review page in a real browser. Needs Chromium (Debian: chromium)."""

import csv
import io
import shutil

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from digitscan.evaluation.corrected_csv import read_corrected_csv
from digitscan.review.config import MAX_INLINE_ROWS, ReviewConfig
from digitscan.review.page import render_page
from digitscan.review.review import run_review
from digitscan.review.rows import ReviewedRows
from tests.support.pictures import digit_picture

HOSTILE = [
    "<img src=x onerror=document.title='run'>.png",
    "</script><script>document.title='run'</script>.png",
    "'\" onmouseover=alert(1) \u202e&amp;.png",
    "=cmd|'/c calc'!A1.png",
]
COLUMNS = ("path", "digit", "confidence", "status", "note", "corrected")
NUMBER_COLUMNS = ("path", "number", "confidence", "status", "note", "corrected")
NUMBER_ROWS = [
    ("a.png", "407", "0.9990", "ok", "", ""),
    ("b.png", "17", "0.5000", "review", "17 or 11", ""),
    ("c.png", "007", "0.4000", "review", "doubtful; in full: 007", ""),
    ("d.png", "", "", "no-digit", "blank", ""),
    ("e.png", "1234567890123456", "0.9500", "ok", "", "1234567890123456"),
]
ROWS = [
    ("a.png", "7", "0.9990", "ok", "", ""),
    ("b.png", "1", "0.5000", "review", "between 1 and 7", ""),
    ("c.png", "9", "0.4000", "review", "doubtful", ""),
    ("d.png", "", "", "no-digit", "not like any digit", ""),
    ("e.png", "", "", "error", "no longer there", ""),
    ("f.png", "7", "0.9500", "ok", "box removed", "7"),
]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page of 1000x800 pixels whose errors, messages and requests are collected."""
    context = browser.new_context(viewport={"width": 1000, "height": 800}, accept_downloads=True)
    page = context.new_page()
    page.problems, page.requests = [], []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: message.type == "error" and page.problems.append(message.text))
    page.on("request", lambda request: page.requests.append(request.url))
    yield page
    assert page.problems == []
    assert all(url.startswith(("file:", "blob:", "data:")) for url in page.requests)
    context.close()


def write_csv(path, rows, columns=COLUMNS):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return path


@pytest.fixture
def review(tmp_path, page):
    """A function that makes the review page of some rows, with pictures of a seven, and opens it."""

    def review(rows=ROWS, columns=COLUMNS, **settings):
        source = write_csv(tmp_path / "predictions.csv", rows, columns)
        for row in rows:
            if row[3] != "error" and "/" not in row[0]:
                digit_picture().save(tmp_path / row[0])
        output = tmp_path / "review.html"
        run_review(ReviewConfig(source, output, images=tmp_path, model="cnn", overwrite=True, **settings))
        page.goto(output.as_uri())
        return page

    return review


def answers(page):
    """What the cards in view say, in order of their places."""
    return page.locator(".card").evaluate_all(
        "cards => cards.sort((a, b) => a.ariaPosInSet - b.ariaPosInSet).map(card => card.ariaLabel)"
    )


def download(page):
    """The rows of the CSV that the page gives."""
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download corrected CSV").click()
    text = waiting.value.path().read_text(encoding="utf-8")
    return waiting.value.suggested_filename, list(csv.reader(io.StringIO(text)))


def test_doubtful_rows_come_first_the_least_sure_before_others(review):
    page = review()
    assert answers(page) == [
        "c.png: 9, review, 0.4000",
        "b.png: 1, review, 0.5000",
        "d.png: none, no-digit",
        "e.png: none, error",
    ]
    expect(page.locator("#progress")).to_have_text("0 of 4 doubtful rows looked at, 1 in all")
    expect(page.locator("#path")).to_have_text("c.png")


def test_rows_are_corrected_by_keys_alone(review):
    page = review()
    for key in ("3", "Enter", "ArrowRight", "x"):
        page.keyboard.press(key)
    expect(page.locator("#progress")).to_have_text("3 of 4 doubtful rows looked at, 4 in all")
    name, rows = download(page)
    assert name == "predictions-corrected.csv"
    assert rows[0] == ["path", "digit", "confidence", "status", "note", "corrected"]
    assert {row[0]: row[5] for row in rows[1:]} == {
        "a.png": "", "b.png": "1", "c.png": "3", "d.png": "", "e.png": "none", "f.png": "7"
    }  # fmt: skip
    assert [row[:5] for row in rows[1:]] == [list(row[:5]) for row in ROWS]


def test_the_last_row_is_not_corrected_twice_by_a_key_too_many(review):
    page = review()
    for key in ("End", "1", "2", "3"):
        page.keyboard.press(key)
    expect(page.locator("#answer")).to_contain_text("corrected to 1. That was the last row")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("2")
    expect(page.locator("#answer")).to_contain_text("corrected to 2")


def test_a_key_that_is_held_corrects_one_row(review):
    page = review()
    for _ in range(4):
        page.keyboard.down("7")  # Playwright sends a repeated key until it is released
    page.keyboard.up("7")
    expect(page.locator("#progress")).to_have_text("1 of 4 doubtful rows looked at, 2 in all")


def test_two_tabs_add_to_the_same_corrections(review):
    first = review()
    second = first.context.new_page()
    second.goto(first.url)
    first.keyboard.press("4")
    second.keyboard.press("End")
    second.keyboard.press("x")
    expect(second.locator("#progress")).to_have_text("2 of 4 doubtful rows looked at, 3 in all")
    first.reload()
    expect(first.locator("#progress")).to_have_text("2 of 4 doubtful rows looked at, 3 in all")


def test_other_spellings_of_columns_are_kept_and_an_audit_goes_on(page, tmp_path):
    columns = ("Path", "Digit", "Confidence", "Status", "Note", "number", "Corrected", "audit")
    row = ["a.png", "2", "0.9990", "ok", "", "133", "7.0", "yes"]
    source = write_csv(tmp_path / "rows.csv", [row], columns)
    run_review(ReviewConfig(source, tmp_path / "review.html", images=tmp_path, model="cnn"))
    page.goto((tmp_path / "review.html").as_uri())
    expect(page.locator("#answer")).to_have_text("2, ok, 0.9990, corrected to 7")
    expect(page.locator("#audit-result")).to_contain_text("1 of 1 ok rows looked at, 1 wrong")
    page.keyboard.press("Enter")
    _, rows = download(page)
    assert rows == [[*columns], [*row[:6], "2", "yes"]]


def test_undo_takes_back_one_correction_after_the_other(review):
    page = review()
    for key in ("3", "4", "u", "u", "u"):
        page.keyboard.press(key)
    expect(page.locator("#progress")).to_have_text("0 of 4 doubtful rows looked at, 1 in all")
    expect(page.locator("#path")).to_have_text("c.png")


def test_corrections_outlive_a_reload_but_are_not_those_of_another_file(review):
    page = review()
    page.keyboard.press("3")
    page.reload()
    expect(page.locator("#progress")).to_have_text("1 of 4 doubtful rows looked at, 2 in all")
    review(ROWS[:5])
    expect(page.locator("#progress")).to_have_text("0 of 4 doubtful rows looked at, 0 in all")


def test_what_the_browser_keeps_is_checked(review):
    page = review()
    page.keyboard.press("3")
    for kept in ('[[0, "7"], [99, "1"], [1, "=cmd()"]]', '{"no": "pairs"}', "no JSON"):
        page.evaluate("kept => localStorage.setItem(Object.keys(localStorage)[0], kept)", kept)
        page.reload()
        _, rows = download(page)
        assert [row[5] for row in rows[1:]] == ["7" if kept[0] == "[" else "", "", "", "", "", "7"]


def test_filters_search_and_order(review):
    page = review()
    page.locator("#view").select_option("all rows")
    page.locator("#digit").select_option("all the 7s")
    assert answers(page) == ["f.png: 7, ok, 0.9500, corrected to 7", "a.png: 7, ok, 0.9990"]
    page.locator("#order").select_option("as in the file")
    assert answers(page)[0] == "a.png: 7, ok, 0.9990"
    page.locator("#search").fill("BOX")
    assert answers(page) == ["f.png: 7, ok, 0.9500, corrected to 7"]
    page.locator("#search").fill("")
    page.locator("#digit").select_option("any")
    page.locator("#status").select_option("no-digit")
    assert answers(page) == ["d.png: none, no-digit"]
    page.locator("#status").select_option("any")
    page.locator("#confidence").fill("0.45")
    assert [answer[:5] for answer in answers(page)] == ["c.png", "d.png", "e.png"]
    page.locator("#search").fill("nothing like it")
    expect(page.locator("#answer")).to_have_text("No row is shown.")
    page.keyboard.press("Tab")


def test_the_picture_and_what_the_model_saw_are_drawn(review):
    page = review()
    page.wait_for_timeout(300)
    for name, darkest in (("picture", 30), ("model-input", 0)):
        pixels = page.locator(f"#{name}").evaluate(
            "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
        )
        grays = np.array(pixels).reshape(-1, 4)[:, 0]
        assert grays.min() <= darkest and grays.max() > 200


def test_an_audit_ends_with_its_error_rate(review):
    rows = [(f"{index}.png", "7", "0.9990", "ok", "", "") for index in range(30)]
    page = review(rows, audit=10)
    page.locator("#view").select_option("audit sample")
    page.locator("#grid").focus()
    page.keyboard.press("1")
    for _ in range(9):
        page.keyboard.press("Enter")
    expect(page.locator("#audit-result")).to_have_text(
        "Audit: 10 of 10 ok rows looked at, 1 wrong: 10.00 %, 95 % interval 1.79 % to 40.42 %. "
        "The audit is complete."
    )
    _, corrected = download(page)
    assert corrected[0][-1] == "audit"
    assert sum(row[-1] == "yes" for row in corrected) == 10


def test_the_downloaded_file_is_what_evaluate_reads(review, tmp_path):
    page = review(audit=1)
    page.keyboard.press("3")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download corrected CSV").click()
    waiting.value.save_as(tmp_path / "corrected.csv")
    assert len(read_corrected_csv(tmp_path / "corrected.csv").answers) == 2


def test_names_and_notes_are_text_and_never_run(page, tmp_path):
    cells = [[name, "7", "0.5000", "review", name, ""] for name in HOSTILE]
    columns = ("path", "digit", "confidence", "status", "note", "corrected")
    rows = ReviewedRows(columns, columns, cells, [], [], [], "0" * 64, False)
    (tmp_path / "review.html").write_text(render_page(HOSTILE[1], rows, [], "0000", []), encoding="utf-8")
    page.goto((tmp_path / "review.html").as_uri())
    page.wait_for_timeout(200)
    assert page.title() == f"Review {HOSTILE[1]}"
    assert page.locator("h1").text_content() == HOSTILE[1]
    assert page.locator("#note").text_content() == HOSTILE[0]
    assert page.locator("img").count() == 0 and page.locator("script").count() == 2
    _, downloaded = download(page)
    assert downloaded[1:] == cells


def test_the_policy_of_the_page_runs_no_other_script(review):
    page = review()
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<button onclick=\"document.title=1\">z</button>')"
    )
    page.get_by_role("button", name="z").click()
    assert page.title() == "Review predictions.csv"
    assert any("Content Security Policy" in problem for problem in page.problems)
    page.problems.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1000])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(review, page, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    review(audit=1)
    violations = Axe().run(page).response["violations"]
    assert [each["id"] for each in violations if each["impact"] in {"serious", "critical"}] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_100_000_rows_have_few_cards_and_no_picture_that_is_not_in_view(page, tmp_path):
    count = 100_000
    columns = ("path", "digit", "confidence", "status", "note")
    cells = [
        [f"scan-{index}.png", str(index % 10), "0.9990", "review" if index % 10 == 3 else "ok", ""]
        for index in range(count)
    ]
    rows = ReviewedRows(columns, columns, cells, [], [], [], "1" * 64, False)
    (tmp_path / "review-files").mkdir()
    sprite = Image.new("L", (1320, 1040), 136)
    names = [f"review-files/{number}.png" for number in range(count // 100)]
    for name in names:
        sprite.save(tmp_path / name)
    html = render_page("predictions.csv", rows, names, "2" * count, [])
    (tmp_path / "review.html").write_text(html, encoding="utf-8")
    page.goto((tmp_path / "review.html").as_uri())
    expect(page.locator("#count")).to_have_text("10,000 rows")
    page.locator("#view").select_option("all rows")
    page.locator("#order").select_option("as in the file")
    expect(page.locator("#count")).to_have_text("100,000 rows")
    assert page.locator(".card").count() < 100
    page.locator("#grid").focus()
    page.keyboard.press("End")
    expect(page.locator("#path")).to_have_text("scan-99999.png")
    page.keyboard.press("5")
    expect(page.locator("#progress")).to_have_text("0 of 10,000 doubtful rows looked at, 1 in all")
    pictures = {url for url in page.requests if url.endswith(".png")}
    assert 0 < len(pictures) < 10
    assert page.locator(".card").count() < 100


def test_many_rows_keep_their_pictures_beside_the_page(tmp_path, page):
    digit_picture().save(tmp_path / "a.png")
    rows = [("a.png", "7", "0.5000", "review", "", "")] * (MAX_INLINE_ROWS + 1)
    source = write_csv(tmp_path / "predictions.csv", rows)
    run_review(ReviewConfig(source, tmp_path / "review.html", model="cnn"))
    assert len(list((tmp_path / "review-files").iterdir())) == 21
    page.goto((tmp_path / "review.html").as_uri())
    page.wait_for_timeout(300)
    assert any(url.endswith("review-files/00001.png") for url in page.requests)


def test_a_page_without_its_pictures_still_takes_corrections(tmp_path, page):
    rows = [("a.png", "7", "0.5000", "review", "", "")] * (MAX_INLINE_ROWS + 1)
    source = write_csv(tmp_path / "predictions.csv", rows)
    digit_picture().save(tmp_path / "a.png")
    run_review(ReviewConfig(source, tmp_path / "review.html", model="cnn"))
    shutil.rmtree(tmp_path / "review-files")
    page.goto((tmp_path / "review.html").as_uri())
    page.keyboard.press("5")
    expect(page.locator("#progress")).to_have_text("1 of 2,001 doubtful rows looked at, 1 in all")
    page.problems.clear()  # the browser says which pictures it does not find


def test_a_number_is_typed_and_enter_takes_it(review):
    page = review(NUMBER_ROWS, NUMBER_COLUMNS)
    assert answers(page) == [
        "c.png: 007, review, 0.4000",
        "b.png: 17, review, 0.5000",
        "d.png: none, no-digit",
    ]
    page.keyboard.type("00")
    expect(page.locator("#number")).to_be_focused()
    page.keyboard.type("17a-")
    expect(page.locator("#number")).to_have_value("0017")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    expect(page.locator("#path")).to_have_text("b.png")
    expect(page.locator("#number")).to_have_value("")
    page.keyboard.press("Enter")  # right as read
    page.keyboard.type("5")
    page.keyboard.press("x")
    assert answers(page) == [
        "c.png: 007, review, 0.4000, corrected to 001",
        "b.png: 17, review, 0.5000, corrected to 17",
        "d.png: none, no-digit, corrected to none",
    ]
    _, rows = download(page)
    assert [row[-1] for row in rows] == ["corrected", "", "17", "001", "none", "1234567890123456"]


def test_a_typed_number_can_be_given_up_and_a_correction_taken_back(review):
    page = review(NUMBER_ROWS, NUMBER_COLUMNS)
    page.keyboard.type("12")
    page.keyboard.press("Escape")
    expect(page.locator("#grid")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#path")).to_have_text("b.png")
    page.keyboard.type("12")
    page.get_by_role("button", name="correct", exact=True).click()
    page.keyboard.press("u")
    expect(page.locator("#answer")).to_have_text("17, review, 0.5000")
    page.keyboard.type("34")
    page.keyboard.press("ArrowDown")  # moves: what was typed is for the row that was left
    expect(page.locator("#number")).to_have_value("")
    _, rows = download(page)
    assert [row[-1] for row in rows] == ["corrected", "", "", "", "", "1234567890123456"]


def test_numbers_are_found_and_sorted_and_what_the_browser_keeps_is_there_again(review):
    page = review(NUMBER_ROWS, NUMBER_COLUMNS)
    page.locator("#view").select_option("all")
    page.locator("#order").select_option("read")
    order = [text.partition(":")[0] for text in answers(page)]
    assert order == ["b.png", "c.png", "a.png", "d.png", "e.png"]
    page.locator("#search").fill("4567")
    assert answers(page) == ["e.png: 1234567890123456, ok, 0.9500, corrected to 1234567890123456"]
    page.locator("#search").fill("")
    page.locator("#grid").focus()
    page.keyboard.press("Home")
    page.keyboard.type("99")
    page.keyboard.press("Enter")
    page.reload()
    assert "b.png: 17, review, 0.5000, corrected to 99" in answers(page)


def test_the_page_of_numbers_is_accessible_and_shows_wide_pictures(review, tmp_path):
    page = review(NUMBER_ROWS, NUMBER_COLUMNS)
    assert Axe().run(page).response["violations"] == []
    wide = page.locator(".card .shot").first.bounding_box()
    assert wide["width"] > 2 * wide["height"] - 10
    assert page.locator("#model-input").count() == 0
    assert page.locator("#picture").evaluate("canvas => [canvas.width, canvas.height]") == [224, 104]
