"""Real hosts on this machine: Debian 13 with systemd and sshd, each with an address of its own."""
