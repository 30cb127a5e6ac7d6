"""What are rows, expressions and statements called where their columns are known only when they are built?

SQLAlchemy's types are generic over the columns and invariant; lists of sorts, filters and columns mix them all.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Row, Select, SQLColumnExpression

AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]
AnyExpression = SQLColumnExpression[Any]
AnyColumn = ColumnElement[Any]
