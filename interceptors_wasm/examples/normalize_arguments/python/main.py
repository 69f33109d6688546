"""normalize_arguments: brings the arguments of tool calls into one form, so that policies need to know one form only.

Configuration (`[interceptor.config]`):

    on_failure  "deny" (default) or "keep": what happens to an argument that cannot be brought into its form. The
                agent is told what it has to be; or it stays as it is
    known       table of glob = list of names: the arguments that these tools know. Others are taken out. Default: {}
    rules       list of tables, applied in order. Default: none
      argument     string, required: the name of an argument, or a JSON pointer ("/filter/name"; "/paths/*": each one)
      tools        list of globs over "server/tool". Default ["*"]
      formerly     list of names that the argument once had. It gets its name of today; two at once are refused
      default      any value for an argument that is absent. Default: none
      drop_null    bool, default false: where the argument is null it is taken out (before `default`)
      steps        list of steps, applied in order to texts:
                     "strip_invisible", "trim", "collapse_whitespace", "nfc", "nfkc", "lower", "upper",
                     "path", "hostname", "email", "date_time", "integer", "number", "boolean"
                   The last seven refuse what is no such thing; the first seven leave what is no text
      root         absolute path: with the step "path", relative paths begin there, and none may lead out of it. Links
                   of the file system are not known here
      min, max     numbers: a number beyond is set to them

Every reply has the annotation `normalized_arguments` (Set<String>): the `argument` of each rule that changed something.
What no rule names is left as it is, byte for byte. The binding has to say `may_transform = true`.
"""
# ruff: noqa: INP001

from fnmatch import fnmatchcase

import forms
from forms import RefusedError

from pdp import Array, Object, deny, interceptor, passed, read, transform, write

# A step on a text gives a text. A typed step gives JSON text, and leaves what has the JSON type already.
TEXT_STEPS = {
    "strip_invisible": forms.strip_invisible,
    "trim": str.strip,
    "collapse_whitespace": forms.collapse_whitespace,
    "nfc": forms.nfc,
    "nfkc": forms.nfkc,
    "lower": str.lower,
    "upper": str.upper,
}
STRICT_STEPS = {"path": forms.path, "hostname": forms.hostname, "email": forms.email, "date_time": forms.date_time}
TYPED_STEPS = {
    "integer": (forms.integer, int),
    "number": (forms.number, (int, float)),
    "boolean": (forms.boolean, bool),
}
STEPS = {**TEXT_STEPS, **STRICT_STEPS, **TYPED_STEPS}
RULE_KEYS = ("argument", "tools", "formerly", "default", "drop_null", "steps", "root", "min", "max")
MAX_RULES = 500
MAX_DEPTH = 16
_NONE = object()


# ---- configuration


class Rule:
    """One entry of `rules`, checked."""

    def __init__(self, table, where):
        _known_keys(table, where, RULE_KEYS)
        self.argument = _get(table, "argument", where, _is_pointer, "the name of an argument or a JSON pointer")
        self.pointer = _split(self.argument)
        self.tools = _get(table, "tools", where, _is_texts, "a list of texts", ["*"])
        self.formerly = _get(table, "formerly", where, _is_texts, "a list of texts", [])
        self.default = write(table["default"]) if "default" in table else None
        self.drop_null = _get(table, "drop_null", where, _is_bool, "true or false", False)
        self.steps = _get(table, "steps", where, _is_steps, "a list of " + ", ".join(STEPS), [])
        self.root = _get(table, "root", where, _is_root, "an absolute path without `.`, `..` and doubled slashes", None)
        self.min = _get(table, "min", where, _is_number, "a number", None)
        self.max = _get(table, "max", where, _is_number, "a number", None)
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"config: `{where}.min` is more than `{where}.max`")
        if self.pointer[-1] == "*" and (self.formerly or self.default is not None):
            raise ValueError(f"config: `{where}.argument` ends with `*`, which can have no `formerly` and no `default`")


def configure(config):
    """`(rules, known, keeps failures)`."""
    _known_keys(config, "", ["on_failure", "known", "rules"])
    on_failure = _get(config, "on_failure", "", ("deny", "keep").__contains__, '"deny" or "keep"', "deny")
    known = _get(config, "known", "", _is_known, "a table of lists of texts", {})
    tables = _get(config, "rules", "", _is_tables, f"a list of up to {MAX_RULES} tables", [])
    rules = [Rule(table, f"rules[{i}]") for i, table in enumerate(tables)]
    return rules, known, on_failure == "keep"


def _known_keys(table, where, keys):
    for key in table:
        if key not in keys:
            raise ValueError(f"config: unknown key `{where + '.' if where else ''}{key}`")


def _get(table, key, where, valid, expects, fallback=_NONE):
    value = table.get(key, fallback)
    if value is _NONE or (value is not fallback and not valid(value)):
        raise ValueError(f"config: `{where + '.' if where else ''}{key}` must be {expects}")
    return value


def _is_texts(value):
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_bool(value):
    return isinstance(value, bool)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_pointer(value):
    return isinstance(value, str) and value not in ("", "/") and len(_split(value)) <= MAX_DEPTH


def _is_steps(value):
    return _is_texts(value) and all(step in STEPS for step in value)


def _is_root(value):
    return isinstance(value, str) and value.startswith("/") and forms.path(value) == value


def _is_known(value):
    return isinstance(value, dict) and all(_is_texts(names) for names in value.values())


def _is_tables(value):
    return isinstance(value, list) and len(value) <= MAX_RULES and all(isinstance(item, dict) for item in value)


def _split(argument):
    if not argument.startswith("/"):
        return [argument]
    return [part.replace("~1", "/").replace("~0", "~") for part in argument[1:].split("/")]


# ---- the hook


def normalize(call, settings):
    """Apply all rules for the tool."""
    rules, known, keeps = settings
    tool = f"{call.server}/{call.tool}"
    text = call.arguments_json
    changed = set()
    for rule in rules:
        if not any(fnmatchcase(tool, glob) for glob in rule.tools):
            continue
        try:
            new = apply(rule, text, rule.pointer)
        except RefusedError as refused:
            if keeps:
                continue
            return deny(f"`{rule.argument}` {refused}", annotations=_stated(changed))
        if new != text:
            changed.add(rule.argument)
            text = new
    text = drop_unknown(text, tool, known)
    if text == call.arguments_json:
        return passed(annotations=_stated(changed))
    return transform(text, annotations=_stated(changed))


def _stated(changed):
    return {"normalized_arguments": sorted(changed)}


def drop_unknown(text, tool, known):
    """The arguments that some list for the tool names; all where there is no list."""
    lists = [names for glob, names in known.items() if fnmatchcase(tool, glob)]
    arguments = Object(text)
    unknown = [name for name in arguments if lists and not any(name in names for names in lists)]
    for name in unknown:
        del arguments[name]
    return arguments.text() if unknown else text


def apply(rule, text, pointer):
    """The JSON text with the rule applied to what the pointer leads to; one that leads nowhere changes nothing."""
    first, rest = pointer[0], pointer[1:]
    if text[0] == "{":
        members = Object(text)
        before = dict(members)
        names = list(members) if first == "*" else [first]
        for name in names:
            if rest:
                if name in members:
                    members[name] = apply(rule, members[name], rest)
            else:
                apply_to_member(rule, members, name)
        return text if list(members.items()) == list(before.items()) else members.text()
    if text[0] == "[":
        elements = Array(text)
        before = list(elements)
        for i in range(len(elements)):
            if first == "*" or first == str(i):
                elements[i] = apply(rule, elements[i], rest) if rest else apply_to_value(rule, elements[i])
        return text if elements == before else elements.text()
    return text


def apply_to_member(rule, members, name):
    """Rename, take out, fill in and change one member of `members`."""
    for old in rule.formerly:
        if old in members and old != name:
            if name in members:
                raise RefusedError(f"was called `{old}` before: give one of them")
            members.rename(old, name)
    if rule.drop_null and members.get(name) == "null":
        del members[name]
    if name not in members and rule.default is not None:
        members[name] = rule.default
    if name in members:
        members[name] = apply_to_value(rule, members[name])


def apply_to_value(rule, text):
    """The JSON text of one value after all steps and bounds. What is null stays null."""
    for step in rule.steps:
        if text != "null":
            text = apply_step(step, rule, text)
    return clamp(text, rule.min, rule.max)


def apply_step(step, rule, text):
    is_text = text.startswith('"')
    if step in TYPED_STEPS:
        form, kind = TYPED_STEPS[step]
        if is_text:
            return form(read(text))
        value = None if text[0] in "{[" else read(text)
        is_other_kind = isinstance(value, bool) and kind is not bool  # to Python `True` is an int, too
        return text if isinstance(value, kind) and not is_other_kind else form("")  # which refuses
    if not is_text:
        if step in STRICT_STEPS:
            raise RefusedError("must be text")
        return text
    old = read(text)
    new = forms.path(old, rule.root) if step == "path" else STEPS[step](old)
    return text if new == old else write(new)


def clamp(text, least, most):
    """A number within its bounds; all else as it is."""
    if text[0] not in "-0123456789":
        return text
    value = read(text)
    if least is not None and value < least:
        return write(least)
    if most is not None and value > most:
        return write(most)
    return text


WitWorld = interceptor(name="normalize-arguments", version="1.0.0", configure=configure, on_request=normalize)

forms.hostname("\u00e4.example")  # loads the codec `punycode` now: nothing can be imported in a call
