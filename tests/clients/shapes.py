"""Compares what the API answers with the models of Azure's SDK: names, types and enum values.

A property that the model does not know, a value of another type or one that its enum lacks is a
deviation. What the model calls read-only and the API leaves out is none: Azure leaves out much.
"""

import enum
import typing

import azure.mgmt.network.models as network
from azure.mgmt.network.models import _models

# What Azure answers though its models do not have it.
ALSO_NAMED = {
    ("VirtualNetworkGatewayIPConfiguration", "type"),
    ("NetworkInterface", "kind"),
    ("VirtualNetworkGatewayConnectionPropertiesFormat", "packetCaptureDiagnosticState"),
}
ALSO_VALUES = {"RouteNextHopType": {"VNetPeering", "VNetGlobalPeering"}}


def deviations(model, data, where=""):
    """Lines that say what is not as the model class has it."""
    model({})  # Fields are filled in with the first instance.
    fields = {field._rest_name: (name, field) for name, field in model._attr_to_rest_field.items()}
    hints = _hints(model)
    found = []
    for key, value in data.items():
        if (model.__name__, key) in ALSO_NAMED:
            continue
        if key not in fields:
            found.append(f"{where}.{key}: {model.__name__} has no such property")
        elif value is not None:
            found += _value(hints[fields[key][0]], value, f"{where}.{key}")
    return found


def _hints(model):
    names = dict(vars(_models))
    names.update(_models=_models, List=list, Dict=dict)
    hints = {}
    for base in reversed(model.__mro__):
        for name, hint in vars(base).get("__annotations__", {}).items():
            if isinstance(hint, str):
                hint = eval(hint, names)  # noqa: S307: the SDK's own source
            hints[name] = hint
    return hints


def _value(hint, value, where):
    hint = _resolve(hint)
    origin = typing.get_origin(hint)
    if origin is typing.Union:
        tries = [_value(one, value, where) for one in typing.get_args(hint) if one is not type(None)]
        # An open enum is a union of a string and the enum: the enum counts.
        enums = [
            _resolve(one)
            for one in typing.get_args(hint)
            if isinstance(_resolve(one), type) and issubclass(_resolve(one), enum.Enum)
        ]
        if enums:
            return _value(enums[0], value, where)
        return min(tries, key=len)
    if origin in (list, typing.List):
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no list"]
        (item,) = typing.get_args(hint)
        return [line for i, one in enumerate(value) for line in _value(item, one, f"{where}[{i}]")]
    if origin in (dict, typing.Dict):
        return [] if isinstance(value, dict) else [f"{where}: {value!r} is no object"]
    if hint is typing.Any or hint is None or not isinstance(hint, type):
        return []
    if issubclass(hint, enum.Enum):
        known = [one.value for one in hint]
        also = ALSO_VALUES.get(hint.__name__, ())
        return [] if value in known or value in also else [f"{where}: {value!r} is none of {known}"]
    if hasattr(hint, "_is_model") or hint.__module__.startswith("azure."):
        if not isinstance(value, dict):
            return [f"{where}: {value!r} is no object"]
        return deviations(hint, value, where)
    wanted = {str: str, int: int, bool: bool, float: (int, float)}.get(hint)
    if wanted is None:  # a date, which is a string on the wire
        return [] if isinstance(value, str) else [f"{where}: {value!r} is no string"]
    fits = isinstance(value, wanted) and not (hint is int and isinstance(value, bool))
    return [] if fits else [f"{where}: {value!r} is no {hint.__name__}"]


def _resolve(hint):
    if isinstance(hint, typing.ForwardRef):
        hint = hint.__forward_arg__
    if isinstance(hint, str):
        name = hint.rsplit(".", 1)[-1]
        return getattr(network, name, None) or getattr(_models, name)
    return hint
