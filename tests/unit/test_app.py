"""The Chalice app: what importing it does to the rest of the process."""

import logging

import app
from chalicelib.observability import logger


def test_the_functions_may_log_what_they_do() -> None:
    """Chalice leaves the level of our logger alone."""
    assert app.app.app_name == logger.service
    assert logging.INFO == logging.getLogger(logger.name).level
