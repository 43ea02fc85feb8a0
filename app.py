"""The Chalice app: the Slack route, the API's, and the list of functions to deploy."""

from chalice.app import Chalice

from chalicelib.functions import api, slack
from chalicelib.settings import is_on_lambda

# Chalice would raise the level of the logger of this name, which is ours, to ERROR.
app = Chalice(app_name="drawbridge", configure_logs=False)
app.register_blueprint(slack.blueprint)
app.register_blueprint(api.blueprint)

if not is_on_lambda():
    from click import ClickException, get_current_context

    command = get_current_context(silent=True)
    if command and command.info_name == "deploy":
        raise ClickException(
            "`chalice deploy` would put functions on AWS without their workflow, ledger and dependencies. Nothing was done. "
            "Run: make deploy STAGE=prod LOCATIONS=your-catalogue.toml"
        )
    # Each of these is deployed with its own module as its handler, so a function loads only what it needs. Here, in the
    # function that owes Slack an answer within three seconds, they would load psycopg.
    from chalicelib.functions import conversation, database, workflow

    for module in (workflow, conversation, database):
        app.register_blueprint(module.blueprint)
