"""Find and load a speech encoder of the library transformers: from a local folder, or from the Hugging Face Hub.

Only JSON and safetensors files are read, and no code of a repository is run. A name of the Hub is resolved to a commit,
which the run's recipe stores.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from kanjo.errors import RecipeError, requires_extra
from kanjo.files import os_error_message

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

CONFIG_FILE, PREPROCESSOR_FILE = "config.json", "preprocessor_config.json"
WEIGHTS_FILE, WEIGHTS_INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
#: Values of ``model_type`` in a configuration, for each way in which kanjo runs an encoder.
CONVOLUTIONAL = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat")
FBANK, WHISPER = ("wav2vec2-bert",), ("whisper",)
MODEL_TYPES = (*CONVOLUTIONAL, *FBANK, *WHISPER)
#: An ONNX graph, with its weights in float32, is one file of at most 2 GB.
MAX_PARAMETERS = 500_000_000
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_NO_REVISION = "main"
#: Names of parameters that a checkpoint may lack, because kanjo does not use them.
_UNUSED_WEIGHTS = ("masked_spec_embed", "encoder.layer_norm.", "decoder.", "adapter.", "intermediate_ffn.")


@dataclass(frozen=True)
class EncoderFiles:
    """The files of an encoder that describe it.

    Attributes:
        source: Name of the Hub, or folder, as in the recipe.
        commit: The commit of the Hub; "" for a folder.
        folder: Where the files are.
        config: Content of config.json.
        preprocessor: Content of preprocessor_config.json; empty if there is none.
    """

    source: str
    commit: str
    folder: Path
    config: dict[str, Any]
    preprocessor: dict[str, Any]

    @property
    def model_type(self) -> str:
        """The family of the model, one of ``MODEL_TYPES``."""
        return str(self.config["model_type"])

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""
        return int(self.preprocessor.get("sampling_rate", 16_000))

    @property
    def n_layers(self) -> int:
        """Number of layers of the encoder."""
        return int(getattr(self.transformers_config(), _layers_key(self.model_type)))

    def transformers_config(self, n_layers: int | None = None) -> PretrainedConfig:
        """The configuration as an object of transformers, with the lowest ``n_layers`` layers only (None: all)."""
        transformers = _import_transformers(self.source)
        try:
            with _quiet():
                config = transformers.AutoConfig.from_pretrained(str(self.folder), trust_remote_code=False)
        except Exception as error:  # transformers raises many kinds of errors for values that it can't use
            raise _source_error(self.source, f"{CONFIG_FILE} can't be used ({_first_line(error)})") from error
        if n_layers is not None:
            setattr(config, _layers_key(self.model_type), n_layers)
        if self.model_type in WHISPER:
            config.decoder_layers = 0
        for name in ("add_adapter", "use_intermediate_ffn_before_adapter"):  # follow after the layers
            if hasattr(config, name):
                setattr(config, name, False)
        return config


def find_encoder(source: str, revision: str | None = None) -> EncoderFiles:
    """Read the configuration of an encoder; from the Hub, two small files are downloaded unless they are cached.

    Args:
        source: Local folder or name of the Hub.
        revision: Commit, tag or branch of the Hub (None: the default branch).

    Raises:
        RecipeError: The source does not exist, can't be downloaded, or is not a supported speech encoder.
    """
    folder, commit = Path(source).expanduser(), ""
    if not folder.is_dir():
        if not _HUB_NAME.fullmatch(source) or source.startswith("."):
            raise _source_error(source, "no such folder; expected a folder, or a name of the Hugging Face Hub")
        config_file = _download(source, revision, CONFIG_FILE)
        folder, commit = config_file.parent, config_file.parent.name
        _download(source, commit, PREPROCESSOR_FILE, optional=True)
    elif revision is not None:
        raise RecipeError(f"model.revision {revision}: {source} is a folder, which has no revisions; set it to null")
    files = EncoderFiles(
        source, commit, folder, _read_json(source, folder / CONFIG_FILE), _read_preprocessor(source, folder)
    )
    if files.config.get("model_type") not in MODEL_TYPES:
        raise _source_error(
            source,
            f"a model of type {files.config.get('model_type')!r}; expected a speech encoder of one of the types "
            f"{', '.join(MODEL_TYPES)}",
        )
    return files


def random_model(files: EncoderFiles, n_layers: int) -> PreTrainedModel:
    """Build the lowest layers of an encoder with random weights."""
    config, transformers = files.transformers_config(n_layers), _import_transformers(files.source)
    try:
        with _quiet():
            model = transformers.AutoModel.from_config(config, attn_implementation="eager", dtype=torch.float32)
    except Exception as error:  # ValueError, KeyError, ZeroDivisionError, ...
        raise _source_error(files.source, f"{CONFIG_FILE} can't be used ({_first_line(error)})") from error
    return model.eval()


def pretrained_model(files: EncoderFiles, n_layers: int) -> PreTrainedModel:
    """Load the lowest layers of an encoder with their weights, which are downloaded first if needed.

    Raises:
        RecipeError: The weights are missing, pickled, damaged, or another model's.
    """
    source = files.source
    if files.commit:
        _download_weights(source, files.commit)
    if not any((files.folder / name).is_file() for name in (WEIGHTS_FILE, WEIGHTS_INDEX_FILE)):
        raise _no_safetensors(source, any(files.folder.glob("*.bin")))
    config, transformers = files.transformers_config(n_layers), _import_transformers(source)
    try:
        with _quiet():
            model, loading = transformers.AutoModel.from_pretrained(
                str(files.folder),
                config=config,
                attn_implementation="eager",
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # OSError, safetensors' own error, RuntimeError for other shapes
        raise _source_error(source, f"the weights can't be read ({_first_line(error)})") from error
    missing = sorted(name for name in loading["missing_keys"] if not _is_unused(name))
    if missing:
        raise _source_error(source, f"the weights lack {missing[0]} and {len(missing) - 1} others; expected a model of "
                            f"type {files.model_type}")  # fmt: skip
    return model.eval()


def _layers_key(model_type: str) -> str:
    return "encoder_layers" if model_type in WHISPER else "num_hidden_layers"


def _is_unused(name: str) -> bool:
    return any(name.startswith(prefix) or f".{prefix}" in name for prefix in _UNUSED_WEIGHTS)


def _download_weights(source: str, commit: str) -> None:
    """Download the file of weights, or all files that its index names."""
    if _download(source, commit, WEIGHTS_FILE, optional=True):
        return
    index = _download(source, commit, WEIGHTS_INDEX_FILE, optional=True)
    if index is None:
        raise _no_safetensors(source, True)
    for name in sorted(set(_read_json(source, index).get("weight_map", {}).values())):
        _download(source, commit, name)


def _download(source: str, revision: str | None, name: str, *, optional: bool = False) -> Any:
    """Return the cached copy of a file of the Hub, which is downloaded first if needed; None if it does not exist.

    Raises:
        RecipeError: The file can't be downloaded; or it does not exist and is not ``optional``.
    """
    _import_transformers(source)
    import huggingface_hub
    from huggingface_hub import errors

    at = f" at revision {revision}" if revision else ""
    with _quiet():
        try:
            return Path(huggingface_hub.hf_hub_download(source, name, revision=revision))
        except errors.GatedRepoError as error:
            raise _source_error(
                source,
                f"access is restricted; accept its conditions at https://huggingface.co/{source}, then log in (hf auth "
                "login)",
            ) from error
        except errors.RepositoryNotFoundError as error:
            raise _source_error(
                source,
                "neither a folder nor a public name of the Hugging Face Hub; check the spelling, or log in (hf auth "
                "login) if it is private",
            ) from error
        except errors.RevisionNotFoundError as error:
            raise RecipeError(f"model.revision {revision}: {source} has no such commit, tag or branch") from error
        except errors.LocalEntryNotFoundError as error:
            cached = huggingface_hub.try_to_load_from_cache(source, name, revision=revision or _NO_REVISION)
            if optional and cached is huggingface_hub._CACHED_NO_EXIST:
                return None
            raise _source_error(
                source,
                f"no such folder, and {name}{at} of the Hugging Face Hub is neither cached nor can it be downloaded "
                f"({_network_reason(error)}); connect to the network once, or set model.source to a folder",
            ) from error
        except errors.EntryNotFoundError as error:
            if optional:
                return None
            raise _source_error(source, f"has no {name}{at}; expected a model of transformers") from error
        except Exception as error:  # disk full, proxy, HTTP errors of the server
            raise _source_error(source, f"{name}{at} can't be downloaded ({_first_line(error)})") from error


def _network_reason(error: BaseException) -> str:
    """The cause of an error, in a few words."""
    cause = error.__cause__ or error
    return "HF_HUB_OFFLINE is set" if type(cause).__name__ == "OfflineModeIsEnabled" else _first_line(cause)


def _no_safetensors(source: str, pickled: bool) -> RecipeError:
    found = "only pickled weights, which may run code" if pickled else "no weights"
    return _source_error(
        source,
        f"{found}; expected {WEIGHTS_FILE}: use a revision that has it, or convert the model with save_pretrained of "
        "transformers and give the folder",
    )


def _read_preprocessor(source: str, folder: Path) -> dict[str, Any]:
    path = folder / PREPROCESSOR_FILE
    return _read_json(source, path) if path.is_file() else {}


def _read_json(source: str, path: Path) -> dict[str, Any]:
    """Read a JSON file of an encoder.

    Raises:
        RecipeError: The file can't be read, or is not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _source_error(source, f"{path.name}: {os_error_message(error)}; expected a model of transformers, as "
                            "save_pretrained writes it") from error  # fmt: skip
    except ValueError as error:
        raise _source_error(source, f"{path.name} is not a JSON file") from error
    if not isinstance(content, dict):
        raise _source_error(source, f"{path.name} holds {type(content).__name__}; expected a JSON object")
    return content


def _source_error(source: str, problem: str) -> RecipeError:
    return RecipeError(f"model.source {source}: {problem}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _import_transformers(source: str) -> Any:
    """Import transformers.

    Raises:
        KanjoError: It is not installed.
    """
    with requires_extra("hub", f"model.source {source} needs the package transformers"):
        import transformers
    return transformers


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what transformers and huggingface_hub log and draw; what matters is raised as an error."""
    from huggingface_hub import utils as hub
    from transformers.utils import logging as transformers

    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    bars, hub_bars = transformers.is_progress_bar_enabled(), not hub.are_progress_bars_disabled()
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        transformers.disable_progress_bar()
        hub.disable_progress_bars()
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            transformers.enable_progress_bar()
        if hub_bars:
            hub.enable_progress_bars()
