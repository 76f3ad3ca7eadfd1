"""Why a checkpoint can't be used on this robot."""


class CheckpointError(ValueError):
    """A checkpoint or its mapping can't be used; the message is one line that names both sides."""
