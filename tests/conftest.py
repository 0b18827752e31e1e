"""A small network, pictures for it, and the command line, for whoever tests from outside."""

import sys

import pytest
from colour_network import COLOURS, colour_graph, plain
from PIL import Image

import bitconv
from bitconv.cli import main


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "colours.h5"
    bitconv.write(colour_graph(), path)
    return str(path)


@pytest.fixture
def pictures(tmp_path):
    """A folder of class folders, each with one picture of its colour."""
    folder = tmp_path / "pictures"
    for colour in COLOURS:
        (folder / colour).mkdir(parents=True)
        Image.fromarray(plain(colour, (20, 30))).save(folder / colour / "picture.png")
    return folder


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the command in this process: exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bitconv", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run
