"""Loops in x86 assembly (AT&T syntax), as a compiler writes it or as objdump does, and in listed aarch64 assembly."""

import re
import subprocess
from dataclasses import dataclass

_LABEL = re.compile(r"^([.\w$]+):")
_LISTED = re.compile(r"^\s*([0-9a-f]+):\t(\S+)\s*(.*)$")
_MULTIPLY_ADD = re.compile(r"vfn?m(add|sub)\d+p[sd]|fml[as]")
_VECTOR = re.compile(r"%[xyz]mm\d+|\b[qdsv]\d+\b")
_JUMP = re.compile(r"j\w+|b(\.\w+)?|[ct]bn?z")
# Where %rbp points to the stack, too, functions that keep vectors there align it and use %rsp.
_ON_STACK = re.compile(r"\(%rsp\b|\[sp\b")


@dataclass(frozen=True)
class Instruction:
    """One line: ``target`` is the number of the instruction to which it jumps, if it is in the function."""

    name: str
    operands: str
    target: int | None = None

    def multiplies(self, register):
        """Whether this multiplies and adds vectors of a kind: %xmm, %ymm, %zmm; .4s, .2d."""
        return bool(_MULTIPLY_ADD.fullmatch(self.name)) and register in self.operands

    def streams(self):
        """Whether this writes a vector past the caches."""
        return "movnt" in self.name

    def spills(self):
        """Whether this moves a vector to or from the stack."""
        return bool(_VECTOR.search(self.operands) and _ON_STACK.search(self.operands))


def compiled_functions(assembly):
    """Name -> instructions of every function in a compiler's output."""
    found, name = {}, None
    for line in assembly.splitlines():
        text = line.split("#")[0].strip()
        label = _LABEL.match(text)
        if label and not label[1].startswith((".L", "L")):
            name = label[1].removeprefix("_")
            found[name] = []
        elif name is not None and text and (label or not text.startswith(".")):
            found[name].append(label[1] if label else text.split(None, 1))
    return {name: _resolved(lines) for name, lines in found.items()}


def listed_functions(path, objdump="objdump"):
    """Name -> instructions of every function in an object file."""
    command = [objdump, "-d", "--no-show-raw-insn", path]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {}
    for block in listing.split("\n\n"):
        head, *lines = block.strip().splitlines() or [""]
        title = re.match(r"^[0-9a-f]+ <(.+)>:$", head)
        if title is None:
            continue
        resolved = []
        for line in filter(None, map(_LISTED.match, lines)):
            resolved += [line[1], [line[2], line[3].split(" <")[0]]]
        found[title[1]] = _resolved(resolved)
    return found


def _resolved(lines):
    """Instructions of lines that are labels (strings) or [name, operands]."""
    labels, instructions = {}, []
    for line in lines:
        if isinstance(line, str):
            labels[line] = len(instructions)
        else:
            instructions.append([*line, ""][:2])
    return [
        Instruction(name, operands, labels.get(operands.rsplit(" ", 1)[-1]) if _JUMP.fullmatch(name) else None)
        for name, operands in instructions
    ]


def innermost_loops(instructions):
    """The instructions of every loop without a loop in it."""
    spans = [(line.target, at) for at, line in enumerate(instructions) if line.target is not None and line.target <= at]
    innermost = {span for span in spans if not any(_within(other, span) for other in spans)}
    return [instructions[begin : end + 1] for begin, end in sorted(innermost)]


def _within(inner, outer):
    return inner != outer and outer[0] <= inner[0] and inner[1] <= outer[1]
