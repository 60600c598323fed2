"""The record of the addresses of local services, which ``infra/`` writes and commands read."""

from dataclasses import dataclass

from fpenet.core.records import FileRecord


@dataclass(frozen=True, slots=True)
class ServiceAddresses(FileRecord):
    """The URLs of the servers, e.g. ``http://127.0.0.1:5000``."""

    prefect: str
    mlflow: str
    watcher: str
