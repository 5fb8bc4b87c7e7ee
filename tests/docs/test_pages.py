"""The pages: their links lead somewhere, the tour can be walked, the examples of the trail answer."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest
from flask import Flask

from tests.conftest import ADMIN
from tests.support.pages import DOCS, PAGES, README, ROOT, anchors, block, blocks, page, prose, section
from tests.support.served import PROGRAM, Served
from yoq_audit.export.formats import FORMATS
from yoq_audit.query.routes import AuditQuery

HERE = "https://github.com/yoq-web/yoq-web/blob/main/"
"""How README links to the project's own files: it is shown on the package's page, too."""

CALL = f'call() {{ curl -sH "Authorization: Bearer {ADMIN}" "$@"; }}\n'


def links(text: str) -> list[tuple[str, str]]:
    """Return the links of a page in the project, as path and anchor."""
    found = [target.removeprefix(HERE) for target in re.findall(r"\]\(([^)\s]+)\)", prose(text))]
    parted = [target.partition("#") for target in found if not target.startswith("https://")]
    return [(path, fragment) for path, _, fragment in parted]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    """Links name files that exist, and headings that these have."""
    for target, fragment in links(path.read_text()):
        found = (path.parent / target).resolve() if target else path
        assert found.exists(), target
        assert not fragment or fragment in anchors(found.read_text()), f"{target}#{fragment}"


def test_every_page_can_be_found() -> None:
    """Each page is linked from the index of its folder, and each folder's index from that above."""
    listed = {index.parent / target for index in DOCS.rglob("index.md") for target, _ in links(index.read_text())}
    assert {path for path in PAGES if path.is_relative_to(DOCS)} - {DOCS / "index.md"} <= {
        path.resolve() for path in listed
    }


def test_the_tree_names_files_that_exist() -> None:
    """Each file and folder of the tree is there."""
    tree = block(page("project/architecture.md"), "")
    names = re.findall(r"[\w/]+(?:\.py|/)(?= |$)", tree, re.MULTILINE)
    assert len(names) > 10
    for name in names:
        assert any((ROOT / folder / name).exists() for folder in ("", "yoq_web", "plugins", "plugins/yoq_audit")), name


def test_the_walk_goes_through_what_is_there() -> None:
    """Each step of the operation that is walked from route to row names a function of the file."""
    steps = re.findall(r"^\| \d+ \| `([\w/.]+)` `(\w+)` \|", page("project/architecture.md"), re.MULTILINE)
    assert len(steps) == 20
    for path, function in steps:
        assert re.search(rf"^ *def {function}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path}: {function}"


def test_readme_is_short() -> None:
    """Whoever opens the repository reads one page; everything else has a reader of its own."""
    assert len(README.read_bytes()) <= 8192


@pytest.mark.parametrize("backend", ["sqlite"])
def test_every_command_shown_exists(app: Flask) -> None:
    """Each command line on any page names a command that there is, with options that it has."""
    found = 0
    for path in PAGES:
        text = path.read_text()
        lines = [line for code in blocks(text, "sh") for line in code.splitlines()]
        for line in [*lines, *re.findall(r"`(yoq-web [^`]+)`", prose(text))]:
            for shown in re.findall(r"(?:^|[ /`(])yoq-web ([a-z][^|&;#)]*)", line):
                words = [word for part in shown.split() if (word := part.strip("`'\",.:…[]"))]
                if words[0] == "notices":
                    continue  # the tutorial's plugin
                found += check_command(app.cli, words, f"{path.name}: {shown}")
    assert found > 60


def check_command(group: click.Command, words: list[str], where: str) -> int:
    """Fail unless the words name a command, and the options among them are its own; returns 1 for what was checked."""
    at = 0
    while isinstance(group, click.Group) and at < len(words):
        if words[at] in {name for parameter in group.params for name in parameter.opts}:
            at += 2  # an option of the group's, with its value
        elif words[at] in group.commands:
            group, at = group.commands[words[at]], at + 1
        else:
            break
    assert at > 0, where
    assert not isinstance(group, click.Group) or group.invoke_without_command or at == len(words), where
    known = {name for parameter in group.params for name in parameter.opts} | {"--help"}
    for word in words[at:]:
        assert not re.match("--?[a-z]", word) or word.partition("=")[0] in known, f"{where}: {word}"
    return 1


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_compiles(path: Path) -> None:
    """Each example in Python is Python; one that only shows a signature has a body put in."""
    for code in blocks(path.read_text(), "python"):
        whole = f"{code.rstrip()}: ...\n" if re.fullmatch(r"def [^\n]*[^:\n]\n", code) else code
        compile(whole, str(path), "exec")


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_tour_can_be_walked(served: Served, tmp_path: Path) -> None:
    """The tour works as it stands, from its first line to its last, and each line answers what its comment says."""
    tour = block(section(README.read_text(), "A tour of five minutes"), "sh")
    steps = [line for line in tour.splitlines() if line and not line.startswith(("#", "export TOKEN", "alias call"))]
    assert len(steps) == 12
    script = ["set -e", CALL]
    for step in steps:
        command, _, comment = step.partition("  #")
        script += [command, f"echo; echo '=> {comment.strip()}'"]
    text = "\n".join(script).replace("http://127.0.0.1:7700", served.url).replace("./run yoq-web", str(PROGRAM))
    done = subprocess.run(
        ["/bin/bash", "-c", text], cwd=tmp_path, env=served.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"error"' not in done.stdout
    answers = re.findall(r"(.*?)\n=> ([^\n]*)\n", done.stdout, re.DOTALL)
    assert len(answers) == len(steps)
    for answer, comment in answers:
        assert not comment or answer.strip() == comment
    assert answers[-1][0].strip().startswith("proved: ")


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_each_example_of_reading_the_trail_answers(served: Served) -> None:
    """Each line answers entries or counts; the link of a page that is not the last one leads on."""
    lines = [line for line in block(page("trail/query.md"), "sh").splitlines() if line.startswith("call ")]
    assert len(lines) == 6

    def answer(line: str) -> str:
        """What a line prints."""
        command = line.replace("http://127.0.0.1:7700", served.url).partition("  #")[0]
        done = subprocess.run(["/bin/sh", "-c", CALL + command], capture_output=True, text=True, check=True)
        assert '"error"' not in done.stdout, done.stdout
        return done.stdout

    for name in ("dbx", "web"):
        answer(f'call http://127.0.0.1:7700/v1/secrets -d \'{{"name":"{name}","value":"v"}}\'')
    answers = [answer(line) for line in lines]
    assert answers[:4] == ["[]"] * 4
    link = re.search(r"(?mi)^link: <(\?[^>]+)>; rel=\"next\"$", answers[4])
    assert link is not None
    assert '"target":"dbx"' in answers[4]
    assert '"target":"web"' in answer(f"call '{served.url}/v1/audit{link[1]}'")
    assert '"actions":{"secret_set":2}' in answers[5]


def test_every_format_is_listed() -> None:
    """The table of formats has each that an export can have."""
    for name in FORMATS:
        assert f"\n| `{name}` |" in page("trail/export.md"), name


def test_every_filter_is_listed() -> None:
    """The table has each parameter of the list but the cursor, and no other."""
    cells = re.findall(r"^\| (`[^|]*`) \|", page("trail/query.md"), re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert set(named) == AuditQuery.model_fields.keys() - {"cursor"}
