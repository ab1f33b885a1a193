//! `Microsoft.Resources/deployments`.

use vnet_gw_core::arm::GroupId;

use super::{Answer, Api, Call, Refusal};

impl Api {
    /// `deployments` of a group, with what follows in the path: nothing (the list), a name, or a
    /// name and an action (`validate`, `whatIf`, `exportTemplate`, `cancel`) as it was written.
    ///
    /// The body is not read yet: `az` sends more than JSON.
    pub(super) async fn deployments(&self, call: &Call, _: &GroupId, _: &[String]) -> Answer {
        Err(Refusal::no_such_path(&call.path.to_string()))
    }

    /// `resourceGroups/G/deployments/NAME/operations`: `NAME`, `operations`.
    pub(super) async fn deployment_operations(
        &self,
        call: &Call,
        _: &GroupId,
        _: &[String],
    ) -> Answer {
        Err(Refusal::no_such_path(&call.path.to_string()))
    }

    /// POST `resourceGroups/G/exportTemplate`
    pub(super) async fn export_group(&self, call: &Call, _: &GroupId) -> Answer {
        Err(Refusal::no_such_path(&call.path.to_string()))
    }
}
