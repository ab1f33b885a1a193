"""Reads everything there is with the SDK, and says what of it is not as the SDK's models have it.

Answer: {"resources": {operations: [resource]}, "deviations": [line]}
"""

import azure.mgmt.network.models as models
from sdk import answer, given, network, raw
from shapes import deviations

group = given["group"]
TOP = {
    "virtual_networks": models.VirtualNetwork,
    "network_interfaces": models.NetworkInterface,
    "route_tables": models.RouteTable,
    "network_security_groups": models.NetworkSecurityGroup,
    "public_ip_addresses": models.PublicIPAddress,
    "virtual_network_gateways": models.VirtualNetworkGateway,
    "local_network_gateways": models.LocalNetworkGateway,
    "virtual_network_gateway_connections": models.VirtualNetworkGatewayConnection,
}
CHILDREN = {
    "subnets": ("virtual_networks", models.Subnet),
    "virtual_network_peerings": ("virtual_networks", models.VirtualNetworkPeering),
    "routes": ("route_tables", models.Route),
    "security_rules": ("network_security_groups", models.SecurityRule),
    "default_security_rules": ("network_security_groups", models.SecurityRule),
}

found, lines = {}, []


def keep(operations, model, item, alone):
    data = raw(item)
    for form, shown in (("listed", data), ("alone", raw(alone))):
        lines.extend(deviations(model, shown, f"{operations} {data.get('name')} {form}: "))
    # What a list shows of a connection is less: no status, no key.
    if operations != "virtual_network_gateway_connections" and data != raw(alone):
        lines.append(f"{operations} {data.get('name')}: listed {data}, alone {raw(alone)}")
    found.setdefault(operations, []).append(raw(alone))


for operations, model in TOP.items():
    client = getattr(network, operations)
    for item in client.list(group):
        keep(operations, model, item, client.get(group, item.name))
for operations, (parents, model) in CHILDREN.items():
    client = getattr(network, operations)
    for parent in found.get(parents, []):
        for item in client.list(group, parent["name"]):
            keep(operations, model, item, client.get(group, parent["name"], item.name))
routes = {}
for nic in found.get("network_interfaces", []):
    poller = network.network_interfaces.begin_get_effective_route_table(group, nic["name"])
    table = raw(poller.result())
    lines.extend(deviations(models.EffectiveRouteListResult, table, f"routes of {nic['name']}: "))
    routes[nic["name"]] = table["value"]
answer({"resources": found, "effectiveRoutes": routes, "deviations": lines})
