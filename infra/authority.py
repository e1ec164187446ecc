"""The cluster's own certificate authority. Hosts keep their keys; only requests come here."""

__all__ = ["Authority", "names_of"]

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra.errors import ClusterError
from infra.schema import Description, database_of

AUTHORITY_LIFE = timedelta(days=3650)
HOST_LIFE = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)
"""A host's certificate that ends sooner is made anew."""
CLOCKS_DIFFER = timedelta(hours=1)


@dataclass(frozen=True, repr=False)
class Authority:
    """PEM texts. `key` signs, `certificate` is its own; `trusted` has others that hosts trust too.

    A change of authority takes three runs of the playbook, so that at no moment a host meets a
    certificate that it does not trust: `prepared` (the next one is trusted), `promoted` (it signs),
    `settled` (the old one is forgotten).
    """

    certificate: str
    key: str
    trusted: tuple[str, ...] = ()
    next_key: str = ""

    @classmethod
    def make(cls, cluster: str) -> "Authority":
        """A new one, for ten years."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(_self_signed(key, cluster), _key_pem(key))

    @property
    def bundle(self) -> str:
        """ca.crt: every authority that hosts trust."""
        return "".join([self.certificate, *self.trusted])

    def prepared(self, cluster: str) -> "Authority":
        """With a next authority that is trusted and does not sign yet."""
        if self.trusted:
            raise ClusterError(
                "A change of authority is under way: go on with `promote`, `settle`."
            )
        following = Authority.make(cluster)
        return replace(self, trusted=(following.certificate,), next_key=following.key)

    def promoted(self) -> "Authority":
        """With the next authority signing, and the old one still trusted."""
        if not self.next_key:
            raise ClusterError("There is no next authority: begin with `prepare`.")
        return Authority(self.trusted[0], self.next_key, (self.certificate,))

    def settled(self) -> "Authority":
        """With no authority trusted but the one that signs."""
        if self.next_key:
            raise ClusterError("The next authority does not sign yet: `promote` first.")
        return replace(self, trusted=())

    def sign(self, csr: str, host: str, names: list[str]) -> str:
        """A certificate for the key in `csr`. The names are ours to say, not the request's."""
        request = x509.load_pem_x509_csr(csr.encode())
        if not request.is_signature_valid:
            raise ClusterError(f"The certificate request of {host} is damaged: run the play again.")
        issuer = x509.load_pem_x509_certificate(self.certificate.encode())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            _builder(_name(host), issuer.subject, HOST_LIFE)
            .public_key(request.public_key())
            .add_extension(_alternatives(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_identifier(request.public_key()), critical=False)
            .add_extension(_issued_by(issuer), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        )
        signed = builder.sign(_load_key(self.key), hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()

    def renewed(self, csr: str, current: str, host: str, names: list[str]) -> str:
        """`current` while it is still right, a new certificate otherwise."""
        return current if self._holds(csr, current, names) else self.sign(csr, host, names)

    def _holds(self, csr: str, current: str, names: list[str]) -> bool:
        """Same key, same names, of this authority, and not near its end."""
        try:
            certificate = x509.load_pem_x509_certificate(current.encode())
            mine = x509.load_pem_x509_certificate(self.certificate.encode())
            certificate.verify_directly_issued_by(mine)
            alternatives = certificate.extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            )
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False
        request = x509.load_pem_x509_csr(csr.encode())
        return (
            certificate.public_key() == request.public_key()
            and alternatives.value == _alternatives(names)
            and certificate.not_valid_after_utc - RENEW_BEFORE > datetime.now(UTC)
        )


def names_of(d: Description, host: str) -> list[str]:
    """What `host` answers to: its name and address, its databases, on a balancer the site."""
    names = {host, d.addresses[host], "localhost", "127.0.0.1"}
    names |= {database_of(d.replicas.get(alias, alias)) for alias in d.databases_on(host)}
    if any(balancer.host == host for balancer in d.balancers):
        names |= {urlsplit(d.site.public_url).hostname or host, *d.site.allowed_hosts}
    return sorted(names)


def _self_signed(key: ec.EllipticCurvePrivateKey, cluster: str) -> str:
    name = _name(f"Fulcrum {cluster} {x509.random_serial_number():x}"[:60])
    builder = (
        _builder(name, name, AUTHORITY_LIFE)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_identifier(key.public_key()), critical=False)
        .add_extension(_signs_certificates(), critical=True)
    )
    signed = builder.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def _identifier(key: CertificatePublicKeyTypes) -> x509.SubjectKeyIdentifier:
    """Python's ssl, from 3.13 on, refuses certificates without it."""
    return x509.SubjectKeyIdentifier.from_public_key(key)


def _issued_by(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    found = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)


def _signs_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(subject: x509.Name, issuer: x509.Name, life: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + life)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternatives(names: list[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general(name) for name in sorted(names)])


def _general(name: str) -> x509.GeneralName:
    if name.replace(".", "").isdigit():
        return x509.IPAddress(IPv4Address(name))
    return x509.DNSName(name)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, kind, serialization.NoEncryption()).decode()


def _load_key(pem: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "made by Authority.make"  # noqa: S101
    return key
