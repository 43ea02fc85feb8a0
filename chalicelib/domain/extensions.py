"""Extensions: a later end for access that somebody holds. Its length counts against the cap of the level. Pure."""

import math
from dataclasses import replace
from datetime import datetime, timedelta

from chalicelib.domain.decisions import Refusal
from chalicelib.domain.durations import describe_duration
from chalicelib.domain.grants import Grant, seconds_left


def seconds_to_extend(grant: Grant, *, cap_seconds: int) -> int:
    """How many seconds more the cap leaves; 0 before the delivery, when nobody knows yet."""
    if grant.delivered_at is None:
        return 0
    return max(0, cap_seconds - math.ceil((grant.ends_at - grant.delivered_at).total_seconds()))


def judge_extension(grant: Grant, *, seconds: int, cap_seconds: int, now: datetime) -> Refusal | None:
    """May this grant be prolonged by so much? None means yes, as far as time is concerned."""
    request_id, left = grant.facts.request_id, seconds_to_extend(grant, cap_seconds=cap_seconds)
    if seconds_left(grant, now) == 0:
        return Refusal(reason=f"{request_id} has ended. Ask again for new access.")
    if grant.delivered_at is None:
        return Refusal(reason=f"{request_id} is not ready yet; its time starts when it is.")
    if left == 0:
        return Refusal(
            reason=f"{request_id} has reached the most there is, {describe_duration(cap_seconds)} in all. "
            "Ask again when it has ended."
        )
    if not 0 < seconds <= left:
        return Refusal(
            reason=f"{request_id} can get at most {describe_duration(left)} more: {describe_duration(cap_seconds)} in all."
        )
    return None


def extended(grant: Grant, *, extension_id: str, seconds: int) -> Grant:
    """The grant with its end moved, once for each extension."""
    if extension_id in grant.extension_ids:
        return grant
    return replace(
        grant,
        ends_at=grant.ends_at + timedelta(seconds=seconds),
        extension_ids=(*grant.extension_ids, extension_id),
    )
