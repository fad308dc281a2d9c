# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The doctor's check of what lies between a fleet's sites: certificates, and the router."""

from __future__ import annotations

from collections.abc import Sequence

from edge_dnn_partition.cli.doctor_machine import Check
from edge_dnn_partition.deployment.certificates import check_certificate
from edge_dnn_partition.errors import UserError
from edge_dnn_partition.planning.fleet.fleet import Fleet
from edge_dnn_partition.transport.sites import place
from edge_dnn_partition.transport.zenoh_router import router_settings
from edge_dnn_partition.transport.zenoh_session import open_session, settings


def sites(fleet: Fleet, here: Sequence[str]) -> Check | None:
    """Ask for what devices of this machine need to reach other sites; None if the fleet has one site.

    :param here: the devices that this machine is.
    """
    if fleet.network_kind != 'wan':
        return None
    try:
        for device in here:
            check_certificate(fleet, device)
        where = place(fleet, here[0] if here else '')
        assert where is not None
        found = settings('client', connect=[where.router], tls=where.tls)
        if fleet.network.router_device in here:
            router_settings([fleet])
        session = open_session(found)
    except UserError as error:
        return Check('sites', 'fail', str(error), 'see docs/wide_area.md')
    except Exception as error:  # noqa: BLE001  Zenoh's own
        advice = 'start the box, let its port through its firewall; a certificate must be of this address (keygen --wan)'
        why = ' '.join(str(error).split())[:160]
        return Check('sites', 'warn', f'the router at {fleet.network.router} cannot be reached: {why}', advice)
    session.close()
    return Check('sites', 'ok', f'{where.device} is in {where.site}, and reaches the router at {where.router}')
