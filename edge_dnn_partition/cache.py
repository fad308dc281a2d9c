# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Where prepared models, stages, profiles and plans are kept between runs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_root() -> Path:
    """Return ``$EDGE_DNN_PARTITION_CACHE``, else ``$XDG_CACHE_HOME/edge_dnn_partition``, else ``~/.cache/edge_dnn_partition``."""
    own = os.environ.get('EDGE_DNN_PARTITION_CACHE')
    if own:
        return Path(own)
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'edge_dnn_partition'


def cache_dir(*parts: str) -> Path:
    """Return a folder of the cache, see `cache_root`; it is made if it is missing."""
    folder = cache_root().joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'wb') as stream:
            stream.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
