"""The files of others are what was published, and come with their licences."""

import hashlib
import json
from pathlib import Path

import dashboard

FOLDER = Path(dashboard.__file__).parent / "static" / "vendor"
NAMED = json.loads((FOLDER / "vendored.json").read_text(encoding="utf-8"))


def test_every_file_has_the_hash_that_was_noted() -> None:
    noted = {file["name"]: file["sha256"] for package in NAMED for file in package["files"]}
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in FOLDER.iterdir()
        if path.name != "vendored.json"
    }
    assert found == noted


def test_every_package_has_its_licence() -> None:
    assert {package["licence"] for package in NAMED} == {"0BSD", "Apache-2.0", "MIT"}
    for package in NAMED:
        assert any(file["name"].endswith("-license.txt") for file in package["files"]), package["package"]


def test_no_page_asks_another_machine() -> None:
    templates = [*FOLDER.parents[1].glob("templates/*.html"), *FOLDER.parent.glob("*.js"), *FOLDER.parent.glob("*.css")]
    assert len(templates) > 8
    for template in templates:
        text = template.read_text(encoding="utf-8")
        assert "https://" not in text, template.name
        assert 'src="//' not in text, template.name
