"""What somebody needs who does this for the first time: what to install once, and what the usual errors mean."""

from collections.abc import Iterator

from chalicelib.domain.connections import MINIMUM_PLUGIN_VERSION, ConnectionDetails
from chalicelib.slack.blocks import Block, View, bold, code, context, modal, preformatted, section

_BUNDLE_ADDRESS = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
_PLUGIN_ADDRESS = "https://s3.amazonaws.com/session-manager-downloads/plugin/latest"


def first_time_modal(*, connection: ConnectionDetails) -> View:
    """Everything to install once, and what the usual errors mean."""
    request_id = connection.facts.request_id
    return modal(
        "First time here",
        section("Install these once, in this order. Skip what you have."),
        *_install_lines(),
        *_sign_in_lines(),
        *_bundle_lines(connection.certificate_bundle),
        *_trouble_lines(connection),
        context(request_id),
        callback_id="first_time",
        request_id=request_id,
    )


def _install_lines() -> Iterator[Block]:
    # AWS's file names: the machine as `uname -m` says it for the CLI, 64bit or arm64 for the plugin.
    zipped_cli = "https://awscli.amazonaws.com/awscli-exe-linux-$(uname -m).zip"
    packaged_plugin = (
        f"{_PLUGIN_ADDRESS}/ubuntu_$(dpkg --print-architecture | sed s/amd64/64bit/)/session-manager-plugin.deb"
    )
    yield section("*1. The AWS CLI*, version 2")
    yield preformatted("brew install awscli", label="macOS")
    yield preformatted(
        f'curl -fsSo awscliv2.zip "{zipped_cli}" && unzip -q awscliv2.zip && sudo ./aws/install', label="Debian, Ubuntu"
    )
    yield preformatted("winget install -e --id Amazon.AWSCLI", label="Windows")
    yield section(
        f"*2. AWS's Session Manager plugin*, {MINIMUM_PLUGIN_VERSION} or newer;"
        f" {code('session-manager-plugin --version')} tells which one you have"
    )
    yield preformatted("brew install --cask session-manager-plugin", label="macOS")
    yield preformatted(
        f'curl -fsSO "{packaged_plugin}" && sudo dpkg -i session-manager-plugin.deb', label="Debian, Ubuntu"
    )
    yield preformatted("winget install -e --id Amazon.SessionManagerPlugin", label="Windows")
    yield section("*3. psql*, PostgreSQL's own client")
    yield preformatted("brew install libpq && brew link --force libpq", label="macOS")
    yield preformatted("sudo apt-get install -y postgresql-client", label="Debian, Ubuntu")
    yield preformatted(
        "winget install -e --id PostgreSQL.PostgreSQL.17", label="Windows (then add its bin folder to your PATH)"
    )


def _sign_in_lines() -> Iterator[Block]:
    yield section(
        f"*4. Sign in to AWS.* With a named profile, add {code('--profile NAME')} here"
        f" and to each {code('aws')} line, or set {code('AWS_PROFILE')}"
    )
    yield preformatted("aws configure sso", label="Once")
    yield preformatted("aws sso login", label="Each day")


def _bundle_lines(path: str) -> Iterator[Block]:
    download = f'-fsS --create-dirs -o "{path}" {_BUNDLE_ADDRESS}'
    yield section("*5. Amazon's certificates*, saved where the psql line looks for them")
    yield preformatted(f"curl {download}", label="macOS, Linux")
    # In Windows PowerShell, plain `curl` is another program; curl.exe comes with Windows.
    yield preformatted(f"curl.exe {download}", label="PowerShell")


def _trouble_lines(connection: ConnectionDetails) -> Iterator[Block]:
    port = connection.port
    yield section(
        "*AccessDenied*: the policy DrawbridgeUser is not attached to the AWS role that you signed in with."
        " Ask the people who manage AWS access to attach it."
    )
    yield section(
        "*TargetNotConnected*: you are signed in to another AWS account than"
        f" {bold(connection.facts.location)} lives in, or the bastion is just coming up."
        " Look at the account that this line prints; if it is the right one, open the tunnel again in a minute."
    )
    yield preformatted("aws sts get-caller-identity")
    yield section(
        f"*address already in use*: something on your machine holds port {port}, mostly an earlier tunnel."
        " End it with Ctrl-C in its terminal. These lines show what it is:"
    )
    yield preformatted(f"lsof -nP -iTCP:{port} -sTCP:LISTEN", label="macOS, Linux")
    yield preformatted(f"Get-Process -Id (Get-NetTCPConnection -LocalPort {port}).OwningProcess", label="PowerShell")
    yield section(
        "*The tunnel closed by itself*: Session Manager ends a tunnel through which nothing goes for a while."
        " Open it again with the same line as long as your access lasts."
    )
