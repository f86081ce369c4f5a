"""Models on the Hugging Face Hub: "hf:USER/NAME", or "hf:USER/NAME@REVISION" for a branch, a tag or a commit.

Only `pinned` and `upload` use the network. All other functions look at the Hub's cache on this machine.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import NamedTuple

from ..errors import DownloadError, UsageError, WeightsError, shown

PREFIX = "hf:"
FILE = "model.safetensors"  # the only file that is read: our checkpoint, which cannot hold code
_NAME = re.compile(r"hf:(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)(@(?P<revision>[\w][\w./-]*))?", re.ASCII)
_LONGEST = 200  # characters; the Hub's own limit is 96 for USER/NAME
_COMMIT = re.compile("[0-9a-f]{40}")
_SHA256 = re.compile("[0-9a-f]{64}")


class Place(NamedTuple):
    """A repository of the Hub, USER/NAME, and a revision in it; None: the newest of its main branch."""

    repo: str
    revision: str | None

    @property
    def is_commit(self) -> bool:
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None


def is_hub(name: str) -> bool:
    """Whether `name` is that of a model on the Hub."""
    return name.startswith(PREFIX)


def place_of(name: str) -> Place:
    """Parse "hf:USER/NAME@REVISION". Raises UsageError for another form."""
    found = _NAME.fullmatch(name)
    if found is None or ".." in name or len(name) > _LONGEST:  # ".." would lead out of the cache
        raise UsageError(f"expected hf:USER/NAME or hf:USER/NAME@REVISION, got {shown(name)}")
    return Place(found["repo"], found["revision"])


def pinned(name: str, *, offline: bool = False) -> str:
    """Download the model unless it is in the cache. Returns "hf:USER/NAME@COMMIT", which always means the same weights.

    offline: use only the cache; so does the environment variable HF_HUB_OFFLINE=1.
    Raises UsageError for a name of another form and without the package huggingface_hub, WeightsError if the model is
    not in the cache when offline, DownloadError if the Hub does not give it.
    """
    repo, revision = place = _checked_place(name)
    if place.is_commit and cached(name).is_file():
        return name
    from huggingface_hub import errors, hf_hub_download

    try:
        path = Path(hf_hub_download(repo, FILE, revision=revision, local_files_only=offline))
    except (errors.HTTPError, errors.EntryNotFoundError, OSError) as error:
        raise _refusal(name, place, error, offline or is_offline()) from error
    return f"{PREFIX}{repo}@{path.parent.name}"


def _refusal(name: str, place: Place, error: Exception, offline: bool) -> DownloadError | WeightsError:
    """Return what to tell the user of a failed download."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError):
        if not isinstance(error.__cause__, errors.HfHubHTTPError):
            why = "nothing may be downloaded" if offline else "the Hub cannot be reached; try again"
            return WeightsError(f"{name} is not on this machine, and {why}")
        error = error.__cause__
    repo, revision = place
    if isinstance(error, errors.GatedRepoError):
        return DownloadError(f"the owner of {repo} lets only some people in; ask there, then: hf auth login")
    if isinstance(error, errors.RepositoryNotFoundError) or _status(error) == 401:
        return DownloadError(
            f"the Hub knows no model {repo}, or does not show it to you; check the name, or log in: hf auth login"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return DownloadError(f"{repo} has no revision {revision!r}; name a branch, a tag or a commit")
    if isinstance(error, errors.EntryNotFoundError):
        return DownloadError(f"{repo} holds no {FILE}; segcore reads only what save_pretrained has written")
    return DownloadError(f"{name} could not be downloaded: {_line(error)}; try again", _status(error))


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def cached(name: str) -> Path:
    """Return the path of a model in the Hub's cache on this machine, whether it is there or not. It uses no network.

    Raises UsageError for a name of another form and without the package huggingface_hub.
    """
    repo, revision = _checked_place(name)
    from huggingface_hub import constants, try_to_load_from_cache

    path = try_to_load_from_cache(repo, FILE, revision=revision)
    if isinstance(path, str):
        return Path(path)
    folder = f"models--{repo.replace('/', '--')}"
    return Path(constants.HF_HUB_CACHE, folder, "snapshots", revision or "main", FILE)


def expected_sha256(path: Path) -> str:
    """Return the SHA-256 that a file of the cache must have, 64 hex digits; "" if the Hub did not give it.

    The cache calls each file by the Hub's ETag, which is the SHA-256 for files in LFS.
    """
    name = path.resolve().name
    return name if _SHA256.fullmatch(name) else ""


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids downloads from the Hub."""
    from huggingface_hub import constants

    return constants.is_offline_mode()


def upload(folder: Path, repo: str, *, private: bool = False) -> str:
    """Upload the files of a folder to USER/NAME, which is made if it does not exist. Returns "hf:USER/NAME@COMMIT".

    Raises UsageError for a name of another form, when offline, and without the package huggingface_hub, DownloadError
    if the Hub refuses.
    """
    _checked_place(f"{PREFIX}{repo}")
    from huggingface_hub import HfApi, errors

    if is_offline():
        raise UsageError("HF_HUB_OFFLINE is set, so nothing is uploaded; unset it")
    try:
        api = HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Upload a model of segcore")
    except (errors.HTTPError, OSError, RuntimeError) as error:  # RuntimeError: of a large file's upload
        raise DownloadError(
            f"{repo} could not be uploaded: {_line(error)}; log in with a token that may write: hf auth login"
        ) from error
    return f"{PREFIX}{repo}@{commit.oid}"


def _checked_place(name: str) -> Place:
    """Parse a name, and let the Hub's library check it. Raises UsageError for a wrong name, or without that library."""
    place = place_of(name)
    _prepare_library()
    from huggingface_hub import errors, utils

    try:
        utils.validate_repo_id(place.repo)
    except errors.HFValidationError as error:
        raise UsageError(
            f"{shown(name)} is no name of a model on the Hub: USER and NAME are letters, digits, '-', '_' and '.', "
            "begin and end with a letter, a digit or '_', and have no '--' or '..'; together at most 96 characters"
        ) from error
    return place


def _prepare_library() -> None:
    """Check that huggingface_hub is installed, and turn off its telemetry: segcore promises not to report its use."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise UsageError("the Hub needs a package that is not installed here: pip install huggingface_hub")
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_TELEMETRY = True


def _line(error: Exception) -> str:
    """Return the first paragraph of an error's message, in one line."""
    return " ".join(str(error).strip().split("\n\n")[0].split()) or type(error).__name__
