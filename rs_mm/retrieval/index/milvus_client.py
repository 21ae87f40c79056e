"""The connection to Milvus: it waits for a given time, and tells what went wrong."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from rs_mm.errors import ConfigError

CONNECT = 10  # seconds for a server to take a connection
ANSWER = 60.0  # seconds for a server to answer a request


class MilvusConnection:
    """Asks Milvus; each request has an end, and each failure is one sentence.

    Args:
        target: a file, or ``http://HOST:PORT``.
        uri: what the user wrote, for messages.
        token: ``USER:PASSWORD`` or key of a server.
        timeout: seconds for a request.

    Raises:
        ConfigError: without pymilvus; if the server does not answer, or another process has the
            file.
    """

    def __init__(self, target: str, uri: str, token: str = '', timeout: float = ANSWER) -> None:
        try:
            import pymilvus
        except ImportError as error:
            raise ConfigError(
                'an index milvus://… needs pymilvus: pip install "rs_mm[milvus]".'
            ) from error
        for package in ('pymilvus', 'milvus_lite'):
            # they log a stack beside each error that they raise
            logging.getLogger(package).setLevel(logging.CRITICAL)
        self.uri, self.timeout = uri, timeout
        self.remote = target.startswith('http')
        start, wait = time.monotonic(), min(CONNECT, timeout)
        try:
            self._client = pymilvus.MilvusClient(target, token=token, timeout=wait)
        except Exception as error:  # grpc, the client and the local server each have their own
            raise ConfigError(
                f'{uri} does not answer: {target} was tried for {time.monotonic() - start:.1f} s '
                f'of at most {wait:g} s ({_reason(error)}); is the server running, and is the '
                'address right?'
                if self.remote
                else f'{uri} cannot be opened ({_reason(error)}); does another process have it '
                'open?'
            ) from error

    def ask(self, method: str, *args: Any, **options: Any) -> Any:
        """What a method of ``MilvusClient`` returns.

        Raises:
            ConfigError: if the server does not answer in time, or refuses.
        """
        options['timeout'] = self.timeout
        return self._timed(method, getattr(self._client, method), *args, **options)

    def iterate(self, collection: str, **options: Any) -> Iterator[list[dict]]:
        """Rows of a collection, batch by batch.

        Args:
            collection: its name.
            options: of ``MilvusClient.query_iterator``.

        Raises:
            ConfigError: see :meth:`ask`.
        """
        self.ask('describe_collection', collection)  # the iterator asks so too, without a time
        rows = self.ask('query_iterator', collection, **options)
        try:
            while batch := self._timed('query_iterator', rows.next):
                yield batch
        finally:
            rows.close()

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def _timed(self, name, call, *args, **options):
        start = time.monotonic()
        try:
            return call(*args, **options)
        except Exception as error:
            raise ConfigError(
                f'{self.uri}: "{name}" failed after {time.monotonic() - start:.1f} s of at most '
                f'{self.timeout:g} s ({_reason(error)}); is the server running? A longer time is '
                'given by ?timeout=SECONDS.'
                if self.remote
                else f'{self.uri}: "{name}" failed ({_reason(error)}).'
            ) from error


def _reason(error):
    details = getattr(error, 'details', None)  # of grpc's errors
    text = details() if callable(details) else getattr(error, 'message', None)
    return str(text or error or type(error).__name__).splitlines()[0][:200]
