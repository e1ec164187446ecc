#!/bin/sh
# Prints what opens the vaults. Before there is any (`python -m infra secrets INVENTORY` makes it),
# something: a syntax check needs no secret.
cat "$(dirname "$0")/.vault-password" 2>/dev/null || echo none
