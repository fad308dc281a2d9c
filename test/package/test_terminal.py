# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Names in files and messages do not steer the terminal."""

import io
import json
import unicodedata

import onnx
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from rich.table import Table

from edge_dnn_partition.cli import main as entry
from edge_dnn_partition.cli.console import PrintableConsole
from edge_dnn_partition.cli.terminal import PrintableStream
from edge_dnn_partition.text import printable

HOSTILE = 'a\x1b]0;title\x07\u202eb\x9b31m'
WRITTEN_OUT = r'a\x1b]0;title\x07\u202eb\x9b31m'


@given(st.text(st.characters()))
def test_what_is_printable_stays_and_nothing_else(text):
    shown = printable(text)
    assert not {unicodedata.category(character) for character in shown if character not in '\n\t'} & {'Cc', 'Cf', 'Cs', 'Zl', 'Zp'}
    assert printable(shown) == shown
    shown.encode()


def test_letters_of_any_script_stay():
    assert printable('Größe 大きさ размер ✓\n\t') == 'Größe 大きさ размер ✓\n\t'
    assert printable(HOSTILE) == WRITTEN_OUT


def test_a_stream_writes_out_what_its_encoding_lacks_as_well():
    raw = io.TextIOWrapper(io.BytesIO(), encoding='ascii')
    PrintableStream(raw).writelines(['ü', '\udcff\x1b'])
    raw.flush()
    assert raw.buffer.getvalue() == rb'\xfc\udcff\x1b'


def test_a_table_keeps_its_own_colours_only():
    console = PrintableConsole(file=io.StringIO(), force_terminal=True, color_system='standard', width=60)
    table = Table()
    table.add_column('name', style='red')
    table.add_row(HOSTILE)
    console.print(table)
    said = console.file.getvalue()
    assert WRITTEN_OUT in said
    assert '\x1b[31m' in said
    assert '\x1b]' not in said


def test_the_command_line_shows_names_of_a_model(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('EDGE_DNN_PARTITION_CACHE', str(tmp_path))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in (HOSTILE, 'y')]
    nodes = [helper.make_node('Softmax', [HOSTILE], ['m'], name=HOSTILE), helper.make_node('Softmax', ['m'], ['y'])]
    path = tmp_path / 'model.onnx'
    onnx.save(helper.make_model(helper.make_graph(nodes, 'g', ends[:1], ends[1:]), ir_version=8), path)
    assert entry.main(['inspect', str(path)]) == 0
    said = capsys.readouterr().out
    assert WRITTEN_OUT in said
    assert '\x1b' not in said
    assert entry.main(['inspect', str(path), '--json']) == 0
    assert json.loads(capsys.readouterr().out)['layers'][0]['name'] == HOSTILE
    assert entry.main(['inspect', f'/nowhere/{HOSTILE}\udcff']) == 2
    assert f'/nowhere/{WRITTEN_OUT}\\udcff' in capsys.readouterr().err
