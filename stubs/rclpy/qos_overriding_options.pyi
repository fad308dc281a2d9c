# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
class InvalidQosOverridesError(Exception): ...

class QoSOverridingOptions:
    @classmethod
    def with_default_policies(cls) -> QoSOverridingOptions: ...
