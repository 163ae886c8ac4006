"""A small safe language that chooses rows of a manifest: `years>40 and glasses!=none`.

Names are columns (`psnr` is `metric_psnr` or `attr_psnr`), values are numbers, words and quoted
strings; `and`, `or`, `not`, `in`, comparisons and brackets join them. The text is parsed, never
evaluated: it may come from a stranger's script.
"""

from __future__ import annotations

import ast
import difflib
import warnings
from typing import Any

_MAX_TEXT = 2000  # characters
_ORDER = {
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
}
_WORDS = {"true": True, "false": False}
_HELP = "write such as: years>40 and glasses!=none"


class ExpressionError(ValueError):
    """An expression that cannot be followed; one line."""


def choose(table: Any, text: str) -> Any:
    """The pyarrow mask of the rows of `table` for which `text` holds.

    A value that a row lacks equals nothing and is neither less nor greater. Raises
    ExpressionError for anything but comparisons of columns with numbers and words.
    """
    try:
        return _Reader(table).mask(_parse(text))
    except RecursionError:
        raise ExpressionError(f"{text[:60]!r}... nests too deeply; {_HELP}") from None


def _parse(text: str) -> ast.expr:
    if not text.strip() or len(text) > _MAX_TEXT:
        raise ExpressionError(f"the expression has {len(text)} characters; use 1 to {_MAX_TEXT}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = getattr(error, "msg", None) or type(error).__name__
        raise ExpressionError(f"cannot read {text[:100]!r} ({reason}); {_HELP}") from None


class _Reader:
    def __init__(self, table: Any) -> None:
        self.table = table

    def mask(self, node: ast.expr) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        if isinstance(node, ast.BoolOp):
            join = pc.and_ if isinstance(node.op, ast.And) else pc.or_
            found = self.mask(node.values[0])
            for value in node.values[1:]:
                found = join(found, self.mask(value))
            return found
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return pc.invert(self.mask(node.operand))
        if isinstance(node, ast.Compare):
            terms = [node.left, *node.comparators]
            found = pa.chunked_array([[True] * self.table.num_rows], pa.bool_())
            for left, operator, right in zip(terms, node.ops, terms[1:], strict=False):
                found = pc.and_(found, self.compare(left, operator, right))
            return found
        name = self.column_name(node)
        if name is not None and pa.types.is_boolean(self.table[name].type):
            return pc.fill_null(self.table[name], False)
        raise ExpressionError(f"{_text(node)!r} is neither true nor false; {_HELP}")

    def compare(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        name = self.column_name(left)
        if name is None:
            flipped = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
            if self.column_name(right) is None:
                raise self.unknown(left)
            return self.compare(right, flipped.get(type(operator), type(operator))(), left)
        column = self.table[name]
        if isinstance(operator, (ast.In, ast.NotIn)):
            if not isinstance(right, (ast.Tuple, ast.List, ast.Set)):
                raise ExpressionError(f"after 'in' comes a list such as (a, b), not {_text(right)}")
            any_of = pa.chunked_array([[False] * len(column)], pa.bool_())
            for item in right.elts:
                any_of = pc.or_(any_of, self.equal(name, item))
            return pc.invert(any_of) if isinstance(operator, ast.NotIn) else any_of
        if isinstance(operator, ast.Eq):
            return self.equal(name, right)
        if isinstance(operator, ast.NotEq):
            return pc.invert(self.equal(name, right))
        if type(operator) not in _ORDER:
            raise ExpressionError(f"{_text(left)}: use < <= > >= == != or in; {_HELP}")
        call = getattr(pc, _ORDER[type(operator)])
        return pc.fill_null(call(column, self.value(name, right)), False)

    def equal(self, name: str, node: ast.expr) -> Any:
        import pyarrow.compute as pc

        return pc.fill_null(pc.equal(self.table[name], self.value(name, node)), False)

    def value(self, name: str, node: ast.expr) -> Any:
        """The constant that `node` is, of the column's type."""
        import pyarrow as pa

        kind = self.table[name].type
        value = _constant(node)
        boolean, text = isinstance(value, bool), isinstance(value, str)
        if pa.types.is_boolean(kind):
            fits, wanted = boolean, "true or false"
        elif pa.types.is_string(kind):
            fits, wanted = text or not boolean, "a word"
            value = value if text else _text(node)
        else:
            fits, wanted = not boolean and not text, "a number"
        if not fits:
            raise ExpressionError(f"column {name} holds {kind}: compare it with {wanted}")
        return pa.scalar(value, kind if not isinstance(value, float) else pa.float64())

    def column_name(self, node: ast.expr) -> str | None:
        if not isinstance(node, ast.Name):
            return None
        for prefix in ("", "metric_", "attr_"):
            if prefix + node.id in self.table.column_names:
                return prefix + node.id
        return None

    def unknown(self, node: ast.expr) -> ExpressionError:
        names = [c.removeprefix("metric_").removeprefix("attr_") for c in self.table.column_names]
        text = _text(node)
        near = difflib.get_close_matches(text, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)[:1500]}"
        return ExpressionError(f"no column {text!r}; {hint}")


def _constant(node: ast.expr) -> bool | int | float | str:
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float, str)):
        if isinstance(node.value, int) and abs(node.value) >= 2**63:
            raise ExpressionError(f"{_text(node)} is too large; numbers have up to 18 digits")
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _constant(node.operand)
        if not isinstance(inner, (bool, str)):
            return -inner
    if isinstance(node, ast.Name):  # a word without quotes
        return _WORDS.get(node.id.lower(), node.id)
    raise ExpressionError(f"{_text(node)!r} is no number, word or quoted string; {_HELP}")


def _text(node: ast.expr) -> str:
    return ast.unparse(node)[:80]
