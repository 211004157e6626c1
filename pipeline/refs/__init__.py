from pipeline.refs.modality import PROBE_BYTES, Unrecognised, probe, resolve
from pipeline.refs.parse import parse
from pipeline.refs.parsed import Item, ParsedMessage

__all__ = ["PROBE_BYTES", "Item", "ParsedMessage", "Unrecognised", "parse", "probe", "resolve"]
