"""What holds for every test: properties keep no database of their own, so that a checkout may be read-only."""

from hypothesis import settings

settings.register_profile("drawbridge", database=None, deadline=None)
settings.load_profile("drawbridge")

pytest_plugins = ["tests.privileges.suite"]
