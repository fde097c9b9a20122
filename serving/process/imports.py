"""The template of workers imports this before they are forked from it; nobody else may, as it changes the process."""

import gc
import signal

import serving.process.worker as _worker

# Signals for the whole group reach the template too. They wait for ever here, and in a worker until it takes them.
signal.pthread_sigmask(signal.SIG_BLOCK, _worker.SIGNALS)
gc.collect()
gc.freeze()  # no collector touches what processes share
