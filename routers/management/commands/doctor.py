"""`manage.py doctor [PATH …]` finds in code what goes wrong over shards and behind a pooler."""

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routers.doctor.rules import RULES, Finding, examine, own_code


class Command(BaseCommand):
    help = "Finds in the project's code what goes wrong over shards and behind a pooler."
    requires_system_checks = []  # among which is this one

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "paths", nargs="*", type=Path, help="files and folders (default: the project's apps)"
        )
        parser.add_argument("--json", action="store_true", help="for a program")
        parser.add_argument("--rules", action="store_true", help="what is looked for")
        parser.add_argument("--strict", action="store_true", help="fail on hints too")

    def handle(self, *args: Any, paths: list[Path], **options: Any) -> None:
        if options["rules"]:
            self._explain()
            return
        try:
            findings = examine(paths or own_code())
        except OSError as error:
            raise CommandError(str(error)) from error
        self._show(findings, as_json=options["json"])
        if any(options["strict"] or found.level == "warning" for found in findings):
            sys.exit(1)

    def _show(self, findings: list[Finding], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps([found.as_dict() for found in findings]))
            return
        for found in findings:
            self.stdout.write(f"{found.path}:{found.line}: {found.level} {found.rule}")
            self.stdout.write(f"    {found.problem}\n    Cure: {found.cure}")
        hints = sum(found.level == "hint" for found in findings)
        self.stdout.write(f"{len(findings) - hints} warnings, {hints} hints.")

    def _explain(self) -> None:
        for name, rule in RULES.items():
            level = "hint" if rule.hint else "warning"
            self.stdout.write(f"{name} {level}: {rule.problem.format(what='…')}\n    {rule.cure}")
