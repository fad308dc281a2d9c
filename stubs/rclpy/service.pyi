# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from typing import Any

class Service:
    srv_type: type
    callback: Callable[[Any, Any], Any]
    def send_response(self, response: Any, header: Any) -> None: ...
