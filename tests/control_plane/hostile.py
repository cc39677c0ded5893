"""A file that nobody should read in a process that has other work to do."""

import base64

ENDS_ITS_READER = base64.b64decode(
    "UEFSMRUEFQoVDkwVAhUAEgAABRABAAAAehUAFR4VIiwVAhUQFQYVBhw2ACgBehgBehERAAAADzgCAAAAAgACAAAAAgMBAgAVBBlMNQAYBnNjaGVtYRUCADUC"
    "GAFuFQIVBkw8AAAANQQYBGxpc3QVAgAVDCUDGAdlbGVtZW50JQBMHAAAABYCGRwZHCYAHBUMGTUABhAZOAFuBGxpc3QHZWxlbWVudBUCFgIWfhaGASYyJggc"
    "NgAoAXoYAXoREQAZLBUEFQAVAgAVABUQFQIAPBYCGSYCABlGAAAAAgAAABZ+FgImCBaGAQAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjYuMC4xGRwc"
    "AAAAygAAAFBBUjE="
)
"""Parquet but for one byte of its footer: pyarrow 26 ends its process over it (`Definition level histogram size mismatch`)."""
