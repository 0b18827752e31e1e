"""Names and numbers of the format, which `docs/format.md` specifies, for writer and reader."""

FORMAT = "bitconv"
VERSION = 1
MAX_GROUPS = 100_000  # inputs or nodes; their groups are numbered with five digits
TEXTS = ("name", "licence", "source", "training_data", "accuracy")  # of the metadata
NODE_ATTRIBUTES = ("name", "operator", "inputs")  # besides these, a node has its parameters


def group_name(number: int) -> str:
    """The name of the group of an input or a node."""
    return f"{number:05}"
