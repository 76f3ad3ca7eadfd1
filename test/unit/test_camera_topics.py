"""Which topic each camera is on."""

import pytest

from salus_ros.nodes.camera_topics import chosen_topics

CAMERAS = ("front", "wrist")


def test_topics_are_chosen_by_camera():
    assert chosen_topics("", CAMERAS) == {}
    text = " front = /zed/rgb/image,wrist=/rs/color/image_raw, "
    expected = {"front": "/zed/rgb/image", "wrist": "/rs/color/image_raw"}
    assert chosen_topics(text, CAMERAS) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("front", "is no camera=topic"),
        ("front=", "is no camera=topic"),
        ("front=/a b", "is no camera=topic"),
        ("front=/a,front=/b", "two topics"),
        ("side=/a", "no camera 'side'"),
    ],
)
def test_what_is_no_topic_is_refused_in_one_line(text, says):
    with pytest.raises(ValueError, match=says):
        chosen_topics(text, CAMERAS)
