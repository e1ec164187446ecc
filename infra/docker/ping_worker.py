"""Ask this container's Celery worker for an answer, as `celery inspect ping` without the site."""

import json
import socket
import sys
from pathlib import Path

from celery import Celery

WORKER = f"celery@{socket.gethostname()}"
ANSWER_SECONDS = 5

config = json.loads(Path("/var/lib/fulcrum/site.json").read_text())
app = Celery(broker=config["broker"], set_as_current=False)
sys.exit(not app.control.ping(destination=[WORKER], timeout=ANSWER_SECONDS))
