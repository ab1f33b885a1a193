"""Builds a topology with the SDK, one resource after the other, and answers with what came back.

Input: {"group", "location", "resources": [[operations, [names], body]]}
"""

from sdk import answer, given, network, raw, resources

group = given["group"]
resources.resource_groups.create_or_update(group, {"location": given["location"]})
answers = []
for operations, names, body in given["resources"]:
    poller = getattr(network, operations).begin_create_or_update(group, *names, body)
    answers.append(raw(poller.result()))
answer(answers)
