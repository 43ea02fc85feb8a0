"""The fake API of these tests answers as the real one does; tests/e2e/test_client.py asks that one the same."""

import boto3
import pytest

from drawbridge.api import Api
from tests.drawbridge.api_contract import ApiContract
from tests.drawbridge.fake_api import FakeApi
from tests.drawbridge_network.world import KEY, REGION, SECRET


class TestFakeApi(ApiContract):
    """As alice."""

    @pytest.fixture
    def api(self, api: FakeApi) -> Api:
        session = boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=REGION)
        return Api(api.address, session=session)
