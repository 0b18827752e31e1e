"""Names and numbers of the format, which `docs/format.md` specifies, for writer and reader."""

FORMAT = "bitconv"
VERSION = 2  # the newest; a network is written in the oldest version that has room for it
CODECS_VERSION = 2  # from which on there may be codecs
MAX_GROUPS = 100_000  # inputs or nodes; their groups are numbered with five digits
TEXTS = ("name", "licence", "source", "training_data", "accuracy")  # of the metadata
NODE_ATTRIBUTES = ("name", "operator", "inputs")  # besides these, a node has its parameters
CODEC_ATTRIBUTES = ("node", "codec", "largest")  # besides these, a codec has its parameters


def group_name(number: int) -> str:
    """The name of the group of an input or a node."""
    return f"{number:05}"
