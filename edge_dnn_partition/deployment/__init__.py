# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The processes of a fleet: which there are, how DDS is set up for each, and that every one of them ends."""
