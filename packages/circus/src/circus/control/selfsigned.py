"""Makes circusd's own certificate: ``python -m circus.control.selfsigned FILE NAME [HOST...]``.

A process of its own, which ends right after: what it imports (the extra `tls`) is larger than circusd may be.
"""

from __future__ import annotations

import datetime
import ipaddress
import sys
from pathlib import Path

from circus.engine import files

#: Clients know it by its fingerprint, not by its age.
VALID_DAYS = 3650


def make(name: str, hosts: list[str]) -> bytes:
    """A key and its certificate, in PEM. Raises: ImportError without the extra."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"circusd {name}"[:64])])
    now = datetime.datetime.now(datetime.UTC)
    alternatives: list[x509.GeneralName] = []
    for host in dict.fromkeys(["localhost", "127.0.0.1", "::1", *hosts]):
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            alternatives.append(x509.DNSName(host.encode("idna").decode("ascii")))
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    ) | {"digital_signature": True, "key_cert_sign": True, "encipher_only": False, "decipher_only": False}
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        # It vouches for itself and for nobody else.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret + built.public_bytes(serialization.Encoding.PEM)


def main(arguments: list[str]) -> None:
    path, name, *hosts = arguments
    try:
        files.replace_whole(Path(path), make(name, hosts))
    except ImportError as error:
        sys.exit(f"{error}")
    except (OSError, ValueError) as error:
        sys.exit(f"{path}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
