"""The story of `make demo`, with time enough for a busy machine."""

from local.story import Story
from local.workspace import Workspace

SECONDS = {"ACCESS": 25}


def test_the_whole_story_is_played(workspace: Workspace) -> None:
    """Ask, self-approval refused, approval, tunnel, query, end, refusal and receipt, bastion stopped."""
    told: list[str] = []
    story = Story(workspace, told.append)

    story.play()

    steps = [
        "asked",
        "approval pressed",
        "delivered",
        "tunnel open",
        "query answered",
        "receipt",
        "refused",
        "bastion stopped",
    ]
    assert steps == list(story.marks)
    assert "cannot decide your own request" in "\n".join(told)
    assert "UPDATE 3" in "\n".join(told)
