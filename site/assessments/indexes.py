"""An index that both engines can make."""

from copy import copy
from typing import Any

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement
from django.db.models.expressions import BaseExpression, Combinable, OrderBy

__all__ = ["NullsLastIndex"]


class NullsLastIndex(models.Index):
    """An index in descending order with NULLs at the end.

    SQLite puts them there by itself, and refuses the words NULLS LAST in an index.
    """

    def create_sql(
        self,
        model: type[models.Model],
        schema_editor: BaseDatabaseSchemaEditor,
        using: str = "",
        **kwargs: Any,
    ) -> Statement:
        if schema_editor.connection.vendor != "sqlite":
            return super().create_sql(model, schema_editor, using, **kwargs)
        plain = models.Index(*map(_without_nulls_last, self.expressions), name=self.name)
        return plain.create_sql(model, schema_editor, using, **kwargs)


def _without_nulls_last(expression: BaseExpression | Combinable) -> BaseExpression | Combinable:
    expression = copy(expression)
    if isinstance(expression, OrderBy):
        expression.nulls_last = None  # type: ignore[assignment]
    return expression
