"""The SDK's clients for the account on standard input, as its documentation makes them."""

import json
import sys

from azure.identity import ClientSecretCredential
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.resource.deployments import DeploymentsMgmtClient
from azure.mgmt.resource.resources import ResourceManagementClient

_request = json.load(sys.stdin)
given = _request["input"]
subscription = _request["subscription"]

_credential = ClientSecretCredential(
    _request["tenant"],
    _request["clientId"],
    _request["secret"],
    authority=_request["endpoint"],
    disable_instance_discovery=True,
)
_where = {
    "base_url": _request["endpoint"],
    "credential_scopes": [_request["endpoint"] + "/.default"],
}
network = NetworkManagementClient(_credential, subscription, **_where)
resources = ResourceManagementClient(_credential, subscription, **_where)
deployments = DeploymentsMgmtClient(_credential, subscription, **_where)


def answer(value):
    json.dump(value, sys.stdout)


def raw(model):
    """A resource as it was on the wire."""
    return model.as_dict()
