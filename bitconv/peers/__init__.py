"""The same layers in other engines, to compare with (the extra ``bench``)."""
