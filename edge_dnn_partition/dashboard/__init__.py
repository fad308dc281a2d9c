# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The web dashboard: what a page shows of a fleet or of a report, and the server of that page. Knows nothing of ROS."""
