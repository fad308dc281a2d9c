# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the command line leaves in the home of its user: nothing, but for the cache, which is elsewhere here.

Of the nodes test/nodes/test_up.py asks the same.
"""

import subprocess
import sys

from edge_dnn_partition.testbed import demo_model

VERBS = """
import sys
from edge_dnn_partition.cli.main import main
model, out = sys.argv[1:]
for words in (['inspect', model], ['split', model, '--cut', '1', '--out', out, '--verify'], ['profile', model, '--runs', '1'],
              ['doctor'], ['bench', 'codec', '--quick', '--out', out]):
    main(words)
import onnxruntime
print(onnxruntime.__version__)
"""


def test_no_verb_leaves_anything_in_a_fresh_home(fresh_home, tmp_path):
    words = [sys.executable, '-c', VERBS, str(demo_model.cached('tiny')), str(tmp_path / 'out')]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=100)
    assert done.returncode == 0, done.stderr
    assert sorted(str(path.relative_to(fresh_home)) for path in fresh_home.rglob('*')) == []
