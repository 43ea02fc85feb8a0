"""Whom a signed call stands for: the same person as in Slack, a machine, or nobody."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.callers import Machine, can_both_match, find_caller, find_overlaps, find_owner
from chalicelib.domain.people import Person
from tests.factories import a_person
from tests.strategies import RULE

STS = "arn:aws:sts::123456789012:assumed-role"
IAM = "arn:aws:iam::123456789012"
ALICE = a_person("alice", aws=(f"{STS}/AWSReservedSSO_Dev_*/alice@example.com",))
BOB = a_person("bob", aws=(f"{STS}/Developer/bob", f"{IAM}:user/staff/bob"))
PIPELINE = Machine(person=Person.machine("release-pipeline"), role=f"{IAM}:role/ci/ReleasePipeline")

FIXED = frozenset({"Developer"})


def find(arn: str, *people: Person, machines: tuple[Machine, ...] = (PIPELINE,)) -> Person | None:
    return find_caller(arn, people=people or (ALICE, BOB), machines=machines, fixed_session_names=FIXED)


@pytest.mark.parametrize(
    ("arn", "caller"),
    [
        (f"{STS}/AWSReservedSSO_Dev_0123456789abcdef/alice@example.com", ALICE),
        (f"{STS}/Developer/bob", BOB),
        (f"{IAM}:user/staff/bob", BOB),
        (f"{STS}/ReleasePipeline/GitHubActions", PIPELINE.person),
        (f"{STS}/ReleasePipeline/alice@example.com", PIPELINE.person),
    ],
)
def test_a_listed_principal_is_its_person_or_machine(arn: str, caller: Person) -> None:
    """A person by the name of the session or user, a machine by its role whatever the session is called."""
    assert caller == find(arn)


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "alice",
        f"{STS}/AWSReservedSSO_Dev_0123456789abcdef/bob@example.com",
        f"{STS}/AWSReservedSSO_Ops_0123456789abcdef/alice@example.com",
        f"{STS}/AWSReservedSSO_Dev_0123456789abcdef/ALICE@example.com",
        f"{STS}/AWSReservedSSO_Dev_0123456789abcdef/x/alice@example.com",
        "arn:aws:sts::210987654321:assumed-role/AWSReservedSSO_Dev_0123456789abcdef/alice@example.com",
        "arn:aws-cn:sts::123456789012:assumed-role/AWSReservedSSO_Dev_0123456789abcdef/alice@example.com",
        "arn:aws:sts::123456789012:federated-user/bob",
        f"{STS}/Developer/bob\n",
        f"{IAM}:user/bob",
        f"{IAM}:root",
        f"{IAM}:role/ci/ReleasePipeline",
        f"{STS}/ReleasePipeline/",
        f"{STS}/ReleasePipeline/a/b",
        f"{STS}/ReleasePipelineX/GitHubActions",
        f"{STS}/releasepipeline/GitHubActions",
        "arn:aws:sts::210987654321:assumed-role/ReleasePipeline/GitHubActions",
    ],
)
def test_anybody_else_is_nobody(arn: str) -> None:
    """Another account, role, session, user or kind of principal, and what is no ARN at all."""
    assert find(arn) is None


@pytest.mark.parametrize(
    ("pattern", "arn"),
    [
        (f"{STS}/Operator/alice", f"{STS}/Operator/alice"),
        (f"{STS}/*/alice", f"{STS}/Operator/alice"),
        (f"{STS}/Developer/*", f"{STS}/Developer/alice"),
        (f"{STS}/Developer/alic?", f"{STS}/Developer/alice"),
        (f"{STS}/Developer/[a]lice", f"{STS}/Developer/alice"),
        (f"{STS}/AWSReservedSSO_Dev_*", f"{STS}/AWSReservedSSO_Dev_0123456789abcdef/alice"),
        ("arn:aws:sts::*:assumed-role/Developer/alice", f"{STS}/Developer/alice"),
        ("*/alice", f"{STS}/Developer/alice"),
        (f"{IAM}:user/*", f"{IAM}:user/alice"),
        (f"{IAM}:user/*/alice", f"{IAM}:user/staff/alice"),
    ],
)
def test_a_pattern_that_leaves_the_name_open_owns_tunnels_and_vouches_for_no_caller(pattern: str, arn: str) -> None:
    """Whoever may choose a session's name, or whom an account's wildcard lets in, could call themselves anybody."""
    person = a_person("alice", aws=(pattern,))

    assert person.owns_principal(arn)
    assert find(arn, person) is None


def test_two_answers_are_none() -> None:
    """A catalogue made otherwise than by the loader gives nobody two identities either."""
    twin = a_person("dave", aws=BOB.aws)

    assert find(f"{STS}/Developer/bob", BOB, twin) is None


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (f"{STS}/AWSReservedSSO_*/x@example.com", f"{STS}/AWSReservedSSO_Dev_*/x@example.com", True),
        (f"{STS}/AWSReservedSSO_Ops_*/x@example.com", f"{STS}/AWSReservedSSO_Dev_*/x@example.com", False),
        (f"{STS}/AWSReservedSSO_Dev_*/y@example.com", f"{STS}/AWSReservedSSO_Dev_*/x@example.com", False),
        (f"{STS}/Dev*/xx", f"{STS}/*er/xx", True),
        (f"{STS}/Developer/xx", "arn:aws:sts::210987654321:assumed-role/Developer/xx", False),
        (f"{IAM}:user/x", f"{IAM}:user/x", True),
        (f"{IAM}:user/x", f"{IAM}:user/y", False),
        (f"{STS}/*", f"{STS}/*", False),
    ],
)
def test_people_overlap_where_one_call_could_be_both(one: str, other: str, overlap: bool) -> None:
    """Patterns that vouch for no caller only own tunnels, and may."""
    alice, bob = a_person("alice", aws=(one,)), a_person("bob", aws=(other,))

    assert ([(alice, bob, other)] if overlap else []) == list(find_overlaps([alice, bob]))


@pytest.mark.parametrize(
    "pattern",
    [
        f"{STS}/ReleasePipeline/*",
        f"{STS}/ReleasePipeline/bob",
        "*",
        f"{STS}/Release*/bob",
        f"{STS}/[R]eleasePipeline/b",
    ],
)
def test_a_role_that_a_person_may_tunnel_with_has_an_owner(pattern: str) -> None:
    """Even by a pattern that vouches for no caller: the person plainly has the role."""
    person = a_person("bob", aws=(pattern,))

    assert person == find_owner(PIPELINE, [ALICE, person])
    assert find_owner(PIPELINE, [ALICE]) is None


glob_pieces = st.lists(st.sampled_from(["a", "b", "/", "*", "?"]), max_size=6).map("".join)
texts = st.text(alphabet="ab/", max_size=6)


@RULE
@given(glob_pieces, glob_pieces, texts)
def test_patterns_that_match_the_same_text_can_both_match(one: str, other: str, text: str) -> None:
    """No overlap is missed."""
    if fnmatchcase(text, one) and fnmatchcase(text, other):
        assert can_both_match(one, other)


@RULE
@given(glob_pieces, texts)
def test_a_pattern_and_a_plain_text_can_both_match_if_the_pattern_does(pattern: str, text: str) -> None:
    """And none is invented, whichever comes first."""
    expected = fnmatchcase(text, pattern)

    assert (expected, expected) == (can_both_match(pattern, text), can_both_match(text, pattern))


def test_long_patterns_are_compared_in_time() -> None:
    """A catalogue of many stars does not keep the functions from starting."""
    assert not can_both_match("*a" * 60 + "b", "*a" * 60 + "c")


entries = st.builds(
    "{}{}".format,
    st.sampled_from(
        [f"{STS}/Developer/", f"{STS}/AWSReservedSSO_Dev_*/", f"{STS}/AWSReservedSSO_*/", f"{STS}/*/", f"{IAM}:user/"]
    ),
    st.sampled_from(["alice", "bob", "al*", "*"]),
)
arns = st.builds(
    "{}{}".format,
    st.sampled_from(
        [
            f"{STS}/Developer/",
            f"{STS}/AWSReservedSSO_Dev_1/",
            f"{STS}/AWSReservedSSO_Ops_1/",
            f"{STS}/ReleasePipeline/",
            f"{STS}/Operator/",
            f"{IAM}:user/",
        ]
    ),
    st.sampled_from(["alice", "bob", "carol"]),
)


@RULE
@given(st.lists(entries, max_size=2), st.lists(entries, max_size=2), arns)
def test_no_call_has_two_callers_where_the_catalogue_would_be_taken(one: list[str], other: list[str], arn: str) -> None:
    """What the loader does not refuse never needs the last line of defence."""
    people = [a_person("alice", aws=tuple(one)), a_person("bob", aws=tuple(other))]
    if any(find_overlaps(people)) or find_owner(PIPELINE, people):
        return

    answers = [find(arn, people[0], machines=()), find(arn, people[1], machines=()), find(arn, a_person("carol"))]

    assert sum(answer is not None for answer in answers) <= 1
    assert next((answer for answer in answers if answer), None) == find(arn, *people)
