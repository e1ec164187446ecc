"""Writes how Prometheus answers: over TLS, to who knows the probe's token, of which it has a hash.

`python3 - write` writes the file where it differs, `python3 - check` does not; both then say so.
The hash is the same as long as the token is: its salt comes from it.
"""

import base64
import ctypes
import hashlib
import shutil
import sys
from pathlib import Path

FOLDER = Path("/etc/prometheus")
BCRYPT = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
WEB = """# Written on this host by the role monitoring.
tls_server_config:
  cert_file: /etc/fulcrum/tls/host.crt
  key_file: /etc/fulcrum/tls/host.key
  min_version: TLS12
basic_auth_users:
  fulcrum_site: {hashed}
"""


def bcrypt(password: bytes) -> str:
    """By the system's libcrypt: Python has none."""
    salt = base64.b64encode(hashlib.sha256(b"prometheus" + password).digest()[:16]).decode()
    setting = "$2b$10$" + salt[:22].translate(str.maketrans(BASE64, BCRYPT))
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    made: bytes = library.crypt(password, setting.encode()) or b""
    if not made.startswith(b"$2b$10$"):
        raise SystemExit(f"libcrypt makes no bcrypt here: {made[:4]!r}")
    return made.decode()


def main() -> None:
    token, path = FOLDER / "probe_token", FOLDER / "web.yml"
    wanted = WEB.format(hashed=bcrypt(token.read_bytes().strip())) if token.exists() else ""
    if path.exists() and path.read_text() == wanted:
        return
    print(f"{path} is not as it should be")
    if sys.argv[1] == "write":
        new = path.with_suffix(".new")
        new.touch(mode=0o640)
        shutil.chown(new, "root", "prometheus")
        new.write_text(wanted)
        new.replace(path)


if __name__ == "__main__":
    main()
