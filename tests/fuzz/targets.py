"""Everything that is fuzzed, by name."""

from __future__ import annotations

from tests.fuzz import annotations, command_line, page, pictures, stored

TARGETS = {
    each.name: each
    for each in (*pictures.TARGETS, *annotations.TARGETS, *stored.TARGETS, *command_line.TARGETS, *page.TARGETS)
}
