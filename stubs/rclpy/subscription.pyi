# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
class Subscription:
    topic_name: str
