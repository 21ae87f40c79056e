"""The main function of the command-line tools, which prints errors of the user as one line."""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
import time
import traceback
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from rs_mm.errors import MissingFileError, RSMMError
from rs_mm.launch.lost_processes import (
    explain_system_error,
    explain_waiting,
    explain_worker,
    lost_peer,
    waited_for_peer,
)

_USER_ERRORS = (
    RSMMError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
_ONE_VALUE = 'Expected more than 1 value per channel when training'  # torch's batch norm
_FROM_WORKER = re.compile(r'^Caught \w+ in DataLoader worker process')


def run_cli(main: Callable[[], Any], args: Namespace | None = None) -> None:
    """Runs ``main()``; a user's error ends the process with one line and status 2.

    Any other exception is a defect of the program and keeps its traceback. With the environment
    variable ``RS_MM_TRACEBACK``, all exceptions keep it.

    Args:
        main: the work; its imports take seconds.
        args: options of the command. Its ``config`` and ``checkpoint`` must exist; this is checked
            before the work begins.
    """
    try:
        _check_files(args)
        main()
    except KeyboardInterrupt:
        sys.exit('interrupted')
    except SystemExit as ended:  # a run that was told to end, and saved its state
        if not isinstance(ended.code, int):
            raise
        _leave(ended.code)
    except Exception as error:
        message = user_message(error)
        if message is None or os.environ.get('RS_MM_TRACEBACK'):
            traceback.print_exc()
            sys.exit(1)
        rank = int(os.environ.get('RANK', 0))
        if rank and lost_peer(error):
            _leave(2)  # the lost process has printed the reason, or rank 0 reports that it is lost
        if rank:
            # most errors occur in all processes; rank 0 prints the error and the launcher ends this
            # one
            time.sleep(3)
        print(f'error: {RSMMError(message)}' + (f' (rank {rank})' if rank else ''), file=sys.stderr)
        sys.stderr.flush()
        # other processes may wait in a collective for ever
        _leave(2)
    else:
        _leave(0)


def _check_files(args):
    from rs_mm.launch.config_files import find_config

    config, checkpoint = getattr(args, 'config', None), getattr(args, 'checkpoint', None)
    if isinstance(config, str):
        find_config(config)
    if isinstance(checkpoint, str) and ':' not in checkpoint and not os.path.exists(checkpoint):
        raise MissingFileError(f'there is no checkpoint {checkpoint}.')


def _leave(status):
    """Ends one of several processes without the usual clean-up.

    In the clean-up, gloo's threads sometimes abort a process whose work is done.
    """
    if status:
        for worker in multiprocessing.active_children():
            worker.kill()  # the process would wait for a stopped worker for ever
    if int(os.environ.get('WORLD_SIZE', 1)) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    if status:
        sys.exit(status)


def user_message(error: Exception) -> str | None:
    """Returns the sentence to print for a user's error; None if the exception is a defect."""
    if isinstance(error, _USER_ERRORS):
        text = str(error)
        if _FROM_WORKER.match(text):  # torch puts the worker's whole traceback in front
            text = text.rstrip().splitlines()[-1].split(': ', 1)[-1]
        return ' '.join(text.split())
    if lost_peer(error):
        return (
            'another process of this job has ended, or the connection to it was lost; if it '
            'says nothing above, it was killed, for example by lack of memory.'
        )
    if waited_for_peer(error):
        return explain_waiting(error)
    if sentence := explain_worker(error) or explain_system_error(error):
        return sentence
    if isinstance(error, ValueError) and str(error).startswith(_ONE_VALUE):
        return (
            'a batch norm saw a single value per channel, of which it has no variance: raise '
            'train_dataloader.batch_size, or with several processes set sync_bn=torch.'
        )
    from rs_mm.build_errors import explain_build_error  # imports torch, for rare errors

    return explain_build_error(error)
