"""The SQL of one scope, and of nothing beyond it.

A query is filtered by account from its start, its joins stay within the account, and wherever it
becomes SQL, alone or as a part of any other query, it must be of the scope in force.
"""

from typing import Any

from django.db import models
from django.db.models.expressions import Col, ResolvedOuterRef
from django.db.models.fields.related import ForeignObjectRel
from django.db.models.lookups import Exact
from django.db.models.sql import Query
from django.db.models.sql.datastructures import Join
from django.db.models.sql.where import AND

from routers.conf import CATALOG
from routers.context import Scope, current_scope
from routers.exceptions import AccountNotSet, CrossAccount
from routers.guards import refuse_elsewhere, refuse_foreign_instance
from routers.placement import is_sharded

__all__ = ["AccountQuery", "JoinedQuery", "refuse_other_scope"]


class AccountJoin(Join):
    """A join that, between two sharded tables, also says that both rows are of one account."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        sql, params = super().as_sql(compiler, connection)
        field: Any = getattr(self.join_field, "field", self.join_field)
        if not (is_sharded(field.model) and is_sharded(field.related_model)):
            return sql, params
        quote, column = compiler.quote_name_unless_alias, connection.ops.quote_name("account_id")
        same = f"{quote(self.table_alias)}.{column} = {quote(self.parent_alias)}.{column}"
        return f"{sql.removesuffix(')')} AND {same})", params


class JoinedQuery(Query):
    """A query whose joins never go from a reference row back into the rows of every account."""

    join_class = AccountJoin

    def join(self, join: Any, reuse: Any = None) -> str:
        """Raises CrossAccount for the way back, which has a name even where it is hidden: "+"."""
        back = getattr(join, "join_field", None)
        if isinstance(back, ForeignObjectRel) and not is_sharded(back.model):
            target: Any = back.related_model
            if is_sharded(target):
                raise CrossAccount(
                    f"{back.model._meta.label} leads back into {target._meta.label} of every "
                    f"account. Begin with {target._meta.label}, inside the account."
                )
        alias: str = super().join(join, reuse)
        return alias


class AccountQuery(JoinedQuery):
    """A query on a sharded model. `scope` is None until it is bound."""

    scope: Scope | None = None
    tied = False  # to the account of the row outside, as the subquery of an exclude() is

    def bind(self, scope: Scope) -> None:
        """Make it a query of that scope."""
        self.scope = scope
        if scope.account_id is not None and not self.tied:
            self.where.add(_belongs_to(self.model, self.get_initial_alias(), scope.account_id), AND)

    def get_compiler(
        self, using: str | None = None, connection: Any = None, elide_empty: bool = True
    ) -> Any:
        """Every way to SQL leads through here: the whole query, a subquery, a part of a union.

        Raises AccountNotSet, CrossAccount for a query of another scope than the one in force, and
        RoutingError on a shard that is not the scope's.
        """
        now = current_scope()
        query = self if self.scope is not None else _bound(self, now)
        if query.scope is None:
            raise AccountNotSet(self.model._meta.label)  # type: ignore[union-attr]
        refuse_other_scope(self.model, query.scope, now or query.scope)
        alias = using or connection.alias
        if alias != CATALOG:  # which has no such table: print(query) writes its SQL for it
            refuse_elsewhere(self.model._meta.label, alias, query.scope.alias())  # type: ignore[union-attr]
        return Query.get_compiler(query, using, connection, elide_empty)

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """As a part of another query. Raises CrossAccount where that is of another scope."""
        outer = getattr(compiler.query, "scope", None)
        if outer is None:
            return super().as_sql(compiler, connection)
        query = _bound(self, outer)
        refuse_other_scope(self.model, query.scope, outer)
        return Query.as_sql(query, compiler, connection)

    def check_query_object_type(self, value: Any, opts: Any, field: Any) -> None:
        """Django's check of a value that is looked for; raises CrossAccount for another's row."""
        super().check_query_object_type(value, opts, field)
        if self.scope is not None and isinstance(value, models.Model):
            refuse_foreign_instance(self.scope, value)

    def trim_start(self, names_with_path: Any) -> tuple[str, bool]:
        """Ties the subquery of an `exclude` over a to-many relation to the account outside it."""
        prefix, has_outer_join = super().trim_start(names_with_path)
        start: Any = self.select[0]
        if is_sharded(start.target.model):
            path = prefix.rpartition("__")[0]
            outer = ResolvedOuterRef(f"{path}__account_id" if path else "account_id")
            self.where.add(_belongs_to(start.target.model, start.alias, outer), AND)
            self.tied = True
        return prefix, has_outer_join


class Belongs(Exact):
    """account_id = 7, which is part of every query: made and written without Django's detours."""

    contains_aggregate = False
    contains_over_clause = False

    def __init__(self, column: Any, account: Any) -> None:
        self.lhs, self.rhs, self.bilateral_transforms = column, account, []

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        if not (isinstance(self.rhs, int) and isinstance(self.lhs, Col)):
            return super().as_sql(compiler, connection)  # tied to the outside, or moved there
        return f'{compiler.quote_name_unless_alias(self.lhs.alias)}."account_id" = %s', [self.rhs]


def _belongs_to(model: Any, alias: str | None, account: Any) -> Belongs:
    field: Any = model._meta.get_field("account_id")
    return Belongs(field.get_col(alias), account)


def _bound(query: AccountQuery, scope: Scope | None) -> AccountQuery:
    """The query itself, or where it is not bound yet, one that is."""
    if scope is None or query.scope is not None:
        return query
    clone: AccountQuery = query.clone()  # type: ignore[assignment]
    clone.bind(scope)
    return clone


def refuse_other_scope(model: Any, one: Scope | None, other: Scope | None) -> None:
    """Raise CrossAccount where two parts of a query are of different scopes."""
    if one != other:
        raise CrossAccount(
            f"{model._meta.label}: a query begun for {one} cannot be run, or be combined with "
            f"another, for {other}. Begin both inside the `with` block where they are run."
        )
