"""The exceptions of bitconv; all share the base `BitconvError`."""


class BitconvError(Exception):
    """Base of every exception that bitconv raises on purpose."""


class GraphError(BitconvError, ValueError):
    """A network does not fit together: a wrong shape, an unknown name, a missing array."""


class FileError(BitconvError, ValueError):
    """A file is damaged, is not what it is called, or holds what its format does not allow."""


class EncodedMapError(BitconvError, ValueError):
    """An encoded feature map is damaged, or was encoded by another codec."""


class InputError(BitconvError, ValueError):
    """An image, a batch or an argument is not what the network takes."""


class UnsupportedError(BitconvError, NotImplementedError):
    """The thing is valid, but bitconv cannot do it."""


class CacheError(BitconvError, OSError):
    """Compiled kernels cannot be kept on disk."""


class MissingPackageError(BitconvError, ImportError):
    """An optional package is needed; the message names the extra that installs it."""
