# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The methods that find the best plan of a problem, exactly where they can."""
