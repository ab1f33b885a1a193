//! Resource groups.

use serde_json::{Value, json};

use crate::arm::ResourceGroup;

/// A resource group as a GET answers it.
pub fn group(group: &ResourceGroup) -> Value {
    json!({
        "id": group.id.to_string(),
        "name": group.id.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.location,
        "tags": group.tags,
        "properties": { "provisioningState": "Succeeded" },
    })
}
