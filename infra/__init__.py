"""One description of a cluster, the templates of every server's configuration, and the runner
for a cluster on this machine. Knows nothing of Django: the site is a directory and some command
lines in the description. `python -m infra --help` shows what can be done."""
