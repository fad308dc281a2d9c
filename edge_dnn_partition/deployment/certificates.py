# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Certificates for a fleet of several sites: a CA of its own, and one for each device, which names fleet and device."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_dnn_partition.errors import PlanError, UserError
from edge_dnn_partition.transport.sites import common_name

if TYPE_CHECKING:
    from edge_dnn_partition.planning.fleet.fleet import Fleet

ROUTER: Final = 'router'
"""Stands for a device in the names of the router's files, where it runs on none."""
_YEARS: Final = 10
_DAY: Final = dt.timedelta(days=1)


def make_certificates(fleet: Fleet, devices: Iterable[str] = ()) -> list[Path]:
    """Write what is missing of the files that the fleet file names, and return what was written.

    The CA's key lies beside its certificate as ``.key``; who has it can let others in. Files that are there stay.

    :param devices: beside those that the file names.
    :raises PlanError: if the file names none, or one certificate for all.
    :raises UserError: if the package cryptography is not installed, or a file cannot be written.
    """
    network = fleet.network
    if network.tls is None or network.router is None:
        raise PlanError(
            'network names no certificates; write tls: '
            "{ca: keys/ca.pem, certificate: 'keys/{device}.pem', key: 'keys/{device}.key'}"
        )
    names = list(dict.fromkeys([*fleet.devices, *devices, *(() if network.router_device else (ROUTER,))]))
    if len(names) > 1 and network.tls.of('a').certificate == network.tls.of('b').certificate:
        raise PlanError("network.tls.certificate is the same for all; write {device} in its name: 'keys/{device}.pem'")
    host = network.router.partition('/')[2].rpartition(':')[0].strip('[]')
    written: list[Path] = []
    ca = _authority(fleet, network.tls.ca, written)
    for name in names:
        tls = network.tls.of(name)
        if tls.certificate.exists() and tls.key.exists():
            check_certificate(fleet, name)
        else:
            serves = name in (network.router_device, ROUTER)
            _issue(ca, common_name(fleet.fleet, name), tls.certificate, tls.key, host if serves else '', written)
    return written


def check_certificate(fleet: Fleet, device: str) -> None:
    """Check whom a device's certificate names; nothing to check where there are none.

    :raises PlanError: if it is not there, or names somebody else.
    """
    if fleet.network.tls is None:
        return
    path, expected = fleet.network.tls.of(device).certificate, common_name(fleet.fleet, device)
    x509, _, _ = _cryptography()
    from cryptography.x509.oid import NameOID

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PlanError(f'network.tls.certificate: {path} is no certificate ({error}); make one with keygen --wan') from error
    names = [entry.value for entry in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if expected not in names:
        advice = 'write {fleet} into its name where fleets share a folder, or remove it to have another made'
        raise PlanError(f'network.tls.certificate: {path} is of {" ".join(map(str, names))}, not of {expected}; {advice}')


def _authority(fleet: Fleet, path: Path, written: list[Path]) -> tuple[Any, Any]:
    """Return the CA's certificate and key, which are made if they are not there."""
    x509, ec, serialization = _cryptography()
    key_path = path.with_suffix('.key')
    if path.exists():
        try:
            return (
                x509.load_pem_x509_certificate(path.read_bytes()),
                serialization.load_pem_private_key(key_path.read_bytes(), password=None),
            )
        except (OSError, ValueError) as error:
            raise PlanError(f'network.tls.ca: {path} is there, but {key_path} makes no certificates with it: {error}') from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f'{fleet.fleet.replace("/", ".")} CA')
    signs = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = _built(name, name, key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    certificate = certificate.add_extension(signs, critical=True)
    return _keep(certificate, key, key, path, key_path, written), key


def _issue(ca: tuple[Any, Any], name: str, path: Path, key_path: Path, host: str, written: list[Path]) -> None:
    """Write a certificate and its key.

    :param host: of one that others connect to: the address that they do so by.
    """
    x509, ec, _ = _cryptography()
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _built(_name(name), ca[0].subject, key.public_key())
    certificate = certificate.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if host:
        uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
        try:
            address = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            address = x509.DNSName(host)
        certificate = certificate.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    certificate = certificate.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    _keep(certificate, key, ca[1], path, key_path, written)


def _built(subject: Any, issuer: Any, public: Any) -> Any:
    x509, _, _ = _cryptography()
    now = dt.datetime.now(dt.timezone.utc)
    built = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    built = built.serial_number(x509.random_serial_number())
    return built.not_valid_before(now - _DAY).not_valid_after(now + _YEARS * 365 * _DAY)


def _name(common: str) -> Any:
    x509, _, _ = _cryptography()
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _keep(certificate: Any, key: Any, signer: Any, path: Path, key_path: Path, written: list[Path]) -> Any:
    from cryptography.hazmat.primitives import hashes

    _, _, serialization = _cryptography()
    signed = certificate.sign(signer, hashes.SHA256())
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        for folder in {path.parent, key_path.parent}:
            folder.mkdir(parents=True, exist_ok=True)
        with open(os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'wb') as file:
            file.write(key.private_bytes(*plain))
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise UserError(f'{error.filename}: {error.strerror}') from error
    written += [path, key_path]
    return signed


def _cryptography() -> tuple[Any, Any, Any]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise UserError('certificates need the package cryptography: pip install "edge-dnn-partition[wan]"') from error
    return x509, ec, serialization
