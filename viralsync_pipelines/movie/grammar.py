"""The language between `{{` and `}}`: which text is an expression at all, and where expressions stand in a string.

What belongs here: tokens, the checked syntax tree, cutting a string into literal text and expressions.
What does not: values and meaning (expressions.py), documents (templates.py).
"""

from __future__ import annotations

import ast
import keyword
import re
from dataclasses import dataclass
from functools import lru_cache

from viralsync_pipelines.errors import ViralsyncError

MAX_SOURCE = 2_000
MAX_TOKENS = 600
MAX_BRACKETS = 40
MAX_DEPTH = 60
MAX_QUOTED = 80
MAX_HOLES = 2_000

# Only short sources are kept parsed: 1,024 trees of 200 characters stay under 30 MB, long hostile ones would not.
CACHED_SOURCE = 200

# Python's reserved words are good names for variables and layers; they travel through Python's parser with this prefix,
# which users cannot write themselves.
SHIELD = "__"

NOT_AVAILABLE = "only arithmetic, comparisons, 'a if c else b', indexing and the listed functions are available"


class ExpressionError(ViralsyncError):
    """An expression that cannot be read or computed; the message is a sentence that quotes it."""

    code = "EXPRESSION_ERROR"


@dataclass(frozen=True)
class Hole:
    """One `{{ source }}` in a string."""

    source: str


@dataclass(frozen=True)
class Parsed:
    """A checked tree, and the names it reads (not the functions it calls), in order of appearance."""

    tree: ast.expr
    names: tuple[str, ...]


_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    |(?P<name>[^\W\d]\w*)
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<sign>//|<=|>=|==|!=|[-+*/%()\[\],.:<>])""",
    re.VERBOSE | re.DOTALL,
)
_FOREIGN = re.compile(r"\*\*|&&|\|\||===|!==|!(?!=)|\?|=(?!=)|[{}`\"']|:=")
_REMEDIES = {
    "**": "powers are not available; multiply instead",
    "&&": "write 'and' for '&&'",
    "||": "write 'or' for '||'",
    "===": "write '==' for '==='",
    "!==": "write '!=' for '!=='",
    "!": "write 'not' for '!'",
    "?": "write 'a if condition else b' for '?:'",
    "=": "nothing can be assigned here; compare with '=='",
    ":=": "nothing can be assigned here; compare with '=='",
    "{": "braces have no meaning inside an expression",
    "}": "braces have no meaning inside an expression",
    "`": "put text in '...' or \"...\"",
    '"': "a quote is opened and not closed",
    "'": "a quote is opened and not closed",
}
LITERALS = {"true": "True", "false": "False", "null": "None", "True": "True", "False": "False", "None": "None"}
WORDS = frozenset({"and", "or", "not", "in", "if", "else"})
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "t": "\t", "r": "\r", "/": "/"}

_NODES: tuple[type[ast.AST], ...] = (
    *(ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Compare, ast.Call, ast.Constant, ast.Attribute, ast.Subscript),
    *(ast.Name, ast.List, ast.Slice, ast.Load, ast.boolop, ast.operator, ast.unaryop, ast.cmpop),
)


def faulty(source: str, sentence: str) -> ExpressionError:
    """The error for `source`, quoted up to MAX_QUOTED characters."""
    quoted = " ".join(source[: 2 * MAX_QUOTED].split())
    if len(quoted) > MAX_QUOTED:
        quoted = quoted[: MAX_QUOTED - 3] + "..."
    message = f"{{{{ {quoted} }}}}: {sentence}"
    # JSON may smuggle in half a surrogate pair, which no reply could be encoded with.
    return ExpressionError(message.encode("utf-8", "backslashreplace").decode())


def parse(source: str) -> Parsed:
    """The checked tree of an expression. Raises ExpressionError. Time is bounded by MAX_SOURCE, whatever the text."""
    if len(source) > MAX_SOURCE:
        raise faulty(source, f"an expression may have {MAX_SOURCE:,} characters, this one has {len(source):,}; split it up")
    return _parse_kept(source) if len(source) <= CACHED_SOURCE else _parse(source)


def _parse(source: str) -> Parsed:
    plain = _respell(source)
    try:
        tree = ast.parse(plain, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise faulty(source, "this is no expression; check operators, commas and brackets") from None
    names: dict[str, None] = {}
    called: set[int] = set()
    waiting: list[tuple[ast.AST, int]] = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise faulty(source, f"this is nested more than {MAX_DEPTH} deep; split it up with variables")
        if not isinstance(node, _NODES):
            raise faulty(source, NOT_AVAILABLE)
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.keywords:
                raise faulty(source, "only the listed functions can be called, as in min(a, b)")
            called.add(id(node.func))
        elif isinstance(node, ast.Name) and id(node) not in called:
            names[node.id.removeprefix(SHIELD)] = None
        # Children in reverse, so that names come out in reading order.
        waiting.extend((child, depth + 1) for child in reversed(list(ast.iter_child_nodes(node))))
    return Parsed(tree, tuple(names))


_parse_kept = lru_cache(maxsize=1024)(_parse)


def _respell(source: str) -> str:
    """The same expression in Python's spelling, token by token: nothing reaches Python's parser that is not listed above."""
    out: list[str] = []
    at = brackets = 0
    while at < len(source):
        foreign = _FOREIGN.match(source, at)
        token = _TOKEN.match(source, at)
        if token is None or (foreign is not None and token.lastgroup != "text"):
            sign = foreign.group() if foreign else source[at]
            raise faulty(source, _REMEDIES.get(sign, f"the character {sign!r} has no meaning here"))
        at = token.end()
        text = token.group()
        if token.lastgroup == "space":
            continue
        if token.lastgroup == "text":
            text = repr(_unescape(text[1:-1], source))
        elif token.lastgroup == "name":
            text = _word(text, after_dot=bool(out) and out[-1] == ".", source=source)
        elif text in "([":
            brackets += 1
        elif text in ")]":
            brackets -= 1
        if brackets > MAX_BRACKETS or len(out) >= MAX_TOKENS:
            raise faulty(source, "this is too long or too deeply nested; split it up with variables")
        out.append(text)
    if not out:
        raise faulty(source, "there is nothing to compute; write a variable's name or remove the braces")
    return " ".join(out)


def _word(text: str, *, after_dot: bool, source: str) -> str:
    if text.startswith(SHIELD):
        raise faulty(source, f"names that start with '{SHIELD}' are not available")
    if not after_dot and text in LITERALS:
        return LITERALS[text]
    if not after_dot and text in WORDS:
        return text
    return SHIELD + text if keyword.iskeyword(text) else text


def _unescape(body: str, source: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        if match[2] not in _ESCAPES:
            raise faulty(source, f"'\\{match[2]}' is no escape; write a backslash as '\\\\'")
        return _ESCAPES[match[2]]

    return _ESCAPE.sub(one, body) if "\\" in body else body


_OPEN = re.compile(r"\\\{\{|\{\{")
_INSIDE = re.compile(r"""\}\}|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|["']""", re.DOTALL)


def split(text: str) -> tuple[str | Hole, ...]:
    r"""Literal text and expressions of a string, in order; no empty text. `\{{` stands for two literal braces.

    Raises ExpressionError when a `{{` is never closed.
    """
    return _split_kept(text) if len(text) <= CACHED_SOURCE else _split(text)


def _split(text: str) -> tuple[str | Hole, ...]:
    if text.count("{{") > MAX_HOLES:
        raise faulty(text, f"a string may have {MAX_HOLES:,} pairs of braces; split it up")
    parts: list[str | Hole] = []
    literal: list[str] = []
    at = 0
    while opening := _OPEN.search(text, at):
        literal.append(text[at : opening.start()])
        if opening.group() == "\\{{":
            literal.append("{{")
            at = opening.end()
            continue
        at = _closing(text, opening.end())
        if any(literal):
            parts.append("".join(literal))
        literal = []
        parts.append(Hole(text[opening.end() : at - 2].strip()))
    literal.append(text[at:])
    if any(literal):
        parts.append("".join(literal))
    return tuple(parts)


_split_kept = lru_cache(maxsize=1024)(_split)


def _closing(text: str, at: int) -> int:
    """Where the `}}` that closes the expression ends; braces inside quotes do not count."""
    for token in _INSIDE.finditer(text, at):
        if token.group() == "}}":
            return token.end()
        if len(token.group()) == 1:
            raise faulty(text[at:], "a quote is opened and not closed before '}}'")
    raise faulty(text[at:], "'{{' is not closed; add '}}', or write '\\{{' for literal braces")
