"""Objects as plain values and tensors, and back, by a list of classes; nothing in a file is ever run."""

from skae._saving.kinds import Kind, ModuleKind, RecordKind, UnsavableError
from skae._saving.reading import Reader, read_object
from skae._saving.table import ClassTable, table_of_networks
from skae._saving.writing import Writer, write_object

__all__ = [
    "ClassTable",
    "Kind",
    "ModuleKind",
    "Reader",
    "RecordKind",
    "UnsavableError",
    "Writer",
    "read_object",
    "table_of_networks",
    "write_object",
]
