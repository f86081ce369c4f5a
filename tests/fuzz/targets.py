"""Everything that is fuzzed, by name."""

from __future__ import annotations

from tests.fuzz import annotations, command_line, doors, page, pictures, stored, uploads, voc_folders

TARGETS = {
    each.name: each
    for each in (
        *(*pictures.TARGETS, *annotations.TARGETS, *voc_folders.TARGETS, *stored.TARGETS, *uploads.TARGETS),
        *(*doors.TARGETS, *command_line.TARGETS, *page.TARGETS),
    )
}
