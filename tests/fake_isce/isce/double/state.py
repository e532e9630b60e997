"""The state that lives from step to step: ``PICKLE/<step>.xml``, ``PICKLE/<step>`` and ``topsProc.xml``."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path
from typing import Any

from .markup import read_tree, write_tree
from .output import say
from .settings import refuse

GEOCODE_LIST = [
    f"merged/{name}"
    for name in (
        "phsig.cor",
        "topophase.cor",
        "filt_topophase.unw",
        "los.rdr",
        "topophase.flat",
        "filt_topophase.flat",
        "filt_topophase_2stage.unw",
    )
]
NAMES = {
    "applywatermask": "True", "coarsecoregdirectoryname": "coarse_coreg",
    "coarseinterferogramdirectoryname": "coarse_interferogram", "coarseoffsetsdirectoryname": "coarse_offsets",
    "coherencename": "phsig.cor", "correlationname": "topophase.cor", "demcropfilename": "dem.crop",
    "esddirectoryname": "ESD", "family": "topscontext", "filteredinterferogramname": "filt_topophase.flat",
    "filteredoffsetfilename": "filt_dense_offsets.bil", "finecoregdirectoryname": "fine_coreg",
    "fineinterferogramdirectoryname": "fine_interferogram", "fineoffsetsdirectoryname": "fine_offsets",
    "geometrydirectoryname": "geom_reference", "mergedinterferogramname": "topophase.flat",
    "mergedlosname": "los.rdr", "mergedproductsdirectoryname": "merged", "name": "topsAppContext",
    "offsetcovariancefilename": "dense_offsets_cov.bil", "offsetfilename": "dense_offsets.bil",
    "offsetsnrfilename": "dense_offsets_snr.bil", "overlapssubdirectoryname": "overlaps",
    "referenceslcproduct": "reference", "secondaryslcproduct": "secondary", "unmaskedfilenameprefix": "unmasked",
    "unwrapped2stagefilename": "filt_topophase_2stage.unw", "unwrappedinterferogramfilename": "filt_topophase.unw",
    "watermaskfilename": "waterMask.msk",
}  # fmt: skip
"""State that is always there and is never changed here."""

OFFSET_LIST = ["dense_offsets.bil", "dense_offsets_snr.bil", "dense_offsets_cov.bil", "filt_dense_offsets.bil"]
LISTS = ("numberofcommonbursts", "commonburststartreferenceindex", "commonburststartsecondaryindex")


class State:
    """The real one's ``_insar``: empty when a pickle could not be read, and steps then fail where they look into it."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {
            **NAMES,
            "numberofswaths": 0,
            "secondarytimingcorrection": 0.0,
            "secondaryrangecorrection": 0.0,
            "geocodelist": list(GEOCODE_LIST),
            "offsetgeocodelist": [f"merged/{name}" for name in OFFSET_LIST],
        }
        self.document: dict[str, str] | None = {}

    def get_list(self, name: str) -> list[int]:
        return list(self.values.get(name, []))


def _parse_value(name: str, text: str) -> Any:
    kinds = {"numberofswaths": int, "secondarytimingcorrection": float, "secondaryrangecorrection": float}
    if name in LISTS or name.endswith("list"):
        return ast.literal_eval(text)
    return kinds.get(name, str)(text)


def load_state(folder: str, step: str) -> State:
    """Read the pickle of a step; a file that is not there is told and forgotten, as by the real one."""
    path, state = Path(folder, step), State()
    try:
        for name, text in read_tree(f"{path}.xml").items():
            try:
                state.values[name] = _parse_value(name, text)
            except (ValueError, SyntaxError):
                refuse(name, "<class 'isceobj.TopsProc.TopsProc.TopsProc'>")
        state.document = None
        with path.open("rb") as stream:
            state.document = pickle.load(stream)
    except OSError:
        say(f"Cannot open {path}")
    return state


def save_state(folder: str, step: str, state: State) -> None:
    """Write the processing document and the two files of a pickle."""
    write_document(state)
    Path(folder).mkdir(exist_ok=True)
    path = Path(folder, step)
    write_tree(path.with_name(f"{step}.xml"), "topsAppContext", state.values)
    with path.open("wb") as stream:
        say(f"Dumping the application's pickle object _insar to file  {path}")
        pickle.dump(state.document, stream, protocol=pickle.HIGHEST_PROTOCOL)


def write_document(state: State) -> None:
    """Write ``topsProc.xml``."""
    if state.document is None:
        message = "'NoneType' object has no attribute 'renderXml'"
        raise AttributeError(message)
    write_tree(Path("topsProc.xml"), "topsProc", state.document)
