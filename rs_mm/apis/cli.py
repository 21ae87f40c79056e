"""What the command-line tools share: errors a user can act on become one line."""

from __future__ import annotations

import os
import re
import sys
import time
import traceback

from rs_mm.errors import RSMMError

_USER_ERRORS = (RSMMError, FileNotFoundError, IsADirectoryError, NotADirectoryError,
                PermissionError)
_ONE_VALUE = 'Expected more than 1 value per channel when training'  # torch's batch norm
_FROM_WORKER = re.compile(r'^Caught \w+ in DataLoader worker process')


def run_cli(main) -> None:
    """Runs ``main()``; an error of the user's ends the process with one line and status 2.

    Any other exception is a defect of the program and keeps its traceback, as does every one when
    the environment variable ``RS_MM_TRACEBACK`` is set.
    """
    try:
        main()
        _end_process_group()
    except KeyboardInterrupt:
        sys.exit('interrupted')
    except Exception as error:
        message = user_message(error)
        if message is None or os.environ.get('RS_MM_TRACEBACK'):
            traceback.print_exc()
            sys.exit(1)
        rank = int(os.environ.get('RANK', 0))
        if rank:
            # most errors meet all processes; rank 0 then says it and the launcher ends this one
            time.sleep(3)
        print(f'error: {message}' + (f' (rank {rank})' if rank else ''), file=sys.stderr)
        sys.stderr.flush()
        # peers may wait in a collective for ever: leave without the usual tidying up
        _leave(2)


def _end_process_group():
    """Ends gloo's threads, which a process that simply exits may be aborted for."""
    if 'torch' in sys.modules:
        import torch.distributed as dist
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


def _leave(status):
    if 'WORLD_SIZE' in os.environ and int(os.environ['WORLD_SIZE']) > 1:
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status)


def user_message(error) -> str | None:
    """The sentence to print for a user's error; None if the exception is a defect instead."""
    from rs_mm.apis.build_errors import explain_build_error
    if isinstance(error, _USER_ERRORS):
        text = str(error)
        if _FROM_WORKER.match(text):  # torch puts the worker's whole traceback in front
            text = text.rstrip().splitlines()[-1].split(': ', 1)[-1]
        return ' '.join(text.split())
    if isinstance(error, ValueError) and str(error).startswith(_ONE_VALUE):
        return ('a batch norm saw a single value per channel, of which it has no variance: raise '
                'train_dataloader.batch_size, or with several processes set sync_bn=torch.')
    return explain_build_error(error)
