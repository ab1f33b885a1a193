"""Deletes with the SDK what is on standard input, in its order: [[operations, [names]]], then the group."""

from azure.core.exceptions import ResourceNotFoundError
from sdk import answer, given, network, resources

group = given["group"]
for operations, names in given["resources"]:
    client = getattr(network, operations)
    client.begin_delete(group, *names).result()
    try:
        client.get(group, *names)
        raise SystemExit(f"{operations} {names} is still there")
    except ResourceNotFoundError as error:
        assert error.error.code in ("ResourceNotFound", "NotFound"), error
    client.begin_delete(group, *names).result()  # again: nothing to do, no error
resources.resource_groups.begin_delete(group).result()
assert not resources.resource_groups.check_existence(group)
answer([g.name for g in resources.resource_groups.list()])
