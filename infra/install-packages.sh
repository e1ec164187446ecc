#!/bin/sh
# Installs Debian packages (the arguments) and keeps them from starting a service or making a
# PostgreSQL cluster of Debian's own. As root; may be killed and run again.
set -eu
policy=/usr/sbin/policy-rc.d
mark='left by fulcrum: no service starts while it installs packages'
clusters=/etc/postgresql-common/createcluster.conf

if [ ! -e "$policy" ] || grep -q "$mark" "$policy"; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
    chmod 755 "$policy"
fi
if [ ! -e "$clusters" ]; then
    mkdir -p "${clusters%/*}"
    echo 'create_main_cluster = false' >"$clusters"
fi
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
apt-get -q -o DPkg::Lock::Timeout=300 update
apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install "$@"
